"""Taking features out of a trained dictionary that do next to nothing. Shapes: F features, K of them that are kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unweave.dictionary import Dictionary
from unweave.dictionary.export import about


@dataclass(frozen=True, kw_only=True)
class Rules:
    """A feature is removed if its largest activation (in the units of the dictionary's codes), the norm of its decoder
    row or the share of the inputs in which it is active is below its bound; 0 for a rule that removes nothing. The
    bounds are report 003's."""

    max_activation: float = 1.0
    decoder_norm: float = 0.99
    frequency: float = 1e-6

    def __post_init__(self) -> None:
        for name in ("max_activation", "decoder_norm", "frequency"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be at least 0 and finite, not {getattr(self, name)}")

    def broken(self, dictionary: Dictionary, largest: Tensor, density: Tensor) -> dict[str, Tensor]:
        """By rule, which features it removes `[F] bool`. largest, density: `[F]`, each feature's largest activation and
        the share of inputs in which it was active."""
        return {
            "max_activation": largest < self.max_activation,
            "decoder_norm": dictionary.W_dec.detach().norm(dim=1).cpu() < self.decoder_norm,
            "frequency": density < self.frequency,
        }


@torch.no_grad()
def pruned(dictionary: Dictionary, keep: Tensor) -> Dictionary:
    """A dictionary of the features `keep [F] bool` alone, in their order, with their weights and thresholds.

    Its pre-activations are those of the kept features, and so are its codes of an input in which no removed feature is
    active. In other inputs they are what the method makes of these pre-activations: still the same where features do
    not compete (a ReLU, a threshold, a gate); where k of them pass, the next in line takes a removed one's place.

    Raises ValueError where nothing would be left, or less than the method can do with.
    """
    if not keep.any():
        raise ValueError(f"none of {len(keep)} features would be left: loosen a rule")
    try:
        made = Dictionary(dictionary.d_in, int(keep.sum()), dictionary.call, **about(dictionary))
    except ValueError as error:
        raise ValueError(f"{int(keep.sum())} of {len(keep)} features would be left, too few: {error}") from None
    made.to(dictionary.W_dec.device)
    at, old = keep.nonzero().squeeze(1).to(dictionary.W_dec.device), dictionary.state_dict()
    made.load_state_dict({name: _kept(old[name], new.shape, at) for name, new in made.state_dict().items()})
    return made.eval()


def _kept(tensor: Tensor, shape: torch.Size, at: Tensor) -> Tensor:
    """`tensor` as it is, or if it has one entry a feature, those at `at`: the axis that makes `shape` another."""
    for axis, (before, after) in enumerate(zip(tensor.shape, shape, strict=True)):
        if before != after:
            return tensor.index_select(axis, at)
    return tensor
