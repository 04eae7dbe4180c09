"""The sites of a mixture of experts that no module returns: the router's logits and what each expert adds.

For Mixtral's router and experts (Jiang et al. 2024, arXiv 2401.04088, Sect. 2.1). Shapes: N positions of all
sequences, E experts, K of them active at a position, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def logits(router: Any, x: Tensor) -> Tensor:
    """`[N, E]` for `x [N, D]`. Computed anew: what the router returns under that name are probabilities in some
    versions of transformers (5.0.0)."""
    return F.linear(x, router.weight)


def chosen(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The active experts' weights and indices, `[N, K]` each, for logits `[N, E]`."""
    probabilities, experts = logits.float().softmax(-1).topk(k, dim=-1)
    return probabilities / probabilities.sum(-1, keepdim=True), experts


def contributions(module: Any, x: Tensor, experts: Tensor, weights: Tensor) -> Tensor:
    """`[N, E, D]`: what each expert adds, zeros where it is not among the K active ones; the sum is the MLP's output.

    module: the experts, which compute it themselves, one at a time. x: `[N, D]`; experts, weights: `[N, K]`.
    """
    parts = x.new_zeros(len(x), module.num_experts, x.shape[-1])
    for expert in range(module.num_experts):
        rows, slots = torch.nonzero(experts == expert, as_tuple=True)
        if len(rows):
            mine = experts[rows, slots].unsqueeze(1), weights[rows, slots].unsqueeze(1)
            parts[rows, expert] = module.forward(x[rows], *mine)
    return parts
