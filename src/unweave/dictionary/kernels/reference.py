"""Dense products and torch's own gradients, on any device: what the other backends are held against.

Five products of 2 B F D operations a step, and as many passes over matrices `[B, F]`. Shapes as in `pairs`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from unweave.dictionary.kernels.sparse import rows


def encode(
    x: Tensor, W: Tensor, bias: Tensor, origin: Tensor, select: Callable[[Tensor], tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor, Tensor]:
    """As `pairs.encode`."""
    pre = torch.addmm(bias - origin @ W, x, W)
    offsets, features = select(pre.detach())
    return offsets, features, pre[rows(offsets, len(features)), features]


def decode(offsets: Tensor, features: Tensor, values: Tensor, directions: Tensor) -> Tensor:
    """As `pairs.decode`."""
    codes = values.new_zeros(len(offsets) - 1, len(directions))
    return codes.index_put((rows(offsets, len(features)), features), values) @ directions
