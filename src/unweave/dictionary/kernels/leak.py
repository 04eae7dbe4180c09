"""The k largest of each row as they are, the other positive entries scaled down, in one pass each way on a processor.

Written with torch's operators it takes eight passes over the matrix, each with memory of its own. Shapes: B rows, F
columns.
"""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import Function


def leak(pre: Tensor, k: int, share: float) -> Tensor:
    """`[B, F]`: relu of `pre [B, F]` where that is among the k largest of its row, `share` of it elsewhere.

    Differentiable in pre; the choice is not. Of equal entries at the k-th place all pass.
    """
    return (_Leak.apply if pre.device.type == "cpu" else plainly)(pre, k, share)


def plainly(pre: Tensor, k: int, share: float) -> Tensor:
    """The same with torch's operators, on any device."""
    least = pre.detach().topk(k, dim=1).values[:, -1:]
    u = pre.relu()
    return torch.where(pre < least, share * u, u)


class _Leak(Function):
    @staticmethod
    def forward(ctx: Any, pre: Tensor, k: int, share: float) -> Tensor:
        values = pre.detach().numpy()
        least = np.maximum(np.partition(values, values.shape[1] - k, axis=1)[:, values.shape[1] - k], 0)
        codes = torch.empty_like(pre)
        _scale(values, values, least, values.dtype.type(share), codes.numpy())
        ctx.save_for_backward(pre)
        ctx.least, ctx.share = least, share
        return codes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (pre,) = ctx.saved_tensors
        values = pre.detach().numpy()
        out = torch.empty_like(pre)
        _scale(grads[0].contiguous().numpy(), values, ctx.least, values.dtype.type(ctx.share), out.numpy())
        return out, None, None


@njit(cache=True, nogil=True)
@no_type_check
def _scale(source, pre, least, share, out):
    """out = source where pre is at least `least` of its row, share * source elsewhere; 0 where pre is not above 0."""
    zero = share * 0
    for b in range(len(pre)):
        bound = least[b]
        for j in range(pre.shape[1]):
            v = pre[b, j]
            # A NaN is neither above nor below: it goes on to where it is noticed.
            out[b, j] = zero if v <= 0 else source[b, j] * (share if v < bound else share * 0 + 1)
