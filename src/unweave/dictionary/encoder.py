"""What stands before the affine encoder of a method: nothing, or an MLP. Shapes: B batch, D width (d_in), H hidden."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from unweave.registry import Registry


class Lift(nn.Module, ABC):
    """From inputs `[B, D]` to what the method's coder reads, `[B, D]`."""

    @abstractmethod
    def forward(self, x: Tensor, b_dec: Tensor) -> Tensor: ...

    @abstractmethod
    def rescale_(self, factor: float) -> None:
        """Multiply what comes out by `factor` for inputs (and b_dec) that are multiplied by it."""

    @abstractmethod
    def follow_(self, by: Tensor) -> None:
        """Give what came out before where b_dec has moved by `by [D]`."""


ENCODERS: Registry[Callable[[int, torch.Generator], Lift]] = Registry("encoder")
"""Each builds, from a width and a source of random numbers, a lift."""


class _Same(Lift):
    def forward(self, x: Tensor, b_dec: Tensor) -> Tensor:
        return x

    def rescale_(self, factor: float) -> None:
        pass

    def follow_(self, by: Tensor) -> None:
        pass


class _Residual(Lift):
    def __init__(self, d_in: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.W_in = nn.Parameter(torch.randn(d_in, width, generator=generator) / d_in**0.5)
        self.b_in = nn.Parameter(torch.zeros(width))
        self.W_out = nn.Parameter(torch.zeros(width, d_in))

    def forward(self, x: Tensor, b_dec: Tensor) -> Tensor:
        return x + torch.addmm(self.b_in, x - b_dec, self.W_in).relu() @ self.W_out

    @torch.no_grad()
    def rescale_(self, factor: float) -> None:
        self.b_in *= factor

    @torch.no_grad()
    def follow_(self, by: Tensor) -> None:
        self.b_in += by @ self.W_in


@ENCODERS.register
def affine() -> Callable[[int, torch.Generator], Lift]:
    """Nothing: the method's coder reads the inputs themselves."""
    return lambda d_in, generator: _Same()


@ENCODERS.register
def deep(width: int = 1024) -> Callable[[int, torch.Generator], Lift]:
    """x + relu((x - b_dec) W_in + b_in) W_out, with `width` hidden units, in place of x: the deeper encoder that
    Quaisley (report 001) asks for. W_out starts at zero, so that it begins as the affine encoder does."""
    if width < 1:
        raise ValueError(f"deep: width must be at least 1, not {width}")
    return lambda d_in, generator: _Residual(d_in, width, generator)
