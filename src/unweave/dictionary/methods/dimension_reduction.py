"""Dimension reduction (Quaisley, report 001): how many codes pass follows from how quickly they fall off.

Shapes: B batch, F features.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from unweave.dictionary.core import Activation, Linear, Method, method
from unweave.dictionary.kernels.select import descending
from unweave.dictionary.methods.leaky_topk import leak
from unweave.dictionary.terms import error


def sizes(n: int, p: float, knee: int) -> Tensor:
    """a_1 to a_n, `[n] float64`: a_1 = 1, a_k = a_(k-1) (1 + p / (k-1)) up to the knee; from there on equal steps, the
    fastest growth that stays concave. A knee of 0: no end to the first rule.
    """
    a = [1.0]
    for k in range(2, n + 1):
        beyond = knee and k > knee >= 2
        a.append(a[-1] + (a[-1] - a[-2]) if beyond else a[-1] * (1 + p / (k - 1)))
    return torch.tensor(a, dtype=torch.float64)


class DimensionReduction(Activation):
    """shares: `[F]`, 1 - a_(k-1) / a_k: what share of the kept codes' sum the k-th of them must have."""

    epsilon: Tensor

    def __init__(self, n: int, epsilon: float, p: float, knee: int) -> None:
        super().__init__()
        a = sizes(n, p, knee)
        self.shares = torch.tensor([0.0, *(1 - before / after for before, after in pairwise(a.tolist()))])
        self.register_buffer("epsilon", torch.tensor(epsilon))

    def kept(self, ordered: Tensor) -> Tensor:
        """`[B, 1]`: how many pass of codes `[B, F]` in descending order: the largest k whose k-th has its share.

        The report's iteration (drop what is below its share of the kept sum, until nothing is) ends there: of a larger
        set the smallest is always dropped; of the k first none ever is, because the a_k are concave.
        """
        enough = ordered >= self.shares.to(ordered) * ordered.cumsum(-1)
        # Of 32 bits: with 64 it takes three times as long.
        places = torch.arange(1, ordered.shape[-1] + 1, device=ordered.device, dtype=torch.int32)
        return (enough * places).amax(-1, keepdim=True).long()

    def forward(self, pre: Tensor) -> Tensor:
        ordered = descending(pre.detach().relu())
        return leak(pre, ordered.gather(-1, self.kept(ordered) - 1), self.epsilon)

    def rescale_(self, factor: float) -> None:
        self.epsilon *= factor


class Geometric(DimensionReduction):
    """sizes: `[F]`, the a_k."""

    def __init__(self, n: int, epsilon: float, p: float, knee: int) -> None:
        super().__init__(n, epsilon, p, knee)
        self.sizes = sizes(n, p, knee)

    def kept(self, ordered: Tensor) -> Tensor:
        """`[B, 1]`: the k for which the sum of the k largest, divided by a_k, is largest."""
        return (ordered.double().cumsum(-1) / self.sizes.to(ordered.device)).argmax(-1, keepdim=True) + 1


def _check(name: str, epsilon: float, p: float, knee: int) -> None:
    if epsilon < 0 or not 0 < p < 1 or knee < 0 or knee == 1:
        raise ValueError(
            f"{name}: epsilon must be at least 0, p between 0 and 1 and knee 0 or at least 2, "
            f"not epsilon={epsilon}, p={p}, knee={knee}"
        )


@method
def dimension_reduction(epsilon: float = 0.01, p: float = 0.15, knee: int = 10) -> Method:
    """codes = u = relu(pre) on a set S, (epsilon / b) u elsewhere, b the smallest on S; the error.

    S begins as all features; whatever is below (1 - a_(n-1) / a_n) times the sum over S, n its size, leaves it, until
    nothing does. a_k: see `sizes`; the report's best are p = .15 with knee 10, and p = .49 without one (knee=0).
    epsilon is in the units of the inputs after normalisation; the report's .01 belongs to inputs as they are.
    """
    _check("dimension_reduction", epsilon, p, knee)
    return Method(
        source="Quaisley 2024, report 001, 'Dimension reduction', the iterative algorithm that it ran",
        coder=lambda W_dec: Linear(W_dec, DimensionReduction(len(W_dec), epsilon, p, knee)),
        losses={"error": (1.0, error)},
    )


@method
def geometric_dimension_reduction(epsilon: float = 0.01, p: float = 0.15, knee: int = 10) -> Method:
    """`dimension_reduction` with S the first k codes in descending order for which their sum divided by a_k is largest.

    The report says that its algorithm finds this set. It does not: of (17.88, 1.52, 1.32, 1.1, .01, 0) the algorithm
    keeps 4, this one 1 (p = .15, knee = 10).
    """
    _check("geometric_dimension_reduction", epsilon, p, knee)
    return Method(
        source="Quaisley 2024, report 001, 'Dimension reduction', the definition that it gives",
        coder=lambda W_dec: Linear(W_dec, Geometric(len(W_dec), epsilon, p, knee)),
        losses={"error": (1.0, error)},
    )
