"""Products over active pairs on a GPU.

In Triton, so this module is imported only where that is installed. Checked in Triton's interpreter alone so far, on a
processor: these kernels have not yet run on a GPU, and no time of theirs is known.

The floor that they aim at. Arithmetic: the encoder's product, 2 B D F operations by torch's own `addmm` (in TF32 or
not, as torch is set). Bytes, of 4 each in single precision: B F written by the product and read by the choice; and four
passes over pairs (decoding, its two gradients, the encoder's), each a row of D entries read for each of n pairs, mostly
from cache. Adam's 7 passes over 2 D F weights come on top. At B 4096, D 512, F 32768, n 32 B that is 137 GFLOP, 1.1 GB,
1.1 GB from cache and 0.9 GB for Adam.

No sum depends on the order in which threads come: there are no atomics, so a training on one machine repeats itself.
Shapes as in `pairs`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from unweave.dictionary.kernels.sparse import rows

SHARE = 0.02
"""Of all pairs, the share up to which these products should take less time than dense ones. Reckoned, not measured: at
50 TFLOP/s a dense step's other four products take 8 B F D / 5e13 s, and the same over pairs 16 n D bytes / 4e12 s, as
long at 4 %; in TF32, at 400 TFLOP/s, at 0.5 %, and at 1 % with what dense matrices cost element by element."""

_BYTES = 1 << 29  # of pre-activations at a time: more would not make the product faster
_PAIRS = 32  # pairs of a sum that are read at once
_TOGETHER = 16  # sums that are written as one piece of a row, where each is a column


def entries(
    x: Tensor, W: Tensor, shift: Tensor, select: Callable[[Tensor], tuple[Tensor, Tensor]], by_row: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """What `select` chooses of x W + shift: offsets, features, the entries. by_row: whether it may choose of some rows
    at a time."""
    size = max(64, _BYTES // (W.shape[1] * W.element_size())) if by_row else max(1, len(x))
    counts, columns, values = [], [], []
    buffer = x.new_empty(min(size, len(x)), W.shape[1])
    for part in x.split(size):
        pre = torch.addmm(shift, part, W, out=buffer[: len(part)])
        offsets, features = select(pre)
        counts.append(offsets.diff())
        columns.append(features)
        values.append(pre[rows(offsets, len(features)), features])
    offsets = torch.nn.functional.pad(torch.cat(counts).cumsum(0), (1, 0))
    return offsets, torch.cat(columns), torch.cat(values)


def sums(offsets: Tensor, sources: Tensor, weights: Tensor, table: Tensor) -> Tensor:
    """Row i: the sum of `table[sources[p]]` times `weights[p]` over offsets[i] <= p < offsets[i + 1]."""
    table, weights = table.detach().contiguous(), weights.detach().contiguous()
    n, width = len(offsets) - 1, table.shape[1]
    out, block = table.new_empty(n, width), _block(width)
    if n:
        with torch.cuda.device_of(table):
            _sums[n, triton.cdiv(width, block)](offsets, sources, weights, table, out, width, _PAIRS, block)
    return out


def column_sums(offsets: Tensor, sources: Tensor, weights: Tensor, table: Tensor) -> Tensor:
    """The same as columns: `[width of the table, number of sums]`."""
    table, weights = table.detach().contiguous(), weights.detach().contiguous()
    n, width = len(offsets) - 1, table.shape[1]
    out, block = table.new_empty(width, n), _block(width)
    if n:
        grid = triton.cdiv(n, _TOGETHER), triton.cdiv(width, block)
        with torch.cuda.device_of(table):
            _column_sums[grid](offsets, sources, weights, table, out, width, n, _PAIRS, _TOGETHER, block)
    return out


def dots(offsets: Tensor, features: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """`[n]`: for each pair `left[row of p]` times `right[feature of p]`, summed over their entries."""
    left, right = left.detach().contiguous(), right.detach().contiguous()
    out, width = left.new_empty(len(features)), left.shape[1]
    if len(left):
        with torch.cuda.device_of(left):
            _dots[(len(left),)](offsets, features, left, right, out, width, _PAIRS // 2, _block(width))
    return out


def _block(width: int) -> int:
    """So many entries of a row at a time that, with a sum's pairs, they fit into the registers of one program."""
    return min(128, max(16, power_of_2(width)))


