"""What is done to inputs before they are coded, and undone after. Shapes: N vectors of a sample, B batch, D width.

One shift and one scale fold into the weights at export. What cannot be folded, a length of each vector's own or a
whitening, travels in the file and is applied by `encode` and `decode`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, get_args

import torch
from torch import Tensor, nn

Kind = Literal["none", "scale", "centre", "each", "direction", "whiten"]


class Normalisation(nn.Module, ABC):
    """Starts as the identity, or as what needs no sample."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def undo(self, x_hat: Tensor, x: Tensor | None) -> Tensor:
        """Reconstructions `[B, D]` in the units of their inputs `x [B, D]`, which may have to be known."""

    @abstractmethod
    def fit_(self, sample: Tensor) -> None:
        """From `sample [N, D]`. Raises ValueError for a sample that does not vary."""


class Shifted(Normalisation):
    """x -> (x - mean) * scale, so that the mean squared norm is D."""

    mean: Tensor
    scale: Tensor

    def __init__(self, d_in: int, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("mean", torch.zeros(d_in))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) * self.scale

    def undo(self, x_hat: Tensor, x: Tensor | None) -> Tensor:
        return x_hat / self.scale + self.mean

    @torch.no_grad()
    def fit_(self, sample: Tensor) -> None:
        if self.kind == "none":
            return
        if self.kind == "centre":
            self.mean.copy_(sample.mean(0))
        self.scale.copy_((sample.shape[1] / _power(sample - self.mean)).sqrt())


class Each(Normalisation):
    """Each vector to norm sqrt(D), as report 003 does; its own length is put back when it is decoded."""

    def __init__(self, d_in: int) -> None:
        super().__init__()
        self.length = d_in**0.5

    def forward(self, x: Tensor) -> Tensor:
        return x * (self.length / _norm(x))

    def undo(self, x_hat: Tensor, x: Tensor | None) -> Tensor:
        if x is None:
            raise ValueError(
                'normalise="each" and "direction" take every vector\'s own length off: to decode, give the '
                "vectors that were encoded"
            )
        return x_hat * (_norm(x) / self.length)

    def fit_(self, sample: Tensor) -> None:
        _power(sample)


class Direction(Each):
    """Each vector to norm sqrt(D), and each reconstruction to the length of its input: only its direction is the
    dictionary's, as report 003's agenda proposes beside the cosine objective."""

    def undo(self, x_hat: Tensor, x: Tensor | None) -> Tensor:
        return super().undo(x_hat * (self.length / _norm(x_hat)), x)


class Whitened(Normalisation):
    """x -> (x - mean) whiten, with covariance 1 in every direction in which the sample varies."""

    mean: Tensor
    whiten: Tensor
    colour: Tensor

    def __init__(self, d_in: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(d_in))
        self.register_buffer("whiten", torch.eye(d_in))
        self.register_buffer("colour", torch.eye(d_in))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) @ self.whiten

    def undo(self, x_hat: Tensor, x: Tensor | None) -> Tensor:
        return x_hat @ self.colour + self.mean

    @torch.no_grad()
    def fit_(self, sample: Tensor) -> None:
        self.mean.copy_(sample.mean(0))
        away = (sample - self.mean).double()
        _power(away)
        variance, axes = torch.linalg.eigh(away.T @ away / len(away))
        # Where the sample hardly varies, at most a thousand times less is made up for: the rest would be rounding.
        deviation = variance.clamp(min=1e-6 * float(variance[-1])).sqrt()
        self.whiten.copy_(axes / deviation @ axes.T)
        self.colour.copy_(axes * deviation @ axes.T)


def normalisation(d_in: int, kind: str) -> Normalisation:
    """Raises ValueError for a kind that there is not."""
    if kind not in get_args(Kind):
        raise ValueError(f"no normalisation is called {kind!r}: choose one of {', '.join(get_args(Kind))}")
    apart = {"each": Each, "direction": Direction, "whiten": Whitened}
    return apart[kind](d_in) if kind in apart else Shifted(d_in, kind)


def _norm(x: Tensor) -> Tensor:
    return x.norm(dim=-1, keepdim=True).clamp(min=1e-12)


def _power(x: Tensor) -> Tensor:
    """The mean squared norm. Raises ValueError if it is zero."""
    power = x.pow(2).sum(-1).mean()
    if not power > 0:
        raise ValueError("the activations at this site do not vary: there is nothing to take apart")
    return power
