"""Orthogonal (OrtSAE): no feature may point nearly where another does. Shapes: F features, D width."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from unweave.dictionary.core import Method, Step, method
from unweave.dictionary.methods.batch_topk import BatchTopK, track_threshold
from unweave.dictionary.methods.topk import of_k
from unweave.dictionary.terms import error


@method
def orthogonal(k: int = 32, weight: float = 0.25, chunk: int = 8192) -> Method:
    """BatchTopK; error + weight * D * mean over features of the squared cosine with the nearest other one in its chunk.

    weight: the paper's, whose error is a mean over D (as in the BatchTopK code that it builds on), hence the D here.
    chunk: larger dictionaries are dealt at random into chunks of about that many features, anew at each step.
    """
    if chunk < 2:
        raise ValueError(f"orthogonal: a chunk needs two features at least, not {chunk}")

    def nearest(step: Step) -> Tensor:
        W = F.normalize(step.dictionary.W_dec, dim=1)
        n = -(-len(W) // chunk)
        order = torch.arange(len(W)) if n == 1 else torch.randperm(len(W), generator=step.generator())
        squares = []
        for part in order.to(W.device).chunk(n):
            rows = W[part]
            with torch.no_grad():  # the gradient is of one cosine a feature, not of all
                nearest = (rows @ rows.T).fill_diagonal_(-1.0).argmax(1)
            squares.append((rows * rows[nearest]).sum(1).square())
        return W.shape[1] * torch.cat(squares).mean()

    return Method(
        source="Korznikov et al. 2025, arXiv 2509.22033, Sect. 3.3 (eq. 4)",
        coder=of_k("orthogonal", k, lambda _: BatchTopK(k)),
        losses={"error": (1.0, error), "cosine": (weight, nearest)},
        after_step=(track_threshold,),
    )
