"""A subject that has learned nothing, with weights of the same sizes: what a score must rise above to mean
something."""

from __future__ import annotations

import torch
from torch import nn

from unweave.subject.base import SUBJECTS, Subject, load


@SUBJECTS.register
def control(of: str = "othello()", seed: int = 0) -> Subject:
    """The subject `of` with the entries of every weight tensor shuffled within the tensor.

    Unlike fresh initial weights, these keep each tensor's distribution of entries, and so the activations' rough scale.
    Raises ValueError for a subject that neither is a module of PyTorch's nor holds one as its `model`.
    """
    subject = load(of)
    model = subject if isinstance(subject, nn.Module) else getattr(subject, "model", None)
    if not isinstance(model, nn.Module):
        raise ValueError(f"control shuffles a model's weights: {of} has none")
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.flatten()[torch.randperm(weight.numel(), generator=draw)].view_as(weight))
    return subject
