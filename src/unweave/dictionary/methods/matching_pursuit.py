"""Matching pursuit: no encoder; the feature nearest to what is left is taken off it, k times.

Shapes: B batch, D width, F features, k rounds.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unweave.dictionary.codes import Sparse
from unweave.dictionary.core import Coder, Method, method
from unweave.dictionary.kernels.pursuit import pursue
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
        rows = W_dec if features is None else W_dec[features]
        # b_dec goes into a bias: taken from x, it would cost a product of this size in the backward pass.
        return torch.addmm(-(rows @ b_dec), x, rows.T)

    def forward(self, x: Tensor, W_dec: Tensor, b_dec: Tensor) -> tuple[Sparse, Tensor]:
        products = self.pre(x, W_dec, b_dec)
        return Sparse(*pursue(products, W_dec @ W_dec.T, self.k), len(W_dec)), products

    def rescale_(self, factor: float) -> None:
        """Products follow the inputs."""

    def follow_(self, by: Tensor) -> None:
        raise ValueError("matching pursuit has no bias: its products change with b_dec")

    def restart_(self, features: Tensor, directions: Tensor, size: float) -> None:
        """There is no encoder to begin anew."""


@method
def matching_pursuit(k: int = 32) -> Method:
    """codes: k times, the largest product of a decoder row with what is left of x - b_dec, which is then taken off; the
    error. Rows must keep norm 1 (training.decoder_norm="unit")."""

    def coder(W_dec: Tensor) -> Coder:
        check_k("matching_pursuit", k, W_dec)
        return Pursuit(k)

    return Method(
        source="Costa et al. 2025, arXiv 2506.03093, Algorithm 1", coder=coder, losses={"error": (1.0, error)}
    )
