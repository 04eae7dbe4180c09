"""Leaky top-k (Quaisley, report 001): the k largest codes pass, the others are scaled down but not to zero."""

from __future__ import annotations

import torch
from torch import Tensor

from unweave.dictionary.core import Activation, Method, method
from unweave.dictionary.kernels import leak as kernels
from unweave.dictionary.kernels.select import kth_largest
from unweave.dictionary.methods.topk import of_k
from unweave.dictionary.terms import error


def leak(pre: Tensor, least: Tensor, epsilon: Tensor) -> Tensor:
    """relu of `pre [B, F]` where it is at least `least [B, 1]`, an entry of its row, else (epsilon / least) of it:
    nothing below leaks more than epsilon. Where `least` is 0 there is nothing below it. Differentiable, in what `least`
    is an entry of too.
    """
    bound = pre.gather(-1, kernels.first_at(pre, least))
    return kernels.leak(pre, least, epsilon / bound.where(bound > 0, 1))


class LeakyTopK(Activation):
    epsilon: Tensor

    def __init__(self, k: int, epsilon: float, relative: bool) -> None:
        super().__init__()
        self.k, self.relative = k, relative
        self.register_buffer("epsilon", torch.tensor(epsilon))

    def forward(self, pre: Tensor) -> Tensor:
        least = kth_largest(pre.detach(), self.k)
        if self.relative:
            return kernels.leak(pre, least, self.epsilon.expand_as(least))
        return leak(pre, least, self.epsilon)

    def rescale_(self, factor: float) -> None:
        if not self.relative:
            self.epsilon *= factor


@method
def leaky_topk(k: int = 32, epsilon: float = 0.1, relative: bool = True) -> Method:
    """codes = u where u >= b, else (epsilon / b) u, u = relu(pre) and b its k-th largest; the error.

    relative: epsilon is a share of b, so that what leaks is epsilon u, which the report tried too. Otherwise it is the
    most that a code below b can be, in the units of the inputs after normalisation: the report's .5 (with k = 70)
    belongs to inputs as they are. On inputs with squared norm D it is no leak but a flood, with 9 of 10 features
    active.
    """
    if epsilon < 0 or (relative and epsilon > 1):
        raise ValueError(f"leaky_topk: epsilon must be at least 0, and at most 1 if it is relative, not {epsilon}")

    return Method(
        source="Quaisley 2024, report 001, 'Leaky top-k'",
        coder=of_k("leaky_topk", k, lambda _: LeakyTopK(k, epsilon, relative)),
        losses={"error": (1.0, error)},
    )
