"""What a reconstruction is to be close in: a value that stands beside the method. Shapes: B batch, D width.

Every published coefficient of a penalty belongs to one of these; a penalty's weight means nothing without it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from unweave.dictionary.core import Distance
from unweave.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Objective:
    source: str
    distance: Distance


OBJECTIVES: Registry[Objective] = Registry("objective")


@OBJECTIVES.register
def squared() -> Objective:
    """The sum over D of (x_hat - target)^2, mean over the batch."""
    return Objective(source="-", distance=lambda x_hat, target: (x_hat - target).pow(2).sum(-1).mean())


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
def cosine(weight: float = 256.0) -> Objective:
    """weight * (1 - cos(x_hat, target)), mean over the batch. The length of a reconstruction is then free: report 003
    proposes it against shrinkage.

    weight: D makes it as large as the squared error of vectors with squared norm D, for small angles and by half.
    """
    return Objective(
        source="OpenMOSS 2024, report 003, agenda",
        distance=lambda x_hat, target: weight * (1 - F.cosine_similarity(x_hat, target, dim=-1)).mean(),
    )
