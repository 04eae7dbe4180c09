"""Products in which only the active pairs of an input and a feature take part, forward and backward, on a GPU.

In Triton, so this module is imported only where that is installed. Checked in Triton's interpreter alone so far, on a
processor: these kernels have not yet run on a GPU, and no time of theirs is known.

The floor that they aim at. Arithmetic: the encoder's product, 2 B D F operations by torch's own `addmm` (in TF32 or
not, as torch is set). Bytes, of 4 each in single precision: B F written by the product and read by the choice; and four
passes over pairs (decoding, its two gradients, the encoder's), each a row of D entries read for each of n pairs, mostly
from cache. Adam's 7 passes over 2 D F weights come on top. At B 4096, D 512, F 32768, n 32 B that is 137 GFLOP, 1.1 GB,
1.1 GB from cache and 0.9 GB for Adam.

No sum depends on the order in which threads come: there are no atomics, so a training on one machine repeats itself.
Shapes: B rows, D width, F features, n active pairs; the pairs lie row by row, those of row b from offsets[b] to
offsets[b + 1].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import Function

Select = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From pre-activations `[B, F]` to the active pairs: offsets `[B + 1] int64`, features `[n] int64`."""

SHARE = 0.02
"""Of all pairs, the share up to which these products should take less time than dense ones. Reckoned, not measured: at
50 TFLOP/s a dense step's other four products take 8 B F D / 5e13 s, and the same over pairs 16 n D bytes / 4e12 s, as
long at 4 %; in TF32, at 400 TFLOP/s, at 0.5 %, and at 1 % with what dense matrices cost element by element."""

_BYTES = 1 << 29  # of pre-activations at a time: more would not make the product faster
_PAIRS = 32  # pairs of a sum that are read at once
_TOGETHER = 16  # sums that are written as one piece of a row, where each is a column


def encode(
    x: Tensor, W: Tensor, bias: Tensor, origin: Tensor, select: Select, by_row: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """The entries that `select` chooses of (x - origin) W + bias, for `x [B, D]`, `W [D, F]`: offsets, features, values
    `[n]`.

    Values are differentiable in x, W, bias and origin; the choice is not. by_row: whether it may be made for some rows
    at a time.
    """
    size = max(64, _BYTES // (W.shape[1] * W.element_size())) if by_row else max(1, len(x))
    counts, columns, values = [], [], []
    with torch.no_grad():
        shift, buffer = bias - origin @ W, x.new_empty(min(size, len(x)), W.shape[1])
        for part in x.split(size):
            pre = torch.addmm(shift, part, W, out=buffer[: len(part)])
            offsets, features = select(pre)
            counts.append(offsets.diff())
            columns.append(features)
            values.append(pre[_rows(offsets, features), features])
    offsets, features = torch.nn.functional.pad(torch.cat(counts).cumsum(0), (1, 0)), torch.cat(columns)
    return offsets, features, _Encode.apply(x, W, bias, origin, torch.cat(values), offsets, features)


def decode(offsets: Tensor, features: Tensor, values: Tensor, directions: Tensor) -> Tensor:
    """`[B, D]`: for each row the sum of its features' `directions [F, D]`, each times its value. Differentiable in
    values and directions."""
    return _Decode.apply(values, directions, offsets, features)


class _Encode(Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        W: Tensor,
        bias: Tensor,
        origin: Tensor,
        values: Tensor,
        offsets: Tensor,
        features: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(x, W, origin, offsets, features)
        return values.view_as(values)  # what comes in may not go out as it is

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, W, origin, offsets, features = ctx.saved_tensors
        g = grads[0].contiguous()
        dx = sums(offsets, features, g, W.T) if ctx.needs_input_grad[0] else None
        by_feature = _by_feature(offsets, features, g, W.shape[1])
        dW = column_sums(*by_feature, x - origin)
        dbias = sums(*by_feature, g.new_ones(len(x), 1)).squeeze(1)
        dorigin = -(W @ dbias) if ctx.needs_input_grad[3] else None
        return dx, dW, dbias, dorigin, None, None, None


class _Decode(Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, directions: Tensor, offsets: Tensor, features: Tensor) -> Tensor:
        ctx.save_for_backward(values, directions, offsets, features)
        return sums(offsets, features, values, directions)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        values, directions, offsets, features = ctx.saved_tensors
        g = grads[0].contiguous()
        dvalues = dots(offsets, features, g, directions) if ctx.needs_input_grad[0] else None
        ddirections = None
        if ctx.needs_input_grad[1]:
            ddirections = sums(*_by_feature(offsets, features, values, len(directions)), g)
        return dvalues, ddirections, None, None


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


def _rows(offsets: Tensor, features: Tensor) -> Tensor:
    """`[n]`: the row of each pair. How many there are is known, so that nothing waits for the device to say it."""
    rows = torch.arange(len(offsets) - 1, device=offsets.device)
    return torch.repeat_interleave(rows, offsets.diff(), output_size=len(features))


def _by_feature(offsets: Tensor, features: Tensor, weights: Tensor, d_sae: int) -> tuple[Tensor, Tensor, Tensor]:
    """The same pairs feature by feature: offsets `[F + 1]`, rows `[n]` and the weights in that order."""
    ordered, order = features.int().sort(stable=True)  # half the passes that int64 takes
    starts = torch.searchsorted(ordered, torch.arange(d_sae + 1, dtype=torch.int32, device=ordered.device))
    return starts, _rows(offsets, features)[order], weights.detach()[order]


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
