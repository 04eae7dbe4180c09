"""Where a dictionary starts: b_dec in the middle of the data. Shapes: N vectors of a sample, D width."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Centre = Literal["zero", "mean", "geometric_median"]


def geometric_median(sample: Tensor, rounds: int = 100, tolerance: float = 1e-6) -> Tensor:
    """The point `[D]` with the smallest mean distance to `sample [N, D]` (Weiszfeld 1937's iteration)."""
    at = sample.mean(0)
    for _ in range(rounds):
        weight = 1 / (sample - at).norm(dim=1, keepdim=True).clamp(min=1e-9)
        moved = (weight * sample).sum(0) / weight.sum()
        if (moved - at).norm() <= tolerance * at.norm().clamp(min=1e-9):
            return moved
        at = moved
    return at


def centre(sample: Tensor, kind: str) -> Tensor:
    """b_dec `[D]` for `sample [N, D]`. Raises ValueError for another kind."""
    if kind not in get_args(Centre):
        raise ValueError(f"no start of b_dec is called {kind!r}: choose one of {', '.join(get_args(Centre))}")
    if kind == "zero":
        return torch.zeros_like(sample[0])
    return sample.mean(0) if kind == "mean" else geometric_median(sample)
