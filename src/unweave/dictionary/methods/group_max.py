"""GroupMax: the features are dealt into k groups, of each of which the largest passes."""

from __future__ import annotations

import torch
from torch import Tensor

from unweave.dictionary.core import Method, Selection, method
from unweave.dictionary.methods.topk import of_k
from unweave.dictionary.terms import error


class GroupMax(Selection):
    """Feature j belongs to group j mod k, so that groups differ by one feature at most."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def select(self, pre: Tensor) -> tuple[Tensor, Tensor]:
        size = -(-pre.shape[1] // self.k)
        padded = torch.nn.functional.pad(pre, (0, size * self.k - pre.shape[1]), value=-torch.inf)
        place = padded.unflatten(1, (size, self.k)).argmax(1)
        features = (place * self.k + torch.arange(self.k, device=pre.device)).sort(dim=1).values
        offsets = torch.arange(0, self.k * len(pre) + 1, self.k, device=pre.device)
        return offsets, features.flatten()


@method
def group_max(k: int = 32) -> Method:
    """codes = relu(pre) on the largest of each of k groups of features, else 0; the error.

    Feature j is in group j mod k; in sparsify groups are neighbours.
    """

    return Method(
        source="EleutherAI, sparsify (activation 'groupmax'), github.com/EleutherAI/sparsify",
        coder=of_k("group_max", k, lambda _: GroupMax(k)),
        losses={"error": (1.0, error)},
    )
