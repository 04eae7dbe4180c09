"""What becomes of a subject's predictions when a dictionary's reconstruction takes the place of an activation.

It is compared with the subject as it is, and with the activation replaced by 0 and by its mean. What dictionaries do
not learn from is not edited; padding is not counted. Shapes: G games or rows of text, S positions, D the site's width,
V alphabet, R positions that are edited, N counted positions.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import accumulate

import torch
from torch import Tensor

from unweave.rows import Rows
from unweave.subject import joined
from unweave.subject.base import Subject
from unweave.subject.sequences import Sequences
from unweave.threads import side_by_side


class Faithfulness:
    """Runs the subject as it is and with the site ablated once; then once more for each dictionary that is asked about.

    scores: ce, ce_zero and ce_mean in nats per counted position; legal_rate where `allowed` is given.
    The normal run's log-probabilities are kept, `[N, V] float32` (29 MB for 2,000 games of Othello).
    """

    def __init__(
        self,
        subject: Subject,
        site: str,
        rows: Rows,
        mean: Tensor,
        *,
        allowed: Tensor | None = None,
        batch: int = 25,
    ) -> None:
        """Make the runs that no dictionary changes.

        site: what is replaced: for a transcoder, its target. rows: `[G, S + 1]`: the subject reads the first S
        and predicts the last S. A position is counted when its next token is not padding, and edited when dictionaries
        learn from it. mean: `[D]`, what stands at the site when it is ablated to its mean. allowed:
        `[G, S, V] bool`, the next tokens that the rules permit, where there are rules. batch: games to a forward pass.

        Raises ValueError for an unknown site, shapes that do not fit, no position to count, predictions not finite.
        """
        self._site = joined.resolve(site, subject.sites())
        width = sum(joined.widths(self._site, subject.sites()))
        if mean.shape != (width,):
            raise ValueError(f"{self._site} has width {width}: its mean cannot have shape {list(mean.shape)}")
        whole = Sequences(subject, rows)
        if not whole.counted.any():
            raise ValueError("no position has a next token to predict: every target is padding")
        shape = (*whole.counted.shape, subject.alphabet.size)
        if allowed is not None and allowed.shape != shape:
            raise ValueError(f"allowed should have shape {list(shape)}, not {list(allowed.shape)}")
        self._allowed, self._targets = None if allowed is None else allowed[whole.counted], whole.next
        self._parts = [Sequences(subject, part) for part in rows.split(batch)]
        self._shape = int(whole.learn.sum()), width
        self._normal = self._run(None)
        if self._normal.isnan().any():
            raise ValueError("the subject's predictions have NaN values")
        self.scores = {
            "ce/1": self._cross_entropy(self._normal),
            "ce_zero/1": self._cross_entropy(self._run(mean.new_zeros(1).expand(self._shape))),
            "ce_mean/1": self._cross_entropy(self._run(mean.expand(self._shape))),
            **self._legal_rate("legal_rate/1", self._normal),
        }

    def spliced(self, x_hat: Tensor) -> dict[str, float]:
        """The scores with `x_hat [R, D]` in the activations' place: a row for each position that is edited,
        game by game.

        ce_spliced; ce_score: (ce_zero - ce_spliced) / (ce_zero - ce), report 000's reconstruction score, NaN where
        ablation changes nothing; kl: KL(normal || spliced) in nats per counted position; legal_rate_spliced.
        Raises ValueError for reconstructions of another shape, or with NaN or infinite values.
        """
        if x_hat.shape != self._shape:
            raise ValueError(
                f"the reconstructions at {self._site} should be {list(self._shape)}, not {list(x_hat.shape)}"
            )
        if not x_hat.isfinite().all():
            raise ValueError(f"the reconstructions at {self._site} have NaN or infinite values")
        log_probs = self._run(x_hat)
        ce, zero, after = self.scores["ce/1"], self.scores["ce_zero/1"], self._cross_entropy(log_probs)
        return {
            "ce_spliced/1": after,
            "ce_score/1": (zero - after) / (zero - ce) if zero != ce else math.nan,
            "kl/1": float(divergence(self._normal, log_probs).double().mean()),
            **self._legal_rate("legal_rate_spliced/1", log_probs),
        }

    def _run(self, x_hat: Tensor | None) -> Tensor:
        """`[N, V] float32`: log-probabilities at the counted positions, with `x_hat [R, D]` at the site."""

        @torch.no_grad()
        def run(part: Sequences, start: int) -> Tensor:
            instead = {} if x_hat is None else {self._site: x_hat[start : start + int(part.learn.sum())]}
            return part.log_probs(instead).float().to(self._targets.device)

        starts = accumulate((int(part.learn.sum()) for part in self._parts), initial=0)
        return torch.cat(side_by_side([partial(run, *each) for each in zip(self._parts, starts, strict=False)]))

    def _cross_entropy(self, log_probs: Tensor) -> float:
        return -float(log_probs.gather(1, self._targets[:, None]).double().mean())

    def _legal_rate(self, name: str, log_probs: Tensor) -> dict[str, float]:
        """How often the likeliest next token is one that the rules permit; nothing where there are no rules."""
        if self._allowed is None:
            return {}
        return {name: float(self._allowed.gather(1, log_probs.argmax(1, keepdim=True)).double().mean())}


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) of log-probabilities `[N, V]`, for each row, in nats; where p is 0, nothing is added."""
    return torch.where(p.isneginf(), 0.0, p.exp() * (p - q)).sum(1)
