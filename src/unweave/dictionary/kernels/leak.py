"""Positive entries scaled down where they are below a bound of their row's, in one pass each way on a processor.

Written with torch's operators it takes eight passes over the matrix, each with memory of its own. Shapes: B rows, F
columns.
"""

from __future__ import annotations

from typing import Any, no_type_check

import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import Function


def leak(pre: Tensor, least: Tensor, share: Tensor) -> Tensor:
    """`[B, F]`: relu of `pre [B, F]` where that is not below `least [B, 1]`, `share [B, 1]` of it elsewhere.

    Differentiable in pre and share.
    """
    return (_Leak.apply if pre.device.type == "cpu" else plainly)(pre, least, share)


def plainly(pre: Tensor, least: Tensor, share: Tensor) -> Tensor:
    """The same with torch's operators, on any device."""
    u = pre.relu()
    return torch.where(pre < least, share * u, u)


def first_at(pre: Tensor, value: Tensor) -> Tensor:
    """`[B, 1] int64`: where `pre [B, F]` is first equal to `value [B, 1]`; 0 where it never is."""
    if pre.device.type != "cpu":
        return (pre.detach() == value).to(torch.uint8).argmax(-1, keepdim=True)
    at = torch.zeros(len(pre), 1, dtype=torch.int64)
    _first_at(pre.detach().numpy(), value.detach().numpy(), at.numpy())
    return at


class _Leak(Function):
    @staticmethod
    def forward(ctx: Any, pre: Tensor, least: Tensor, share: Tensor) -> Tensor:
        codes = torch.empty_like(pre)
        values = pre.detach().numpy()
        _scale(values, values, least.detach().numpy(), share.detach().numpy(), codes.numpy())
        ctx.save_for_backward(pre, least, share)
        return codes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        pre, least, share = (tensor.detach() for tensor in ctx.saved_tensors)
        g, dpre, dshare = grads[0].contiguous().numpy(), torch.empty_like(pre), None
        _scale(g, pre.numpy(), least.numpy(), share.numpy(), dpre.numpy())
        if ctx.needs_input_grad[2]:
            dshare = torch.empty_like(share)
            _below(g, pre.numpy(), least.numpy(), dshare.numpy())
        return dpre, None, dshare


@njit(cache=True, nogil=True)
@no_type_check
def _scale(source, pre, least, share, out):
    """out = source where pre is at least `least` of its row, share * source elsewhere; 0 where pre is not above 0."""
    for b in range(len(pre)):
        bound, some, all_of_it, zero = least[b, 0], share[b, 0], share[b, 0] * 0 + 1, share[b, 0] * 0
        for j in range(pre.shape[1]):
            v = pre[b, j]
            # A NaN is neither above nor below: it goes on to where it is noticed.
            out[b, j] = zero if v <= 0 else source[b, j] * (some if v < bound else all_of_it)


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
@no_type_check
def _below(g, pre, least, sums):
    """Of each row the sum of g * pre where pre is above 0 and below `least`."""
    for b in range(len(pre)):
        bound, total = least[b, 0], pre.dtype.type(0)
        for j in range(pre.shape[1]):
            v = pre[b, j]
            total += g[b, j] * v if v > 0 and v < bound else v * 0
        sums[b, 0] = total


@njit(cache=True, nogil=True)
@no_type_check
def _first_at(pre, value, at):
    for b in range(len(pre)):
        for j in range(pre.shape[1]):
            if pre[b, j] == value[b, 0]:
                at[b, 0] = j
                break
