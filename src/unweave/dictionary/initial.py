"""Where a dictionary starts: b_dec in the middle of the data, the encoder as the decoder's transpose or not.

Shapes: N vectors of a sample, D width, F features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from unweave.dictionary.core import Dictionary
from unweave.registry import Registry

Start = Callable[[Dictionary, torch.Generator], None]
"""Sets the first weights of a dictionary's encoder."""

STARTS: Registry[Start] = Registry("initialisation")

Centre = Literal["none", "zero", "mean", "geometric_median"]


def geometric_median(sample: Tensor, rounds: int = 100, tolerance: float = 1e-6) -> Tensor:
    """The point `[D]` with the smallest mean distance to `sample [N, D]` (Weiszfeld 1937's iteration)."""
    at = sample.mean(0)
    for _ in range(rounds):
        weight = 1 / (sample - at).norm(dim=1, keepdim=True).clamp(min=1e-9)
        moved = (weight * sample).sum(0) / weight.sum()
        if (moved - at).norm() <= tolerance * at.norm().clamp(min=1e-9):
            return moved
        at = moved
    return at


def centre(sample: Tensor, kind: str) -> Tensor:
    """b_dec `[D]` for `sample [N, D]`. Raises ValueError for another kind."""
    if kind not in get_args(Centre):
        raise ValueError(f"no start of b_dec is called {kind!r}: choose one of {', '.join(get_args(Centre))}")
    if kind in ("none", "zero"):
        return torch.zeros_like(sample[0])
    return sample.mean(0) if kind == "mean" else geometric_median(sample)


def _read(dictionary: Dictionary, directions: Tensor, scale: float) -> None:
    """Let feature j of a new dictionary read along the unit direction j, with weights of norm `scale`."""
    dictionary.coder.restart_(torch.arange(dictionary.d_sae, device=directions.device), directions, scale)


@STARTS.register
def transpose(scale: float = 1.0) -> Start:
    """Each feature reads along its decoder row, `scale` times as long (Gao et al. 2024, arXiv 2406.04093, App. A.1).

    A transcoder, whose decoder rows are of another site, begins as `independent` does.
    """
    _check("transpose", scale)

    def start(dictionary: Dictionary, generator: torch.Generator) -> None:
        if dictionary.transcodes:
            independent(scale)(dictionary, generator)
        else:
            _read(dictionary, dictionary.W_dec.detach(), scale)

    return start


@STARTS.register
def independent(scale: float = 1.0) -> Start:
    """Each feature reads along a random direction of its own, whatever it writes."""
    _check("independent", scale)

    def start(dictionary: Dictionary, generator: torch.Generator) -> None:
        directions = torch.randn(dictionary.d_sae, dictionary.d_in, generator=generator)
        _read(dictionary, directions / directions.norm(dim=1, keepdim=True), scale)

    return start


def _check(name: str, scale: float) -> None:
    if not scale > 0:
        raise ValueError(f"{name}: scale must be above 0, not {scale}")
