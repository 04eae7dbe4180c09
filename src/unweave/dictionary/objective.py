"""What a reconstruction is to be close in: a value that stands beside the method.

Every published coefficient of a penalty belongs to one of these; a penalty's weight means nothing without it.
Shapes: B batch, D width, N positions that have a next token, V alphabet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from unweave.activations.batches import Downstream
from unweave.dictionary.core import Distance
from unweave.registry import Registry

Outcome = Callable[[Tensor, Downstream], Tensor]
"""From the log-probabilities `[N, V]` with the reconstruction in the activations' place, and what the subject predicts
as it is: a scalar to minimise, mean over N."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """distance: of reconstructions from their targets, in normalised units. outcome: added to it for what the subject
    predicts with them in the activations' place; None where that does not count."""

    source: str
    distance: Distance
    outcome: Outcome | None = None

    @property
    def end_to_end(self) -> bool:
        """Whether it looks at the subject's output, and so needs whole sequences."""
        return self.outcome is not None

    def through(self, downstream: Downstream | None, undo: Callable[[Tensor], Tensor]) -> Distance:
        """The distance in one batch, with the outcome in it. undo: from normalised reconstructions `[B, D]` to the
        subject's own units. Raises ValueError when whole sequences are needed and missing."""
        outcome = self.outcome
        if outcome is None:
            return self.distance
        if downstream is None:
            raise ValueError("an end-to-end objective looks at the subject's output: it needs whole rows, not vectors")

        def distance(x_hat: Tensor, target: Tensor) -> Tensor:
            after = outcome(downstream.spliced(undo(x_hat)), downstream)  # where the subject is
            return self.distance(x_hat, target) + after.to(x_hat.device)

        return distance


OBJECTIVES: Registry[Objective] = Registry("objective")


@OBJECTIVES.register
def squared() -> Objective:
    """The sum over D of (x_hat - target)^2, mean over the batch."""
    return Objective(source="-", distance=_squared)


@OBJECTIVES.register
def unsquared(by_width: bool = False) -> Objective:
    """||x_hat - target||_2, mean over the batch: what a vector is far from its target by costs in proportion.

    by_width: divided by D, as in Huben's and Quaisley's reports; without, as Karvonen et al. 2024 train ReLU methods.
    """

    def distance(x_hat: Tensor, target: Tensor) -> Tensor:
        return (x_hat - target).norm(dim=-1).mean() / (target.shape[-1] if by_width else 1)

    return Objective(
        source="Karvonen et al. 2024, arXiv 2408.00113, Sect. 4.1 (eq. 8); by_width: Huben 2024", distance=distance
    )


@OBJECTIVES.register
def by_centred_norm() -> Objective:
    """The mean over D of (x_hat - target)^2, divided by the norm of the target less the batch's mean, mean over the
    batch: what report 003 trains with, in the form that its code has (the formula in the text is another one).

    Its 1.2e-4 for the sum of the codes belongs to normalise="each" and D = 768. The error is then near 1 / sqrt(D), a
    code grows with sqrt(D): at another width a penalty that is to weigh as much is 1.2e-4 * 768 / D.
    """

    def distance(x_hat: Tensor, target: Tensor) -> Tensor:
        return ((x_hat - target).pow(2) / centred_norm(target)).mean()

    return Objective(source="OpenMOSS 2024, report 003; code OpenMOSS/gpt2-dictionary @ 7382893", distance=distance)


def centred_norm(x: Tensor) -> Tensor:
    """`[B, 1]`: how far each vector of `x [B, D]` is from the batch's mean."""
    return (x - x.mean(0)).norm(dim=-1, keepdim=True).clamp(min=1e-6)


@OBJECTIVES.register
def cosine(weight: float = 256.0) -> Objective:
    """weight * (1 - cos(x_hat, target)), mean over the batch. The length of a reconstruction is then free: report 003
    proposes it against shrinkage.

    weight: D makes it as large as the squared error of vectors with squared norm D, for small angles and by half.
    """
    return Objective(
        source="OpenMOSS 2024, report 003, agenda",
        distance=lambda x_hat, target: weight * (1 - F.cosine_similarity(x_hat, target, dim=-1)).mean(),
    )


@OBJECTIVES.register
def kl(weight: float = 1.0, squared: float = 0.0) -> Objective:
    """weight * KL(p || q) of the next token's distributions, in nats, mean over the positions that have one: p as the
    subject predicts it, q with x_hat in the activations' place; + squared * the squared error.

    The gradient comes back through the subject, whose weights stay as they are. Braun et al. train without the squared
    error. Karvonen adds it, in a short finetune, with a weight set anew at each step so that both count the same; here
    it stays as it is given. Single sites only; a batch is of whole rows.
    """
    return _end_to_end(
        "Braun et al. 2024, arXiv 2405.12241 (e2e); squared: Karvonen 2025, arXiv 2503.17272",
        lambda log_probs, of: F.kl_div(log_probs, of.log_probs, reduction="batchmean", log_target=True),
        weight,
        squared,
    )


@OBJECTIVES.register
def cross_entropy(weight: float = 1.0, squared: float = 0.0) -> Objective:
    """weight * the cross-entropy of the next token with x_hat in the activations' place, in nats, mean over the
    positions that have one; + squared * the squared error.

    As `kl`, but towards the tokens that came: it may fall below the subject's own, which `kl` holds on to.
    """
    return _end_to_end(
        "the subject's own loss, through the splice of Braun et al. 2024, arXiv 2405.12241",
        lambda log_probs, of: F.nll_loss(log_probs, of.next.to(log_probs.device)),
        weight,
        squared,
    )


def _end_to_end(source: str, outcome: Outcome, weight: float, squared: float) -> Objective:
    if not (weight > 0 and squared >= 0):
        raise ValueError(
            f"an end-to-end objective takes a weight above 0 and squared at least 0, not {weight} and {squared}"
        )
    return Objective(
        source=source,
        distance=lambda x_hat, target: squared * _squared(x_hat, target),
        outcome=lambda log_probs, of: weight * outcome(log_probs, of),
    )


def _squared(x_hat: Tensor, target: Tensor) -> Tensor:
    return F.mse_loss(x_hat, target, reduction="sum") / len(target)
