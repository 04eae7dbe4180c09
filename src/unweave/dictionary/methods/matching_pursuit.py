"""Matching pursuit: no encoder; the feature nearest to what is left is taken off it, k times.

Shapes: B batch, D width, F features, k rounds.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unweave.dictionary.core import Coder, Method, method
from unweave.dictionary.methods.topk import check_k
from unweave.dictionary.terms import error


class Pursuit(Coder):
    """Codes are what each round takes: relu of the residual's product with the feature that has the largest (a negative
    one is never taken, unlike in Kempner's github.com/KempnerInstitute/overcomplete).

    pre: the products of the first round, before anything is taken off.
    """

    reads_decoder = True
    folds = False

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def pre(self, x: Tensor, W_dec: Tensor, b_dec: Tensor, features: Tensor | None = None) -> Tensor:
        return (x - b_dec) @ (W_dec if features is None else W_dec[features]).T

    def forward(self, x: Tensor, W_dec: Tensor, b_dec: Tensor) -> Tensor:
        residual, values = x - b_dec, []
        chosen = self._choose(residual.detach(), W_dec.detach())
        for features in chosen.unbind(1):
            row = W_dec[features]
            value = (residual * row).sum(1, keepdim=True).relu()
            residual = residual - value * row
            values.append(value)
        return x.new_zeros(len(x), len(W_dec)).scatter_add(1, chosen, torch.cat(values, 1))

    def _choose(self, residual: Tensor, W_dec: Tensor) -> Tensor:
        """`[B, k] int64`: which feature each round takes. The products are kept up to date by those of the features
        with one another, F operations a round instead of F D."""
        products, among = residual @ W_dec.T, W_dec @ W_dec.T
        chosen = torch.empty(len(residual), self.k, dtype=torch.int64, device=residual.device)
        for i in range(self.k):
            value, chosen[:, i] = products.max(1)
            products -= value.relu().unsqueeze(1) * among[chosen[:, i]]
        return chosen

    def rescale_(self, factor: float) -> None:
        """Products follow the inputs."""

    def restart_(self, features: Tensor, directions: Tensor, size: float) -> None:
        """There is no encoder to begin anew."""


@method
def matching_pursuit(k: int = 32) -> Method:
    """codes: k times, the largest product of a decoder row with what is left of x - b_dec, which is then taken off; the
    error. Rows must keep norm 1 (training.unit_norm)."""

    def coder(W_dec: Tensor) -> Coder:
        check_k("matching_pursuit", k, W_dec)
        return Pursuit(k)

    return Method(
        source="Costa et al. 2025, arXiv 2506.03093, Algorithm 1", coder=coder, losses={"error": (1.0, error)}
    )
