"""A subject that has learned nothing, with weights of the same sizes: what a score must rise above to mean
something."""

from __future__ import annotations

import torch

from unweave.subject.base import SUBJECTS, load
from unweave.subject.gpt import GPT


@SUBJECTS.register
def control(of: str = "othello()", seed: int = 0) -> GPT:
    """The subject `of` with the entries of every weight tensor shuffled within the tensor.

    Unlike fresh initial weights, these keep each tensor's distribution of entries, and so the activations' rough scale.
    Raises ValueError for a subject that is not a GPT of ours.
    """
    model = load(of)
    if not isinstance(model, GPT):
        raise ValueError(f"control takes a GPT of ours, not {of}")
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.flatten()[torch.randperm(weight.numel(), generator=draw)].view_as(weight))
    return model