def power_of_2(n: int) -> int:
    """The least that is not below n, which is at least 1."""
    return 1 << (n - 1).bit_length()


def by_feature(offsets: Tensor, features: Tensor, weights: Tensor, d_sae: int) -> tuple[Tensor, Tensor, Tensor]:
    """The same pairs feature by feature: offsets `[F + 1]`, rows `[n]` and the weights in that order."""
    ordered, order = features.int().sort(stable=True)  # half the passes that int64 takes
    starts = torch.searchsorted(ordered, torch.arange(d_sae + 1, dtype=torch.int32, device=ordered.device))
    return starts, rows(offsets, len(features))[order], weights.detach()[order]


@triton.jit
@no_type_check
def _sum_of(pair, end, sources, weights, table, width, t, PAIRS: tl.constexpr, BLOCK: tl.constexpr):
    """The entries t `[BLOCK]` of one sum."""
    total = tl.zeros([BLOCK], table.dtype.element_ty)
    lane = tl.arange(0, PAIRS)
    while pair < end:
        there = pair + lane < end
        source = tl.load(sources + pair + lane, mask=there, other=0)
        weight = tl.load(weights + pair + lane, mask=there, other=0)
        at = table + source[:, None] * width + t[None, :]
        rows = tl.load(at, mask=there[:, None] & (t < width)[None, :], other=0)
        total += tl.sum(weight[:, None] * rows, 0)
        pair += PAIRS
    return total


@triton.jit
@no_type_check
def _sums(offsets, sources, weights, table, out, width, PAIRS: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0).to(tl.int64)
    t = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    pair, end = tl.load(offsets + i), tl.load(offsets + i + 1)
    total = _sum_of(pair, end, sources, weights, table, width, t, PAIRS, BLOCK)
    tl.store(out + i * width + t, total, mask=t < width)


@triton.jit
@no_type_check
def _column_sums(
    offsets,
    sources,
    weights,
    table,
    out,
    width,
    n,
    PAIRS: tl.constexpr,
    TOGETHER: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """So many sums one after another, then all are written: each alone would write single entries, far apart."""
    first = tl.program_id(0).to(tl.int64) * TOGETHER
    t = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    column = tl.arange(0, TOGETHER)
    totals = tl.zeros([BLOCK, TOGETHER], table.dtype.element_ty)
    for j in range(TOGETHER):
        there = first + j < n
        pair = tl.load(offsets + first + j, mask=there, other=0)
        end = tl.load(offsets + first + j + 1, mask=there, other=0)
        total = _sum_of(pair, end, sources, weights, table, width, t, PAIRS, BLOCK)
        totals = tl.where(column[None, :] == j, total[:, None], totals)
    inside = (t < width)[:, None] & (first + column < n)[None, :]
    tl.store(out + t.to(tl.int64)[:, None] * n + (first + column)[None, :], totals, mask=inside)


@triton.jit
@no_type_check
def _dots(offsets, features, left, right, out, width, PAIRS: tl.constexpr, BLOCK: tl.constexpr):
    """out[p] = left[row of p] . right[feature of p]."""
    row = tl.program_id(0).to(tl.int64)
    pair, end = tl.load(offsets + row), tl.load(offsets + row + 1)
    lane = tl.arange(0, PAIRS)
    while pair < end:
        there = pair + lane < end
        feature = tl.load(features + pair + lane, mask=there, other=0)
        total = tl.zeros([PAIRS], left.dtype.element_ty)
        for start in range(0, width, BLOCK):
            t = start + tl.arange(0, BLOCK)
            u = tl.load(left + row * width + t, mask=t < width, other=0)
            at = right + feature[:, None] * width + t[None, :]
            v = tl.load(at, mask=there[:, None] & (t < width)[None, :], other=0)
            total += tl.sum(u[None, :] * v, 1)
        tl.store(out + pair + lane, total, mask=there)
        pair += PAIRS
