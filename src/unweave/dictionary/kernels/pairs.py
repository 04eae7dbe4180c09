"""Products in which only the active pairs of an input and a feature take part, forward and backward, on a processor.

A dense code matrix has B F entries, of which a few in a hundred are not zero. Decoding, its two gradients and the
encoder's cost 8 n D operations here instead of 8 B F D; the encoder's product stays, 2 B F D, the floor of a step.
Shapes: B rows, D width, F features, n active pairs; the pairs lie row by row, those of row b from offsets[b] to
offsets[b + 1].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, no_type_check

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import Function

Select = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From pre-activations `[B, F]` to the active pairs: offsets `[B + 1] int64`, features `[n] int64`."""

SHARE = 0.18
"""Of all pairs, the share up to which these products take less time than dense ones. A dense step is 10 B F D
operations; a short one 2 B F D of the same and 8 n D here, which wait for memory and run at a fifth of the speed. Both
took as long at 0.20 to 0.23 of all pairs where it was measured (benchmarks/training.py)."""

_PROBE = 64  # rows that tell how many pairs there are
_ROWS = 512  # rows at a time: few enough for memory that is used over again, and so many that products stay fast


def possible(x: Tensor) -> bool:
    """Whether there are kernels for `x`: on a processor, in single or double precision."""
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64)


@torch.no_grad()
def shorter(x: Tensor, W: Tensor, bias: Tensor, origin: Tensor, select: Select) -> bool:
    """Whether `encode` takes less time than dense products, by the share of pairs that `select` chooses in the first
    rows: it depends on nothing else, so that a resumed training goes the same way."""
    if not possible(x):
        return False
    pre = torch.addmm(bias - origin @ W, x[:_PROBE], W)
    return len(select(pre)[1]) <= SHARE * pre.numel()


