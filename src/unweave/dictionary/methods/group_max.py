"""GroupMax: the features are dealt into k groups, of each of which the largest passes."""

from __future__ import annotations

import torch
from torch import Tensor

from unweave.dictionary.core import Method, Selection, method
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
        size = int(self.slot[-1]) // self.k + 1
        dealt = pre.new_full((len(pre), size * self.k), -torch.inf)
        dealt[:, self.slot] = pre
        groups = (self.slot % self.k).unique()
        largest = dealt.unflatten(1, (size, self.k)).argmax(1)[:, groups] * self.k + groups
        features = torch.searchsorted(self.slot, largest.sort(dim=1).values)
        offsets = torch.arange(0, len(groups) * len(pre) + 1, len(groups), device=pre.device)
        return offsets, features.flatten()


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
