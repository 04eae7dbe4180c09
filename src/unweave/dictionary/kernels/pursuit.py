"""Matching pursuit by products alone: k rounds of F operations an input, where the vectors themselves would cost F D.

What a round takes off an input changes its products with all features by theirs with the feature taken, so products of
the features with one another are enough. Shapes: B rows, F features, k rounds.
"""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import Function

from unweave.dictionary.kernels.select import positive
from unweave.dictionary.kernels.sparse import rows


def pursue(products: Tensor, among: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """k times the largest product of a row, if it is above 0, is added to that feature's code and taken off. Codes that
    are not 0, row by row: offsets `[B + 1] int64`, features `[n] int64`, ascending in a row, values `[n]`.

    products: `[B, F]`, of each input with each feature; among: `[F, F]`, of the features with one another.
    Values are differentiable in both; the choice is not. Of equal products the first is taken.
    """
    if products.device.type == "cpu":
        return _Pursue.apply(products, among, k)
    codes = plainly(products, among, k)
    offsets, features = positive(codes.detach())
    return offsets, features, codes[rows(offsets, len(features)), features]


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
    def forward(ctx: Any, products: Tensor, among: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
        chosen = torch.empty(len(products), k, dtype=torch.int64)
        taken, codes = products.new_empty(len(products), k), torch.zeros_like(products)
        left = products.detach().clone(memory_format=torch.contiguous_format)
        bits = left.view(torch.int32 if left.element_size() == 4 else torch.int64)
        of_feature = among.detach().contiguous()
        _take(left.numpy(), bits.numpy(), of_feature.numpy(), chosen.numpy(), taken.numpy(), codes.numpy())
        offsets, features = positive(codes)
        at = rows(offsets, len(features)), features
        ctx.save_for_backward(of_feature, chosen, taken, *at)
        ctx.mark_non_differentiable(offsets, features)
        return offsets, features, codes[at]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """A round's value is v_i = p_i - sum over earlier j of v_j a_ji, a triangular system L v = p. So with L^T h = g
        the gradient is h_i in p_i and -h_i v_j in a_ji."""
        among, chosen, taken, *at = ctx.saved_tensors
        g = taken.new_zeros(len(chosen), len(among)).index_put(at, grads[2])
        dproducts, damong = torch.zeros_like(g), torch.zeros_like(among)
        _give_back(g.numpy(), among.numpy(), chosen.numpy(), taken.numpy(), dproducts.numpy(), damong.numpy())
        return dproducts, damong, None


@njit(cache=True, nogil=True, fastmath={"contract"})
@no_type_check
def _take(left, bits, among, chosen, values, codes):
    """chosen is -1 from the round on in which nothing is above 0; `left` is used up. bits: `left` read as integers."""
    n, rounds = left.shape[1], chosen.shape[1]
    whole = bits.dtype.type
    for b in range(len(left)):
        row, order = left[b], bits[b]
        chosen[b] = -1
        if not np.isfinite(row.sum()):
            codes[b] = np.nan  # it goes on to where it is noticed
            continue
        for i in range(rounds):
            # Above 0 floating-point numbers are ordered as their bits are, below it these are negative: and integers'
            # maxima and places are found in lanes, where those of floats are not.
            top, best = whole(0), whole(n)
            for j in range(n):
                top = max(top, order[j])
            if top == 0:
                break
            for j in range(n):
                best = min(best, whole(j) if order[j] == top else whole(n))
            value = row[best]
            chosen[b, i], values[b, i] = best, value
            codes[b, best] += value
            away = among[best]
            for j in range(n):
                row[j] -= value * away[j]


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
