"""What every number of an evaluation means: its definition, its source, and what a predictor that knows nothing gets.

A metric's name carries a version (`fvu/1`): when its definition changes, the version does, and old numbers keep theirs.
Unless a definition says otherwise, the sample is of held-out games or rows of text, one input for each position after a
move, or for each that dictionaries learn from (in text not separators, nor the first of a row).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

Better = Literal["higher", "lower", "neither"]

FORWARD_GAMES = 200
"""Games for what needs whole forward passes (cross-entropy, legal moves): the first of those that are scored on."""


@dataclass(frozen=True, kw_only=True)
class Definition:
    """One metric.

    key: name/version. definition: one plain sentence that names the reduction. source: the paper or report it is from.
    unit: what it counts or is measured in; out_of: the most it can be, where that is known beforehand.
    better: which way is better, "neither" for a description. null: what a baseline that knows nothing gives.
    """

    key: str
    title: str
    definition: str
    source: str = "common usage"
    unit: str
    out_of: int | None = None
    better: Better = "higher"
    null: str


_share = partial(Definition, unit="share", out_of=1)
_f1 = partial(Definition, unit="F1", out_of=1)
_squared = partial(Definition, unit="squared activation", better="lower")
_ratio = partial(Definition, unit="ratio", better="neither")
_nats = partial(Definition, unit="nats", better="neither")

_KARVONEN = "Karvonen et al. 2024, arXiv 2408.00113"
_LI = "Li et al. 2022, arXiv 2210.13382"
_QUAISLEY = "Quaisley 2024's count; best published 45 of the 192, on another subject and layer"
_CONSTANT = "an always-on feature has AUROC .5: 0"
_CLOCK = f"{_CONSTANT}; the move number alone, at most about .89 for a pair: 0"
_NO_CLOCK = "an always-on feature and the move number alone are constant within a move number: 0"
_WITHIN = (
    "with AUROC taken among positions of the same move number and averaged over move numbers, "
    "each weighted by sqrt(positives x negatives)"
)
_BEST = "have a feature, chosen on one half of the held-out games, whose AUROC on the other half is above 0.9"
_COVERED = (
    "For each label the best F1 of any one feature read as 'above t of its largest value', averaged over the {labels}, "
    "on one half of the held-out games; features and t, one for all, are chosen on the other half."
)
_REBUILT = (
    "The F1, pooled over labels and positions of one half of the held-out games, of predicting one of the {labels} "
    "wherever a feature is above t of its largest value that on the other half, where t is chosen too, had the label "
    "with precision .95 or more in at least 10 firings."
)
_BOARD = "128 labels (64 squares x mine, theirs)"
_LEGAL = "60 labels (squares that are a legal next move)"


def _pooled_and_within(
    name: str, title: str, definition: str, source: str, unit: str, out_of: int | None, null: str
) -> Iterator[Definition]:
    """A count of classifiers by AUROC pooled over positions, and the same by AUROC within position."""
    count = partial(Definition, unit=unit, out_of=out_of)
    yield count(key=f"{name.format('')}/1", title=title, definition=f"{definition}.", source=source, null=null)
    yield count(
        key=f"{name.format('_within')}/1",
        title=f"{title} within position",
        definition=f"{definition}, {_WITHIN}.",
        source="ours: a pooled AUROC flatters a feature that only follows the clock",
        null=_NO_CLOCK,
    )


_CLASSIFIERS = [
    *(
        metric
        for state, out_of, labels in (
            ("", 192, "pairs of a square and a state (188 are defined: the centre is never empty)"),
            ("mine", 64, "squares, being held by the side to move,"),
            ("theirs", 64, "squares, being held by the other side,"),
            ("empty", 64, "squares, being empty (60 are defined: the centre never is),"),
        )
        for metric in _pooled_and_within(
            f"pairs{{}}_{state}" if state else "pairs{}",
            f"distinct {state} pairs > 0.9" if state else "distinct pairs > 0.9",
            f"How many of the {out_of} {labels} {_BEST}",
            _QUAISLEY,
            "pairs",
            out_of,
            _CLOCK,
        )
    ),
    *_pooled_and_within(
        "features{}",
        "features > 0.9",
        "How many features have an AUROC above 0.9, on one half of the held-out games, for the pair of a square and a "
        "state that suits them best on the other half (several features may have the same pair)",
        "Huben 2024's count; best published 33 of 1,024, on another subject and layer",
        "features",
        None,
        _CLOCK,
    ),
    *_pooled_and_within(
        "legal{}",
        "legal squares > 0.9",
        f"How many of the 60 playable squares, being a legal next move, {_BEST}",
        "Huben 2024's labels, counted as Quaisley 2024 counts pairs",
        "squares",
        60,
        _CONSTANT,
    ),
]

_COVERAGE = [
    _f1(
        key="coverage_128/1",
        title="coverage (128)",
        definition=_COVERED.format(labels=_BOARD),
        source=f"{_KARVONEN}; best published .78 when divided by 128",
        null="the always-on predictor: about .41, the same as was published for a subject with random weights",
    ),
    _f1(
        key="coverage_192/1",
        title="coverage (192)",
        definition="The sum of the 128 F1 scores of coverage_128/1 divided by 192, so at most 2/3.",
        source=f"{_KARVONEN}, as its code divides; best published .52",
        null="the always-on predictor: about .27",
    ),
    _share(
        key="coverage_corrected/1",
        title="coverage above always-on",
        definition="(c - a) / (1 - a), c being coverage_128/1 and a that of the always-on predictor.",
        source="ours: what coverage says beyond the base rates",
        null="the always-on predictor: 0",
    ),
    _f1(
        key="coverage_legal/1",
        title="coverage of legal squares",
        definition=_COVERED.format(labels=_LEGAL),
        source=f"{_KARVONEN}, whose code divides by 64",
        null="the always-on predictor: 2p / (1 + p) for a square that is legal in a share p of positions, averaged",
    ),
    *(
        _f1(
            key=f"reconstruction_{name}/1",
            title=title,
            definition=_REBUILT.format(labels=labels),
            source=f"{_KARVONEN}, as its code pools; {note}",
            null="the always-on predictor has no label with precision .95: 0",
        )
        for name, title, labels, note in (
            ("128", "board reconstruction (128)", _BOARD, "best published .95, a linear probe .99"),
            ("192", "board reconstruction (192)", "192 labels (64 squares x 3 states)", "empty squares added"),
            ("legal", "reconstruction of legal squares", _LEGAL, "best published .997"),
        )
    ),
    Definition(
        key="f1_pairs/1",
        title="pairs with F1 > 0.9",
        definition="How many of the 192 pairs of a square and a state have a feature and a threshold t, chosen on one "
        "half of the held-out games, so that 'above t of its largest value' has an F1 above 0.9 on the other half.",
        source=f"{_KARVONEN}: best published 58, on another subject and layer",
        unit="pairs",
        out_of=192,
        null="the always-on predictor has 2 p / (1 + p) for a label with base rate p: 0",
    ),
]

_SPARSITY = [
    Definition(
        key="l0/1",
        title="L0",
        definition="How many features are above 0 in an input, averaged over inputs.",
        unit="features",
        better="neither",
        null="none: a description, to be read beside fvu/1",
    ),
    _share(
        key="density_median/1",
        title="median density",
        definition="The share of inputs in which a feature is above 0, median over all features, dead ones too.",
        better="neither",
        null="an always-on feature: 1",
    ),
    _share(
        key="dead/1",
        title="dead",
        definition="The share of features that are above 0 in no input of the sample.",
        better="lower",
        null="always-on features: 0",
    ),
]

_RECONSTRUCTION = [
    Definition(
        key="fvu/1",
        title="FVU",
        definition="Fraction of variance unexplained: the sum over inputs of |x - x_hat|^2, divided by the sum over "
        "inputs of |x - mean x|^2.",
        source="standard: 1 - R^2, variance-weighted",
        unit="share",
        better="lower",
        null="predicting the mean: 1",
    ),
    _share(
        key="explained_variance/1",
        title="explained variance",
        definition="1 minus the variance of x - x_hat over the variance of x, each over inputs and summed over "
        "dimensions; unlike 1 - fvu/1 it forgives a constant error.",
        source="1 minus Huben 2024's FVU",
        null="predicting any constant: 0",
    ),
    _squared(
        key="mse_element/1",
        title="MSE per element",
        definition="The squared error, averaged over inputs and dimensions.",
        source="standard; probably the unit of Girit & Rezaei 2023's Othello figures",
        null="predicting the mean: the variance of x, averaged over dimensions",
    ),
    _squared(
        key="mse_sum/1",
        title="MSE summed",
        definition="The squared error summed over dimensions, averaged over inputs: D times mse_element/1.",
        null="predicting the mean: the variance of x, summed over dimensions",
    ),
    _ratio(
        key="l2_ratio/1",
        title="L2 ratio",
        definition="|x_hat| / |x|, averaged over inputs (those with |x| = 0 left out).",
        source="OpenMOSS 2024",
        null="predicting 0: 0; a perfect reconstruction: 1",
    ),
    _ratio(
        key="shrinkage/1",
        title="shrinkage",
        definition="The gamma for which x_hat / gamma has the least squared error: the sum over inputs of |x_hat|^2, "
        "divided by the sum over inputs of x . x_hat; below 1, reconstructions are too short.",
        source="Rajamanoharan et al. 2024, arXiv 2404.16014: relative reconstruction bias",
        null="predicting the mean: 1; a perfect reconstruction: 1",
    ),
]

_FAITHFULNESS = [
    _nats(
        key="ce/1",
        title="cross-entropy",
        definition="-ln of the probability the subject gives to the token that comes next, averaged over positions "
        "that have a next one. In Othello that is the move played, and this and what follows is measured on the first "
        f"{FORWARD_GAMES} of the games that are scored on.",
        null="guessing among V tokens: ln V; in Othello 4.11, and 2.011, the entropy of random play, knowing the rules "
        "and nothing else",
    ),
    *(
        _nats(
            key=f"ce_{name}/1",
            title=f"cross-entropy, {title}",
            definition=f"As ce/1, with the site's activations replaced by {what}.",
            null="a site that does not matter: ce/1",
        )
        for name, title, what in (("zero", "zeroed", "0"), ("mean", "at the mean", "their mean"))
    ),
    _nats(
        key="ce_spliced/1",
        title="cross-entropy, spliced",
        definition="As ce/1, with the site's activations replaced by their reconstructions.",
        source="Girit & Rezaei 2023",
        better="lower",
        null="predicting the mean: ce_mean/1; a perfect reconstruction: ce/1",
    ),
    _share(
        key="ce_score/1",
        title="reconstruction score",
        definition="(ce_zero/1 - ce_spliced/1) / (ce_zero/1 - ce/1), each an average over positions; also called loss "
        "recovered.",
        source="Girit & Rezaei 2023; OpenMOSS 2024; Karvonen et al. 2024",
        null="predicting 0: 0; predicting the mean: (ce_zero/1 - ce_mean/1) / (ce_zero/1 - ce/1)",
    ),
    _nats(
        key="kl/1",
        title="KL(normal || spliced)",
        definition="The Kullback-Leibler divergence from the subject's own prediction to the spliced one, averaged "
        "over positions that have a next one.",
        better="lower",
        null="none in general; a perfect reconstruction: 0",
    ),
    _share(
        key="legal_rate/1",
        title="legal moves",
        definition="The share of positions with a next move in which the subject's likeliest move is legal.",
        source=_LI,
        null="an untrained subject: about .07",
    ),
    _share(
        key="legal_rate_spliced/1",
        title="legal moves, spliced",
        definition="As legal_rate/1, with the site's activations replaced by their reconstructions.",
        source=f"{_LI}, for the measure",
        null="an untrained subject: about .07; a perfect reconstruction: legal_rate/1",
    ),
]

DEFINITIONS: dict[str, Definition] = {
    metric.key: metric for metric in (*_CLASSIFIERS, *_COVERAGE, *_SPARSITY, *_RECONSTRUCTION, *_FAITHFULNESS)
}
"""Every metric by its key, in the order in which a table shows them."""
