"""How well planted directions were found again. Shapes: M true directions, N found ones, D width."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def best_cosines(true: Tensor, found: Tensor) -> Tensor:
    """`[M]`: the cosine of each of `true [M, D]` with the nearest of `found [N, D]`."""
    return (F.normalize(true, dim=1) @ F.normalize(found, dim=1).T).amax(1)


def mmcs(true: Tensor, found: Tensor) -> float:
    """Mean of the maximal cosine similarities (Sharkey, Braun & Millidge 2022): 1 if every true direction was found."""
    return best_cosines(true, found).mean().item()
