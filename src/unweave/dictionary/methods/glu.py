"""A gated linear unit as the encoder: a sigmoid scales what a second matrix reads. Shapes: D width, F features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unweave.dictionary.codes import Codes, Encoded
from unweave.dictionary.core import Coder, Method, length_of_others, method
from unweave.dictionary.kernels import pairs
from unweave.dictionary.kernels.select import positive
from unweave.dictionary.terms import error
from unweave.dictionary.terms import l1 as sum_of_codes


class GLU(Coder):
    """pre = sigmoid((x - b_dec) W_gate + b_gate) ((x - b_dec) W_enc + b_enc), codes = relu(pre). W_gate starts at 0."""

    def __init__(self, W_dec: Tensor) -> None:
        super().__init__()
        self.W_enc = nn.Parameter(W_dec.T.contiguous())
        self.W_gate = nn.Parameter(torch.zeros_like(self.W_enc))
        self.b_enc, self.b_gate = (nn.Parameter(W_dec.new_zeros(len(W_dec))) for _ in range(2))

    def pre(self, x: Tensor, W_dec: Tensor, b_dec: Tensor, features: Tensor | None = None) -> Tensor:
        at = slice(None) if features is None else features
        read, gate = self.W_enc[:, at], self.W_gate[:, at]
        opened = torch.addmm(self.b_gate[at] - b_dec @ gate, x, gate).sigmoid()
        return opened * torch.addmm(self.b_enc[at] - b_dec @ read, x, read)

    def forward(self, x: Tensor, W_dec: Tensor, b_dec: Tensor) -> tuple[Codes, Tensor | None]:
        affine = x, self.W_enc, self.b_enc, b_dec
        if pairs.shorter(*affine, positive):  # a sigmoid is above 0: what is read is so wherever a code is
            offsets, features, read = pairs.encode(*affine, positive)
            gates = x, self.W_gate, self.b_gate, b_dec
            *_, gate = pairs.encode(*gates, lambda _: (offsets, features), by_row=False)
            pre = gate.sigmoid() * read
            return Encoded(offsets, features, pre.relu(), len(self.b_enc), pre), None
        pre = self.pre(x, W_dec, b_dec)
        return pre.relu(), pre

    @torch.no_grad()
    def rescale_(self, factor: float) -> None:
        self.W_gate /= factor  # what opens a gate has no units
        self.b_enc *= factor

    @torch.no_grad()
    def follow_(self, by: Tensor) -> None:
        self.b_gate += by @ self.W_gate
        self.b_enc += by @ self.W_enc

    @torch.no_grad()
    def restart_(self, features: Tensor, directions: Tensor, size: float) -> None:
        self.W_enc[:, features] = size * length_of_others(self.W_enc, features) * directions.T
        self.W_gate[:, features] = 0
        for b in (self.b_enc, self.b_gate):
            b[features] = 0


@method
def glu(l1: float = 1.0) -> Method:
    """codes = relu(sigmoid((x - b_dec) W_gate + b_gate) ((x - b_dec) W_enc + b_enc)); error + l1 * sum over F of the
    codes."""
    if l1 < 0:
        raise ValueError(f"glu: l1 is a penalty's weight, so it cannot be negative ({l1})")
    return Method(
        source="OpenMOSS 2024, report 003, agenda ('separating MSE and sparsity')",
        coder=GLU,
        losses={"error": (1.0, error)},
        penalties={"l1": (l1, sum_of_codes)},
    )
