"""A random subject so small that loops over sequences and positions can be held against it, and tokens for it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from unweave.rows import Rows
from unweave.subject.base import Alphabet
from unweave.subject.gpt import GPT, GPTConfig

PAD, S, V, D = 0, 8, 11, 16


def tiny() -> GPT:
    """Two layers of width D over an alphabet of V, which reads S positions."""
    torch.manual_seed(1)
    model = GPT(GPTConfig(n_layers=2, d_model=D, n_heads=2, n_positions=S, n_tokens=V), Alphabet(V, pad=PAD))
    for weight in model.parameters():
        weight.data.mul_(8)  # the initial weights are so small that nothing would depend on anything
    return model.requires_grad_(False)


def padded(lengths: Sequence[int]) -> Tensor:
    """`[len(lengths), S + 1]`: rows of so many tokens, the rest padding."""
    made = torch.randint(1, V, (len(lengths), S + 1), generator=torch.Generator().manual_seed(2))
    for row, length in zip(made, lengths, strict=True):
        row[length:] = PAD
    return made


def rows(tokens: Tensor) -> Rows:
    """Tokens as the rows that a dictionary learns from wherever there is no padding."""
    there = tokens != PAD
    return Rows(tokens, there, there)
