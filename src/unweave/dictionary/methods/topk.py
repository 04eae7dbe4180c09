"""TopK: only the k largest pre-activations of each input pass; Multi-TopK also wants 4k of them to do well."""

from __future__ import annotations

import torch
from torch import Tensor

from unweave.dictionary.core import Coder, Linear, Method, Selection, Step, method
from unweave.dictionary.kernels.select import largest_of_rows
from unweave.dictionary.terms import error


def check_k(name: str, k: int, W_dec: Tensor) -> None:
    """Raises ValueError for a k that a dictionary of `W_dec [F, D]` cannot have."""
    if not 1 <= k <= len(W_dec):
        raise ValueError(
            f"{name}(k={k}) does not fit a dictionary of d_sae={len(W_dec)} features: k must be 1 to {len(W_dec)}"
        )


class TopK(Selection):
    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def select(self, pre: Tensor) -> tuple[Tensor, Tensor]:
        offsets = torch.arange(0, self.k * len(pre) + 1, self.k, device=pre.device)
        return offsets, largest_of_rows(pre, self.k).flatten()


@method
def topk(k: int = 32) -> Method:
    """codes = relu(pre) on the k largest, else 0; the error."""

    def coder(W_dec: Tensor) -> Coder:
        check_k("topk", k, W_dec)
        return Linear(W_dec, TopK(k))

    return Method(source="Gao et al. 2024, arXiv 2406.04093, Sect. 2.3", coder=coder, losses={"error": (1.0, error)})


@method
def multi_topk(k: int = 32, times: int = 4, weight: float = 1 / 8) -> Method:
    """TopK; error at k + weight * error at times * k, so that more than k features can be read from it afterwards."""

    def wide_error(step: Step) -> Tensor:
        d = step.dictionary
        assert isinstance(d.coder, Linear)
        wide = TopK(min(times * k, d.d_sae))
        codes = d.coder.through(wide, d.lift(step.x, d.b_dec), d.W_dec, d.b_dec)
        return step.distance(d.decode_normalised(codes), step.target)

    def coder(W_dec: Tensor) -> Coder:
        check_k("multi_topk", k, W_dec)
        return Linear(W_dec, TopK(k))

    return Method(
        source="Gao et al. 2024, arXiv 2406.04093, Sect. 5.3.2",
        coder=coder,
        losses={"error": (1.0, error), "wide_error": (weight, wide_error)},
    )
