"""Without-top-k (Quaisley, report 001): the k largest codes are free, the others are penalised."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from unweave.dictionary.codes import Codes, Sparse, mapped, row_sum
from unweave.dictionary.core import Method, Step, method
from unweave.dictionary.kernels.select import largest_of_rows, rest_of_rows
from unweave.dictionary.methods.relu import ReLU
from unweave.dictionary.methods.topk import of_k
from unweave.dictionary.terms import error


def _rest(step: Step, k: int) -> Codes:
    """The codes without the k largest of each row."""
    codes = step.codes
    if isinstance(codes, Sparse):
        return replace(codes, values=codes.values * rest_of_rows(codes.offsets, codes.values.detach(), k))
    # Of pre-activations the same as of codes, which for all their zeros are six times as slow to partition.
    return codes.scatter(-1, largest_of_rows(step.pre().detach(), k), torch.zeros_like(codes))


def _norms(codes: Codes, p: float) -> Tensor:
    """`[B]`: the p-norm of each row."""
    if isinstance(codes, Tensor):
        return torch.linalg.vector_norm(codes, p, dim=-1)
    sums = row_sum(mapped(codes, lambda f: f.pow(p)))
    return torch.where(sums > 0, sums, 1).pow(1 / p) * (sums > 0)  # the root has no gradient at 0


@method
def without_topk(alpha: float = 500.0, k: int = 32, p: float = 1.0) -> Method:
    """codes = relu(pre); error + alpha * (1/F) * ||f - top_k(f)||_p, top_k(f) the k largest codes and else 0.

    The report's alpha, .1 with p = 1 and a k that it does not give, belongs, as far as one can tell, to
    objective="unsquared(by_width=True)".
    """
    if not p >= 1:
        raise ValueError(f"without_topk: p must be at least 1 for a norm, not {p}")

    def rest(step: Step) -> Tensor:
        return _norms(_rest(step, k), p).mean() / step.dictionary.d_sae

    return Method(
        source="Quaisley 2024, report 001, 'Without top-k'",
        coder=of_k("without_topk", k, lambda _: ReLU()),
        losses={"error": (1.0, error)},
        penalties={"without_topk": (alpha, rest)},
    )
