"""BatchTopK: the k * B largest pre-activations of a batch pass, so that hard inputs may use more than k features."""

from __future__ import annotations

import torch
from torch import Tensor

from unweave.dictionary.codes import Sparse
from unweave.dictionary.core import Linear, Method, Step, method
from unweave.dictionary.kernels import pairs
from unweave.dictionary.kernels.select import Above, LargestOfAll
from unweave.dictionary.methods.topk import KLargest, annealed, of_k
from unweave.dictionary.terms import error


class BatchTopK(KLargest):
    """In training the batch decides; afterwards a threshold, the mean of what the batches' smallest active code was."""

    threshold: Tensor

    def __init__(self, k: int, now: int | None = None) -> None:
        super().__init__(k, now)
        self.register_buffer("threshold", torch.zeros(()))

    @property
    def by_row(self) -> bool:
        return not self.training

    @property
    def choice(self) -> pairs.Select:
        return LargestOfAll(self.passing) if self.training else Above(self.threshold)

    def select(self, pre: Tensor) -> tuple[Tensor, Tensor]:
        return self.choice(pre)

    def rescale_(self, factor: float) -> None:
        self.threshold *= factor


def track_threshold(step: Step) -> None:
    """Move the threshold a hundredth of the way to this batch's smallest active code (all of the way at first)."""
    coder = step.dictionary.coder
    assert isinstance(coder, Linear)
    assert isinstance(coder.activation, BatchTopK)
    assert isinstance(step.codes, Sparse)
    threshold, active = coder.activation.threshold, step.codes.values[step.codes.values > 0]
    if len(active):
        threshold.lerp_(active.min(), 1.0 if threshold == 0 else 0.01)


@method
def batch_topk(k: int = 32, anneal: float = 0.0) -> Method:
    """codes = relu(pre) on the k * B largest of the batch, else 0; at inference where pre is above the threshold.

    The error. anneal: over this share of the steps k falls to its value, from all features (not in the paper;
    github.com/saprmarks/dictionary_learning does so, from D).
    """

    return Method(
        source="Bussmann et al. 2024, arXiv 2412.06410, Sect. 3 (eqs. 6-7)",
        coder=of_k("batch_topk", k, lambda W_dec: BatchTopK(k, len(W_dec) if anneal else k)),
        losses={"error": (1.0, error)},
        after_step=(track_threshold, *annealed(k, anneal)),
    )
