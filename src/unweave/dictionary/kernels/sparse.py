"""Products over active pairs in torch's operators alone, on any device and in any precision.

The encoder's product, 2 B F D operations, is the floor; the other 8 n D are sums over rows of a table, which
`embedding_bag` adds up without a copy of them for every pair. Shapes as in `pairs`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

SHARE = 0.01
"""As `cpu.SHARE`, on a processor (benchmarks/backends.py)."""

_PAIRS = 1 << 15  # at a time, whose rows are copied


def entries(
    x: Tensor, W: Tensor, shift: Tensor, select: Callable[[Tensor], tuple[Tensor, Tensor]], by_row: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """What `select` chooses of x W + shift: offsets, features, the entries."""
    pre = torch.addmm(shift, x, W)
    offsets, features = select(pre)
    return offsets, features, pre[rows(offsets, len(features)), features]


def sums(offsets: Tensor, sources: Tensor, weights: Tensor, table: Tensor) -> Tensor:
    """`[len(offsets) - 1, D]`: row i is the sum of `table[sources[p]]` times `weights[p]` over
    offsets[i] <= p < offsets[i + 1]."""
    return F.embedding_bag(sources, table, offsets[:-1], mode="sum", per_sample_weights=weights)


def column_sums(offsets: Tensor, sources: Tensor, weights: Tensor, table: Tensor) -> Tensor:
    """The same as columns: `[D, len(offsets) - 1]`."""
    return sums(offsets, sources, weights, table).T


def dots(offsets: Tensor, features: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """`[n]`: of each pair, its row of `left [B, D]` times its feature's of `right [F, D]`."""
    at = zip(rows(offsets, len(features)).split(_PAIRS), features.split(_PAIRS), strict=True)
    return torch.cat([torch.linalg.vecdot(left[row], right[feature]) for row, feature in at])


def by_feature(offsets: Tensor, features: Tensor, weights: Tensor, d_sae: int) -> tuple[Tensor, Tensor, Tensor]:
    """The same pairs feature by feature: offsets `[F + 1]`, rows `[n]` and the weights in that order."""
    order = features.argsort(stable=True)
    starts = F.pad(torch.bincount(features, minlength=d_sae).cumsum(0), (1, 0))
    return starts, rows(offsets, len(features))[order], weights[order]


def rows(offsets: Tensor, n: int) -> Tensor:
    """`[n] int64`: the row of each of n pairs. A GPU that had to say how many there are would be waited for."""
    each = torch.arange(len(offsets) - 1, device=offsets.device)
    return torch.repeat_interleave(each, offsets.diff(), output_size=n)
