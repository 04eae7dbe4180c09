"""What the numbers of an evaluation on text mean: those that Othello's has too, and more."""

from __future__ import annotations

from functools import partial

from unweave.evaluation import definitions
from unweave.evaluation.definitions import Definition

_nats = partial(Definition, unit="nats", better="lower")
_share = partial(Definition, unit="share", out_of=1)

_SHARED = (
    *("l0/1", "density_median/1", "dead/1", "fvu/1", "explained_variance/1"),
    *("mse_element/1", "mse_sum/1", "l2_ratio/1", "shrinkage/1"),
    *("ce/1", "ce_zero/1", "ce_mean/1", "ce_spliced/1", "ce_score/1", "kl/1"),
)

_OWN = [
    _share(
        key="explained_variance_token/1",
        title="explained variance per token",
        definition="1 - |x - x_hat|^2 / |x - mean x|^2, averaged over inputs, each counting the same however far it is "
        "from the mean (those at the mean left out).",
        source="OpenMOSS 2024, and SAELens's explained_variance_legacy, both with the mean of a batch, here of the "
        "sample; the explained_variance of SAELens's training log is 1 - fvu/1 of a batch",
        null="predicting the mean: 0",
    ),
    Definition(
        key="mse_relative/1",
        title="relative MSE",
        definition="|x - x_hat|^2 / |x|^2, averaged over inputs (those with |x| = 0 left out).",
        source="Gao et al. 2024, arXiv 2406.04093: the loss in its code",
        unit="ratio",
        better="lower",
        null="predicting 0: 1",
    ),
    _share(
        key="cosine/1",
        title="cosine",
        definition="x . x_hat / (|x| |x_hat|), averaged over inputs (those where either is 0 left out).",
        null="none in general: predicting the mean is near 1 where activations have a large mean",
    ),
    Definition(
        key="perplexity/1",
        title="perplexity",
        definition="exp(ce/1): among how many equally likely tokens the subject would be as unsure.",
        unit="tokens",
        better="neither",
        null="guessing among V tokens: V",
    ),
    Definition(
        key="perplexity_spliced/1",
        title="perplexity, spliced",
        definition="exp(ce_spliced/1).",
        unit="tokens",
        better="lower",
        null="a perfect reconstruction: perplexity/1",
    ),
    _nats(
        key="ce_increase/1",
        title="cross-entropy increase",
        definition="ce_spliced/1 - ce/1.",
        source="Rajamanoharan et al. 2024, arXiv 2407.14435: delta LM loss",
        null="predicting 0: ce_zero/1 - ce/1; a perfect reconstruction: 0",
    ),
    _share(
        key="ce_score_mean/1",
        title="reconstruction score above the mean",
        definition="(ce_mean/1 - ce_spliced/1) / (ce_mean/1 - ce/1): ce_score/1 with the mean in the place of zeros, "
        "which flatter a site that never is near 0.",
        source="ours, after ce_score/1",
        null="predicting the mean: 0",
    ),
    _nats(
        key="kl_zero/1",
        title="KL(normal || zeroed)",
        definition="As kl/1, with the site's activations replaced by 0.",
        better="neither",
        null="a site that does not matter: 0",
    ),
    _share(
        key="kl_score/1",
        title="KL score",
        definition="1 - kl/1 / kl_zero/1.",
        source="SAELens: kl_div_score, which zeroes every position, the first as well",
        null="predicting 0: 0",
    ),
]

DEFINITIONS: dict[str, Definition] = {key: definitions.DEFINITIONS[key] for key in _SHARED} | {
    metric.key: metric for metric in _OWN
}
"""Every metric by its key. Where several dictionaries are spliced in together, ablations replace all their targets."""
