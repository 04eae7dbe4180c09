"""GroupMax: the features are dealt into k groups, of each of which the largest passes."""

from __future__ import annotations

import torch
from torch import Tensor

from unweave.dictionary.core import Method, Selection, method
from unweave.dictionary.kernels.select import largest_of_groups
from unweave.dictionary.methods.topk import of_k
from unweave.dictionary.terms import error


class GroupMax(Selection):
    """slot: `[F] int64`, ascending: a feature is in group slot mod k, so that groups differ by one feature at most; and
    stays there when others are pruned."""

    @property
    def by_row(self) -> bool:
        return True

    slot: Tensor

    def __init__(self, k: int, n: int) -> None:
        super().__init__()
        self.k = k
        self.register_buffer("slot", torch.arange(n))

    def select(self, pre: Tensor) -> tuple[Tensor, Tensor]:
        if int(self.slot[-1]) < len(self.slot):  # none is missing
            features, n = largest_of_groups(pre, self.k), self.k
        else:
            groups = (self.slot % self.k).unique()
            dealt = pre.new_full((len(pre), max(self.k, int(self.slot[-1]) + 1)), -torch.inf)
            dealt[:, self.slot] = pre
            slots, n = largest_of_groups(dealt, self.k), len(groups)
            features = torch.searchsorted(self.slot, slots[torch.isin(slots % self.k, groups)])
        return torch.arange(0, n * len(pre) + 1, n, device=pre.device), features.flatten()


@method
def group_max(k: int = 32) -> Method:
    """codes = relu(pre) on the largest of each of k groups of features, else 0; the error.

    Feature j is in group j mod k; in sparsify groups are neighbours.
    """

    return Method(
        source="EleutherAI, sparsify (activation 'groupmax'), github.com/EleutherAI/sparsify",
        coder=of_k("group_max", k, lambda W_dec: GroupMax(k, len(W_dec))),
        losses={"error": (1.0, error)},
    )
