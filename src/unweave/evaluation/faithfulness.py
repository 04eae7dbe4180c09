"""What becomes of a subject's predictions when a dictionary's reconstruction takes the place of an activation.

It is compared with the subject as it is, and with the activation replaced by 0 and by its mean. Padding is neither
edited nor counted. Shapes: G games (or documents), S positions, D the site's width, V alphabet, N counted positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from unweave.subject import joined
from unweave.subject.base import Subject
from unweave.subject.sequences import Sequences

Reconstruct = Callable[[Tensor], Tensor]
"""From activations `[n, D]` to what takes their place, `[n, D]`."""


class Faithfulness:
    """Runs the subject as it is and with the site ablated once; then once more for each dictionary that is asked about.

    scores: ce, ce_zero and ce_mean in nats per counted position; legal_rate where `allowed` is given.
    The normal run's log-probabilities are kept, `[N, V] float32` (29 MB for 2,000 games of Othello).
    """

    def __init__(
        self,
        subject: Subject,
        site: str,
        tokens: Tensor,
        mean: Tensor,
        *,
        target: str = "",
        allowed: Tensor | None = None,
        batch: int = 256,
    ) -> None:
        """Make the runs that no dictionary changes.

        tokens: `[G, S + 1] int64`: the subject reads the first S and predicts the last S. A position is counted when
        its next token is not the alphabet's padding, and edited when its own token is not.
        mean: `[D]`, what stands at the site when it is ablated to its mean. target: the site that is replaced, and
        whose mean it is, if not the one that is read: a transcoder's. allowed: `[G, S, V] bool`, the next tokens that
        the rules permit, where there are rules. batch: games to a forward pass.

        Raises ValueError for an unknown site, shapes that do not fit, no position to count, activations not finite.
        """
        self._site = joined.resolve(site, subject.sites())
        self._target = joined.resolve(target or site, subject.sites())
        width = sum(joined.widths(self._target, subject.sites()))
        if mean.shape != (width,):
            raise ValueError(f"{self._target} has width {width}: its mean cannot have shape {list(mean.shape)}")
        whole = Sequences(subject, tokens)
        if not whole.counted.any():
            raise ValueError("no position has a next token to predict: every target is padding")
        shape = (*whole.counted.shape, subject.alphabet.size)
        if allowed is not None and allowed.shape != shape:
            raise ValueError(f"allowed should have shape {list(shape)}, not {list(allowed.shape)}")
        self._allowed, self._targets = None if allowed is None else allowed[whole.counted], whole.next
        self._parts, self._width = [Sequences(subject, part) for part in tokens.split(batch)], width
        self._normal = self._run(None)
        self.scores = {
            "ce/1": self._cross_entropy(self._normal),
            "ce_zero/1": self._cross_entropy(self._run(lambda x: x.new_zeros(len(x), width))),
            "ce_mean/1": self._cross_entropy(self._run(lambda x: mean.to(x).expand(len(x), width))),
            **self._legal_rate("legal_rate/1", self._normal),
        }

    def spliced(self, reconstruct: Reconstruct) -> dict[str, float]:
        """The scores with `reconstruct` in the activations' place, at every position that is not padding.

        ce_spliced; ce_score: (ce_zero - ce_spliced) / (ce_zero - ce), report 000's reconstruction score, NaN where
        ablation changes nothing; kl: KL(normal || spliced) in nats per counted position; legal_rate_spliced.
        Raises ValueError for a reconstruction of another shape, or with NaN or infinite values.
        """
        log_probs = self._run(reconstruct)
        ce, zero, after = self.scores["ce/1"], self.scores["ce_zero/1"], self._cross_entropy(log_probs)
        return {
            "ce_spliced/1": after,
            "ce_score/1": (zero - after) / (zero - ce) if zero != ce else math.nan,
            "kl/1": _mean_divergence(self._normal, log_probs),
            **self._legal_rate("legal_rate_spliced/1", log_probs),
        }

    @torch.no_grad()
    def _run(self, replace: Reconstruct | None) -> Tensor:
        """`[N, V] float32`: log-probabilities at the counted positions, with `replace` applied at the site."""
        rows = []
        for part in self._parts:
            instead = {} if replace is None else {self._target: self._reconstructed(replace, part)}
            rows.append(part.log_probs(instead).float().to(self._targets.device))
        return torch.cat(rows)

    def _reconstructed(self, replace: Reconstruct, part: Sequences) -> Tensor:
        """What is to stand at the target: `replace` of what the subject, as it is, has at the site."""
        before = part.read([self._site])[self._site]
        after = replace(before)
        if after.shape != (len(before), self._width):
            shapes = f"{list(after.shape)} for {[len(before), self._width]}"
            raise ValueError(f"the reconstructions at {self._target} have another shape than the activations: {shapes}")
        for what, values in (("activations", before), ("reconstructions", after)):
            if not values.isfinite().all():
                raise ValueError(f"the {what} at {self._site} have NaN or infinite values")
        return after

    def _cross_entropy(self, log_probs: Tensor) -> float:
        return -float(log_probs.gather(1, self._targets[:, None]).double().mean())

    def _legal_rate(self, name: str, log_probs: Tensor) -> dict[str, float]:
        """How often the likeliest next token is one that the rules permit; nothing where there are no rules."""
        if self._allowed is None:
            return {}
        return {name: float(self._allowed.gather(1, log_probs.argmax(1, keepdim=True)).double().mean())}


def _mean_divergence(p: Tensor, q: Tensor) -> float:
    """KL(p || q) of log-probabilities `[N, V]`, mean over rows, in nats; where p is 0, nothing is added."""
    terms = torch.where(p.isneginf(), 0.0, p.exp() * (p - q))
    return float(terms.sum(1).double().mean())
