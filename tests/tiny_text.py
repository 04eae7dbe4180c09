"""A random subject of text so small that loops over rows and positions can be held against it, and text for it."""

from pathlib import Path

import torch

from unweave.rows import Rows
from unweave.subject.base import SUBJECTS, Alphabet
from unweave.subject.gpt import GPT, GPTConfig
from unweave.text.sources import Document
from unweave.text.tokenizer import Tokenizer, train

S, D = 12, 16
_WORDS = "the a cat dog bird sees eats likes big small red on in house tree and runs sleeps".split()


class TinyReader(GPT):
    """A GPT that reads text; its tokenizer is made once."""

    tokenizer: Tokenizer


def documents(n: int = 400) -> list[Document]:
    """Sentences of words drawn at random, no two alike."""
    draw = torch.Generator().manual_seed(5)
    texts = (
        " ".join(_WORDS[i] for i in torch.randint(len(_WORDS), (30,), generator=draw).tolist()) + "." for _ in range(n)
    )
    return [Document(f"{i}", text) for i, text in enumerate(texts)]


_TOKENIZER = train(documents(), 300)


@SUBJECTS.register
def tiny_reader(seed: int = 1) -> TinyReader:
    """Two layers of width D that read S positions; of the alphabet's size, some more tokens than there are names."""
    torch.manual_seed(seed)
    size = _TOKENIZER.size
    model = TinyReader(
        GPTConfig(n_layers=2, d_model=D, n_heads=2, n_positions=S, n_tokens=size + 3),
        Alphabet(size + 3, _TOKENIZER.pad, _TOKENIZER.specials),
    )
    for weight in model.parameters():
        weight.data.mul_(6)  # the initial weights are so small that nothing would depend on anything
    model.tokenizer = _TOKENIZER
    return model.requires_grad_(False)


@SUBJECTS.register
def tiny_encoder() -> TinyReader:
    """The same without a head."""

    class Encoder(TinyReader):
        def run(self, tokens: torch.Tensor, edits: object = None) -> torch.Tensor:
            raise ValueError("Encoder has no head that predicts tokens: it can be read, but not run")

    model = tiny_reader()
    model.__class__ = Encoder
    return model


def text(folder: Path, n: int = 400) -> str:
    """A folder of text files, one a document."""
    folder.mkdir()
    for document in documents(n):
        (folder / f"{document.name}.txt").write_text(document.text)
    return str(folder)


def some_rows(n: int = 7) -> Rows:
    """Rows with a separator within two of them and padding at the end of another; neither separators nor first positions
    are learnt from."""
    ids = torch.tensor(_TOKENIZER.encode([document.text for document in documents(n)])[0] * 20)[: n * S].view(n, S)
    ids = ids.roll(3, 0).clone()
    there = torch.ones_like(ids, dtype=torch.bool)
    there[1, 8:] = False
    learn = there.clone()
    learn[:, 0] = False
    for row, position in ((2, 4), (5, 9)):
        ids[row, position] = 0
        learn[row, position] = False
    return Rows(ids, there, learn)
