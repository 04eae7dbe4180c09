"""Gated: one matrix read twice, for whether a feature is active and for how much. Shapes: D width, F features."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from unweave.dictionary.codes import Codes, Encoded, combine, row_sum
from unweave.dictionary.core import Coder, Method, Step, length_of_others, method
from unweave.dictionary.kernels import pairs
from unweave.dictionary.kernels.select import positive
from unweave.dictionary.terms import error


class Gated(Coder):
    """gate = (x - b_dec) W_enc + b_gate; codes = relu(exp(r) (x - b_dec) W_enc + b_mag) where gate > 0, else 0."""

    def __init__(self, W_dec: Tensor) -> None:
        super().__init__()
        self.W_enc = nn.Parameter(W_dec.T.contiguous())
        self.b_gate, self.b_mag, self.r = (nn.Parameter(W_dec.new_zeros(len(W_dec))) for _ in range(3))

    def pre(self, x: Tensor, W_dec: Tensor, b_dec: Tensor, features: Tensor | None = None) -> Tensor:
        W, b = (self.W_enc, self.b_gate) if features is None else (self.W_enc[:, features], self.b_gate[features])
        return torch.addmm(b - b_dec @ W, x, W)

    def forward(self, x: Tensor, W_dec: Tensor, b_dec: Tensor) -> tuple[Codes, Tensor | None]:
        affine = x, self.W_enc, self.b_gate, b_dec
        if pairs.shorter(*affine, positive):
            offsets, features, gate = pairs.encode(*affine, positive)
            b_gate, b_mag, r = (v.index_select(0, features) for v in (self.b_gate, self.b_mag, self.r))
            values = ((gate - b_gate) * r.exp() + b_mag).relu()
            return Encoded(offsets, features, values, len(self.r), gate), None
        gate = self.pre(x, W_dec, b_dec)
        magnitude = (gate - self.b_gate) * self.r.exp() + self.b_mag
        return magnitude.relu() * (gate > 0), gate

    @torch.no_grad()
    def rescale_(self, factor: float) -> None:
        self.b_gate *= factor
        self.b_mag *= factor

    @torch.no_grad()
    def follow_(self, by: Tensor) -> None:
        self.b_gate += by @ self.W_enc
        self.b_mag += by @ self.W_enc * self.r.exp()

    @torch.no_grad()
    def restart_(self, features: Tensor, directions: Tensor, size: float) -> None:
        self.W_enc[:, features] = size * length_of_others(self.W_enc, features) * directions.T
        for b in (self.b_gate, self.b_mag, self.r):
            b[features] = 0


FIXED = ("W_dec", "b_dec", "W_skip")
"""What `gate_error` must not train, as what decodes: b_dec still learns from it where it is taken from x."""


def gates(step: Step) -> Codes:
    """The rectified gates."""
    return replace(step.codes, values=step.codes.pre) if isinstance(step.codes, Encoded) else step.pre().relu()


def gate_l1(step: Step) -> Tensor:
    """The sum over F of the rectified gates."""
    return row_sum(gates(step)).mean()


def gate_error(step: Step) -> Tensor:
    """What the gates alone would reconstruct, with the decoder held fixed: it teaches them, and not the decoder."""
    d = step.dictionary
    x_hat = combine(gates(step), d.W_dec.detach()) + d.b_dec.detach()
    return step.distance(x_hat if d.W_skip is None else x_hat + step.x @ d.W_skip.detach(), step.target)


@method
def gated(l1: float = 1.0) -> Method:
    """codes = relu(exp(r) (x - b_dec) W_enc + b_mag) where gate = (x - b_dec) W_enc + b_gate is above 0, else 0; error
    + l1 * sum over F of relu(gate) + the error of relu(gate) W_dec + b_dec, the decoder held fixed.

    For decoder rows of norm 1 (training.decoder_norm="unit"): otherwise a gate can shrink while its row grows.
    """
    if l1 < 0:
        raise ValueError(f"gated: l1 is a penalty's weight, so it cannot be negative ({l1})")
    return Method(
        source="Rajamanoharan et al. 2024, arXiv 2404.16014, eqs. 6-8",
        coder=Gated,
        losses={"error": (1.0, error), "gate_error": (1.0, gate_error)},
        penalties={"gate_l1": (l1, gate_l1)},
        own_gradient=FIXED,
    )
