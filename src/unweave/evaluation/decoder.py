"""The best linear decoder for features that have none of their own, as neurons and probes: least squares.

Shapes: N positions, B batch, F features, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_BATCH = 4096
# Directions in which features vary by less than this share of their largest variance are rounding: they get no weight.
_RANK = 1e-10


@dataclass(frozen=True)
class Decoder:
    """weight: `[F, D]`; bias: `[D]`."""

    weight: Tensor
    bias: Tensor

    def decode(self, codes: Tensor) -> Tensor:
        """`[B, D]` for `codes [B, F]`."""
        return torch.addmm(self.bias, codes, self.weight)


def fit(codes: Callable[[int, int], Tensor], x: Tensor) -> Decoder:
    """The decoder with the least squared error, by the normal equations in float64.

    codes: `codes(start, stop)` gives those positions' `[B, F]`; x: `[N, D]`, what they stand for. Of several best ones
    (features that depend on each other, or never vary) it is the one with the smallest weights.
    """
    parts = [(start, min(start + _BATCH, len(x))) for start in range(0, len(x), _BATCH)]
    centre = sum((codes(*part).double().sum(0) for part in parts), torch.tensor(0.0)) / len(x)
    bias = x.double().mean(0)
    gram, cross = torch.zeros(len(centre), len(centre)).double(), torch.zeros(len(centre), len(bias)).double()
    for part in parts:
        c = codes(*part).double() - centre
        gram.addmm_(c.T, c)
        cross.addmm_(c.T, x[slice(*part)].double() - bias)
    weight = torch.linalg.pinv(gram, rtol=_RANK, hermitian=True) @ cross
    return Decoder(weight.float(), (bias - centre @ weight).float())
