"""What is above a threshold of its column, and what is near it, in one pass each way on a processor.

torch makes a matrix of each comparison, at ten times the cost. Shapes: B rows, F columns; where there are no rows, n
entries with a threshold each.
"""

from __future__ import annotations

from typing import no_type_check

import torch
from numba import njit
from torch import Tensor

from unweave.dictionary.kernels.cpu import arrays
from unweave.threads import in_parts

_ROWS = 512  # that a thread takes at once; of so many the sums are made apart


def passed(pre: Tensor, theta: Tensor) -> Tensor:
    """`pre [B, F]` where it is above `theta [F]`, else 0; a NaN goes on to where it is noticed. Or for `[n]`, `[n]`."""
    if pre.ndim != 2 or pre.device.type != "cpu":
        return pre * (pre > theta)
    out, of, bounds = torch.empty_like(pre, memory_format=torch.contiguous_format), *arrays(pre, theta)
    to = out.numpy()
    in_parts(len(out), _ROWS, lambda start, stop: _passed(of[start:stop], bounds, to[start:stop]))
    return out


def given_back(g: Tensor, pre: Tensor, theta: Tensor, half: float) -> tuple[Tensor, Tensor]:
    """Of a gradient `g [B, F]` what belongs to `pre` that is above `theta [F]`, 0 elsewhere, and `[F]`, the sum over B
    of what belongs to `pre` nearer to theta than `half`. For `[n]`, no sum: `[n]`."""
    if pre.ndim != 2 or pre.device.type != "cpu":
        near = (pre - theta).abs() < half
        return g * (pre > theta), (near * g).sum_to_size(theta.shape)
    dpre = torch.empty_like(pre, memory_format=torch.contiguous_format)
    sums = theta.new_zeros(-(-len(pre) // _ROWS), len(theta))
    grad, of, bounds, to, totals = arrays(g, pre, theta, dpre, sums)
    width = of.dtype.type(half)

    def part(start: int, stop: int) -> None:
        _given_back(grad[start:stop], of[start:stop], bounds, width, to[start:stop], totals[start // _ROWS])

    in_parts(len(pre), _ROWS, part)
    return dpre, sums.sum(0)


def near(pre: Tensor, theta: Tensor, half: float) -> Tensor:
    """`[F]`: how many of `pre [B, F]` are nearer to `theta [F]` than `half`. For `[n]`, 1 or 0 each: `[n]`."""
    if pre.ndim != 2 or pre.device.type != "cpu":
        return ((pre - theta).abs() < half).to(theta.dtype).sum_to_size(theta.shape)
    sums = theta.new_zeros(-(-len(pre) // _ROWS), len(theta))
    of, bounds, totals = arrays(pre, theta, sums)
    width = of.dtype.type(half)
    in_parts(len(pre), _ROWS, lambda start, stop: _near(of[start:stop], bounds, width, totals[start // _ROWS]))
    return sums.sum(0)


@njit(cache=True, nogil=True)
@no_type_check
def _passed(pre, theta, out):
    zero = theta.dtype.type(0)
    for b in range(len(pre)):
        row, to = pre[b], out[b]
        for j in range(len(row)):
            to[j] = zero if row[j] <= theta[j] else row[j]


@njit(cache=True, nogil=True)
@no_type_check
def _given_back(g, pre, theta, half, dpre, sums):
    zero = theta.dtype.type(0)
    for b in range(len(pre)):
        row, grad, to = pre[b], g[b], dpre[b]
        for j in range(len(row)):
            to[j] = grad[j] if row[j] > theta[j] else zero
            sums[j] += grad[j] if abs(row[j] - theta[j]) < half else zero


@njit(cache=True, nogil=True)
@no_type_check
def _near(pre, theta, half, sums):
    one, zero = theta.dtype.type(1), theta.dtype.type(0)
    for b in range(len(pre)):
        row = pre[b]
        for j in range(len(row)):
            sums[j] += one if abs(row[j] - theta[j]) < half else zero
