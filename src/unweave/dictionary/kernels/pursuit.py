"""Matching pursuit by products alone: k rounds of F operations an input, where the vectors themselves would cost F D.

What a round takes off an input changes its products with all features by theirs with the feature taken, so products of
the features with one another are enough. Shapes: B rows, F features, k rounds.
"""

from __future__ import annotations

from typing import Any, no_type_check

import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import Function


def pursue(products: Tensor, among: Tensor, k: int) -> Tensor:
    """`[B, F]`: k times the largest product of a row, if it is above 0, is added to that feature's code and taken off.

    products: `[B, F]`, of each input with each feature; among: `[F, F]`, of the features with one another.
    Differentiable in both; the choice is not. Of equal products the first is taken.
    """
    return (_Pursue.apply if products.device.type == "cpu" else plainly)(products, among, k)


def plainly(products: Tensor, among: Tensor, k: int) -> Tensor:
    """The same with torch's operators, on any device; its gradient keeps k matrices of the products' size."""
    codes = torch.zeros_like(products)
    for _ in range(k):
        value, feature = products.max(1, keepdim=True)
        value = value.relu()
        codes = codes.scatter_add(1, feature, value)
        products = products - value * among[feature.squeeze(1)]
    return codes


class _Pursue(Function):
    @staticmethod
    def forward(ctx: Any, products: Tensor, among: Tensor, k: int) -> Tensor:
        chosen = torch.empty(len(products), k, dtype=torch.int64)
        values, codes = products.new_empty(len(products), k), torch.zeros_like(products)
        left = products.detach().clone(memory_format=torch.contiguous_format)
        rows = among.detach().contiguous()
        _take(left.numpy(), rows.numpy(), chosen.numpy(), values.numpy(), codes.numpy())
        ctx.save_for_backward(rows, chosen, values)
        return codes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """A round's value is v_i = p_i - sum over earlier j of v_j a_ji, a triangular system L v = p. So with L^T h = g
        the gradient is h_i in p_i and -h_i v_j in a_ji."""
        among, chosen, values = ctx.saved_tensors
        g = grads[0].contiguous()
        dproducts, damong = torch.zeros_like(g), torch.zeros_like(among)
        _give_back(g.numpy(), among.numpy(), chosen.numpy(), values.numpy(), dproducts.numpy(), damong.numpy())
        return dproducts, damong, None


@njit(cache=True, nogil=True, fastmath={"contract"})
@no_type_check
def _take(left, among, chosen, values, codes):
    """chosen is -1 from the round on in which nothing is above 0; `left` is used up."""
    n, rounds = left.shape[1], chosen.shape[1]
    for b in range(len(left)):
        row = left[b]
        best = 0
        for j in range(1, n):
            if row[j] > row[best]:
                best = j
        for i in range(rounds):
            value = row[best]
            if value <= 0:  # a NaN goes on to where it is noticed
                chosen[b, i:] = -1
                break
            chosen[b, i], values[b, i] = best, value
            codes[b, best] += value
            away = among[best]
            best, top = 0, row[0] - value * away[0]
            row[0] = top
            for j in range(1, n):
                v = row[j] - value * away[j]
                row[j] = v
                if v > top:
                    best, top = j, v


@njit(cache=True, nogil=True)
@no_type_check
def _give_back(g, among, chosen, values, dproducts, damong):
    rounds = chosen.shape[1]
    h = values[0].copy()
    for b in range(len(chosen)):
        n = 0
        while n < rounds and chosen[b, n] >= 0:
            n += 1
        for j in range(n - 1, -1, -1):
            at = chosen[b, j]
            total = g[b, at]
            for i in range(j + 1, n):
                total -= h[i] * among[at, chosen[b, i]]
                damong[at, chosen[b, i]] -= h[i] * values[b, j]
            h[j] = total
            dproducts[b, at] += total
