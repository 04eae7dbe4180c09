"""Loss terms that several methods share: each one function of a Step, a mean over the batch."""

from __future__ import annotations

from torch import Tensor

from unweave.dictionary.codes import mapped, of_features, row_sum
from unweave.dictionary.core import Step, Term


def error(step: Step) -> Tensor:
    """How far the reconstruction is from its target, by the objective of the run: squared error unless another was
    chosen (`objective.py`)."""
    return step.distance(step.x_hat, step.target)


def l1(step: Step) -> Tensor:
    """The sum over F of the codes."""
    return row_sum(step.codes).mean()


def saturating(c: float) -> Term:
    """The sum over F of tanh(c f ||d||), d the decoder row: it grows with a small code, then stays (Jermyn et al.
    2024, transformer-circuits.pub, February update)."""

    def term(step: Step) -> Tensor:
        lengths = of_features(step.codes, c * step.dictionary.W_dec.norm(dim=1))
        return row_sum(mapped(lengths, Tensor.tanh)).mean()

    return term


def l1_by_norm(step: Step) -> Tensor:
    """The sum over F of each code times its decoder row's norm, so that a smaller code cannot hide in a longer row
    (Conerly et al. 2024, transformer-circuits.pub, April update)."""
    return row_sum(step.codes, step.dictionary.W_dec.norm(dim=1)).mean()