def encode(
    x: Tensor, W: Tensor, bias: Tensor, origin: Tensor, select: Select, by_row: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """The entries that `select` chooses of (x - origin) W + bias, for `x [B, D]`, `W [D, F]`: offsets, features, values
    `[n]`.

    Values are differentiable in x, W, bias and origin; the choice is not. by_row: whether it may be made for some rows
    at a time.
    """
    size = _ROWS if by_row else max(1, len(x))
    counts, columns, values = [], [], []
    with torch.no_grad():
        shift, buffer = bias - origin @ W, x.new_empty(min(size, len(x)), W.shape[1])
        for part in x.split(size):
            pre = torch.addmm(shift, part, W, out=buffer[: len(part)])
            offsets, features = select(pre)
            entries = pre.new_empty(len(features))
            _gather(offsets.numpy(), features.numpy(), pre.numpy(), entries.numpy())
            counts.append(offsets.diff())
            columns.append(features)
            values.append(entries)
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
        (g,) = grads
        dx = _sums(offsets, features, g, W.T.contiguous()) if ctx.needs_input_grad[0] else None
        dW = _column_sums(*_by_feature(offsets, features, g, W.shape[1]), x - origin)
        dbias = torch.from_numpy(np.bincount(features.numpy(), weights=g.numpy(), minlength=W.shape[1])).to(g.dtype)
        dorigin = -(W @ dbias) if ctx.needs_input_grad[3] else None
        return dx, dW, dbias, dorigin, None, None, None


class _Decode(Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, directions: Tensor, offsets: Tensor, features: Tensor) -> Tensor:
        ctx.save_for_backward(values, directions, offsets, features)
        return _sums(offsets, features, values, directions)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        values, directions, offsets, features = ctx.saved_tensors
        g = grads[0].contiguous()
        dvalues = ddirections = None
        if ctx.needs_input_grad[0]:
            dvalues = torch.empty_like(values)
            _dots(offsets.numpy(), features.numpy(), g.numpy(), directions.numpy(), dvalues.numpy())
        if ctx.needs_input_grad[1]:
            ddirections = _sums(*_by_feature(offsets, features, values, len(directions)), g)
        return dvalues, ddirections, None, None


def _sums(offsets: Tensor, sources: Tensor, weights: Tensor, table: Tensor) -> Tensor:
    """Row i: the sum of `table[sources[p]]` times `weights[p]` over offsets[i] <= p < offsets[i + 1]."""
    out = table.new_empty(len(offsets) - 1, table.shape[1])
    weights, table = weights.detach().contiguous(), table.detach().contiguous()
    _weighted_sums(offsets.numpy(), sources.numpy(), weights.numpy(), table.numpy(), out.numpy())
    return out


def _column_sums(offsets: Tensor, sources: Tensor, weights: Tensor, table: Tensor) -> Tensor:
    """The same as columns: `[width of the table, number of sums]`."""
    out = table.new_empty(table.shape[1], len(offsets) - 1)
    _weighted_column_sums(offsets.numpy(), sources.numpy(), weights.numpy(), table.numpy(), out.numpy())
    return out


def _by_feature(offsets: Tensor, features: Tensor, weights: Tensor, d_sae: int) -> tuple[Tensor, Tensor, Tensor]:
    """The same pairs feature by feature: offsets `[F + 1]`, rows `[n]` and the weights in that order."""
    starts = torch.zeros(d_sae + 1, dtype=torch.int64)
    torch.cumsum(torch.bincount(features, minlength=d_sae), 0, out=starts[1:])
    rows, ordered = torch.empty_like(features), torch.empty_like(weights)
    at = starts[:-1].clone()
    _transpose(offsets.numpy(), features.numpy(), weights.detach().numpy(), at.numpy(), rows.numpy(), ordered.numpy())
    return starts, rows, ordered


# Sums in any order, so that they run on vector units; nothing else of "fastmath": NaN must stay what it is.
_FAST: dict[str, Any] = {
    "cache": True, "nogil": True, "fastmath": {"reassoc", "contract"}, "error_model": "numpy"
}  # fmt: skip


@njit(**_FAST)
@no_type_check
def _gather(offsets, features, table, out):
    for row in range(len(offsets) - 1):
        for pair in range(offsets[row], offsets[row + 1]):
            out[pair] = table[row, features[pair]]


@njit(**_FAST)
@no_type_check
def _transpose(offsets, features, weights, at, rows, ordered):
    """A counting sort; `at [F]` begins as where each feature's pairs begin."""
    for row in range(len(offsets) - 1):
        for pair in range(offsets[row], offsets[row + 1]):
            to = at[features[pair]]
            rows[to] = row
            ordered[to] = weights[pair]
            at[features[pair]] = to + 1


@njit(**_FAST)
@no_type_check
def _weighted_sum(pair, end, sources, weights, table, total):
    """total = the sum over the pairs from `pair` to `end`."""
    width = len(total)
    total[:] = 0
    while pair + 4 <= end:  # four at a time: the total is read and written once for four products
        a, b, c, d = weights[pair], weights[pair + 1], weights[pair + 2], weights[pair + 3]
        u, v = table[sources[pair]], table[sources[pair + 1]]
        w, x = table[sources[pair + 2]], table[sources[pair + 3]]
        for t in range(width):
            total[t] += a * u[t] + b * v[t] + c * w[t] + d * x[t]
        pair += 4
    while pair < end:
        a, u = weights[pair], table[sources[pair]]
        for t in range(width):
            total[t] += a * u[t]
        pair += 1


@njit(**_FAST)
@no_type_check
def _weighted_sums(offsets, sources, weights, table, out):
    total = np.empty(table.shape[1], table.dtype)
    for i in range(len(out)):
        _weighted_sum(offsets[i], offsets[i + 1], sources, weights, table, total)
        out[i] = total


@njit(**_FAST)
@no_type_check
def _weighted_column_sums(offsets, sources, weights, table, out):
    width, n = out.shape
    totals = np.empty((16, width), table.dtype)
    for start in range(0, n, 16):  # sixteen columns at a time: a row of them fills a line of the cache
        stop = min(start + 16, n)
        for i in range(start, stop):
            _weighted_sum(offsets[i], offsets[i + 1], sources, weights, table, totals[i - start])
        for t in range(width):
            for i in range(start, stop):
                out[t, i] = totals[i - start, t]


@njit(**_FAST)
@no_type_check
def _dots(offsets, features, left, right, out):
    """out[p] = left[row of p] . right[feature of p]."""
    width, zero = left.shape[1], left.dtype.type(0)
    for row in range(len(offsets) - 1):
        u = left[row]
        pair, end = offsets[row], offsets[row + 1]
        while pair + 4 <= end:  # four at a time: u is read once for four products, which do not wait for one another
            v, w = right[features[pair]], right[features[pair + 1]]
            x, y = right[features[pair + 2]], right[features[pair + 3]]
            a = b = c = d = zero
            for t in range(width):
                a += u[t] * v[t]
                b += u[t] * w[t]
                c += u[t] * x[t]
                d += u[t] * y[t]
            out[pair], out[pair + 1], out[pair + 2], out[pair + 3] = a, b, c, d
            pair += 4
        while pair < end:
            a, v = zero, right[features[pair]]
            for t in range(width):
                a += u[t] * v[t]
            out[pair] = a
            pair += 1
