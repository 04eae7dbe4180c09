"""TopK: only the k largest pre-activations of each input pass; Multi-TopK also wants 4k of them to do well."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from unweave.dictionary.codes import Codes
from unweave.dictionary.core import Activation, AfterStep, Coder, Linear, Method, Selection, Step, method
from unweave.dictionary.kernels import pairs
from unweave.dictionary.kernels.leak import leak
from unweave.dictionary.kernels.select import Largest, kth_largest
from unweave.dictionary.terms import error
from unweave.schedule import grown


def check_k(name: str, k: int, W_dec: Tensor) -> None:
    """Raises ValueError for a k that a dictionary of `W_dec [F, D]` cannot have."""
    if not 1 <= k <= len(W_dec):
        raise ValueError(
            f"{name}(k={k}) does not fit a dictionary of d_sae={len(W_dec)} features: k must be 1 to {len(W_dec)}"
        )


def of_k(name: str, k: int, activation: Callable[[Tensor], Activation]) -> Callable[[Tensor], Coder]:
    """The coder of a method with a k, which must fit: affine, then the activation made for a `W_dec [F, D]`."""

    def coder(W_dec: Tensor) -> Coder:
        check_k(name, k, W_dec)
        return Linear(W_dec, activation(W_dec))

    return coder


class KLargest(Selection):
    """Lets k pre-activations of an input pass; while it is trained `now`, which an annealed k is on its way to."""

    now: Tensor

    def __init__(self, k: int, now: int | None = None) -> None:
        super().__init__()
        self.k = k
        self.register_buffer("now", torch.tensor(now or k))

    @property
    def passing(self) -> int:
        return int(self.now) if self.training else self.k


def annealed(k: int, share: float) -> tuple[AfterStep, ...]:
    """Over the first `share` of the steps, k falls linearly from all features to its own value."""
    if not 0 <= share < 1:
        raise ValueError(f"anneal is a share of the steps, from 0 to below 1, not {share}")

    def fall(step: Step) -> None:
        coder = step.dictionary.coder
        assert isinstance(coder, Linear)
        assert isinstance(coder.activation, KLargest)
        left = 1 - grown((step.number + 1) / step.steps, share)
        coder.activation.now.fill_(k + round(left * (step.dictionary.d_sae - k)))

    return (fall,) if share else ()


class TopK(KLargest):
    either = True

    @property
    def by_row(self) -> bool:
        return True

    @property
    def choice(self) -> Largest:
        return Largest(self.passing)

    def select(self, pre: Tensor) -> tuple[Tensor, Tensor]:
        return self.choice(pre)

    def sparse(self, pre: Tensor) -> Codes:
        """Sparse codes of pre-activations that are all there."""
        return super().forward(pre)

    def forward(self, pre: Tensor) -> Tensor:
        """Dense codes; of equal entries at the k-th place all pass."""
        least = kth_largest(pre.detach(), self.passing)
        return leak(pre, least, torch.zeros_like(least))


@method
def topk(k: int = 32, anneal: float = 0.0) -> Method:
    """codes = relu(pre) on the k largest, else 0; the error.

    anneal: over this share of the steps k falls to its value, from all features (not in the paper;
    github.com/saprmarks/dictionary_learning does so, from D).
    """

    return Method(
        source="Gao et al. 2024, arXiv 2406.04093, Sect. 2.3",
        coder=of_k("topk", k, lambda W_dec: TopK(k, len(W_dec) if anneal else k)),
        losses={"error": (1.0, error)},
        after_step=annealed(k, anneal),
    )


class MultiTopK(Linear):
    """TopK; where the `times` * k largest are so many that their codes are dense, in training from the same
    pre-activations as those."""

    def __init__(self, W_dec: Tensor, k: int, times: int) -> None:
        super().__init__(W_dec, TopK(k))
        self.wide_k = min(times * k, len(W_dec))

    def forward(self, x: Tensor, W_dec: Tensor, b_dec: Tensor) -> tuple[Codes, Tensor | None]:
        if not self.training or pairs.shorter(x, self.W_enc, self.b_enc, b_dec, Largest(self.wide_k)):
            return super().forward(x, W_dec, b_dec)
        pre = self.pre(x, W_dec, b_dec)
        assert isinstance(self.activation, TopK)
        return self.activation.sparse(pre), pre

    def wide(self, step: Step) -> Codes:
        """The codes of the `times` * k largest."""
        activation, d = TopK(self.wide_k), step.dictionary
        if step.made is not None:
            return activation(step.made)
        return self.through(activation, d.lift(step.x, d.origin), d.W_dec, d.origin)[0]


@method
def multi_topk(k: int = 32, times: int = 4, weight: float = 1 / 8) -> Method:
    """TopK; error at k + weight * error at times * k, so that more than k features can be read from it afterwards."""

    def wide_error(step: Step) -> Tensor:
        d = step.dictionary
        assert isinstance(d.coder, MultiTopK)
        return step.distance(d.decode_normalised(d.coder.wide(step), step.x), step.target)

    def coder(W_dec: Tensor) -> Coder:
        check_k("multi_topk", k, W_dec)
        return MultiTopK(W_dec, k, times)

    return Method(
        source="Gao et al. 2024, arXiv 2406.04093, Sect. 5.3",
        coder=coder,
        losses={"error": (1.0, error), "wide_error": (weight, wide_error)},
    )
