"""A random subject of text, with a tokenizer of its own and a little text for it, all made on the spot."""

import json
from functools import cache
from pathlib import Path

import torch

from unweave.subject.base import Alphabet
from unweave.subject.gpt import GPT, GPTConfig
from unweave.text import tokenizer
from unweave.text.sources import Document

CONTEXT, D = 12, 16
WORDS = [
    *("the", "cat", "sat", "on", "a", "mat", "and", "saw", "one", "dog", "run", "to", "its", "big", "red", "house"),
    *("then", "it", "went", "away"),
]


def documents(n: int, seed: int = 0) -> list[str]:
    """n different texts of 4 to 40 words."""
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(4, 40, (n,), generator=draw).tolist()
    return [" ".join(WORDS[i] for i in torch.randint(len(WORDS), (k,), generator=draw).tolist()) for k in lengths]


def write(path: Path, texts: list[str]) -> Path:
    """A .jsonl file of the texts."""
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


class Reader(GPT):
    """Two layers of width D over a tokenizer's tokens."""

    def __init__(self) -> None:
        self.tokenizer = words()
        size = self.tokenizer.size
        config = GPTConfig(n_layers=2, d_model=D, n_heads=2, n_positions=2 * CONTEXT, n_tokens=size)
        names = tuple(self.tokenizer.piece(token) for token in range(size))
        super().__init__(config, Alphabet(size, specials=self.tokenizer.specials, names=names))


@cache
def words() -> tokenizer.Tokenizer:
    return tokenizer.train([Document(str(i), text) for i, text in enumerate(documents(50))], 290)


def tiny() -> Reader:
    torch.manual_seed(1)
    model = Reader()
    for weight in model.parameters():
        weight.data.mul_(8)  # the initial weights are so small that nothing would depend on anything
    return model.eval().requires_grad_(False)
