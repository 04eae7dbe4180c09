"""The tiny subject of text under a name that a run's config can have, one without a head, and rows for both."""

import tiny_reader
import torch
from tiny_reader import Reader

from unweave.rows import Rows
from unweave.subject.base import SUBJECTS


@SUBJECTS.register
def tiny_text() -> Reader:
    return tiny_reader.tiny()


class Encoder(Reader):
    def run(self, tokens: torch.Tensor, edits: object = None) -> torch.Tensor:
        raise ValueError("Encoder has no head that predicts tokens: it can be read, but not run")


@SUBJECTS.register
def tiny_encoder() -> Encoder:
    model = tiny_reader.tiny()
    model.__class__ = Encoder
    return model


def some_rows(n: int = 7, length: int = 12) -> Rows:
    """Rows with a separator within two of them and padding at the end of another; neither separators nor first
    positions are learnt from."""
    (ids,) = tiny_reader.words().encode([" ".join(tiny_reader.documents(60))])
    ids = torch.tensor(ids[: n * length]).view(n, length)
    there = torch.ones_like(ids, dtype=torch.bool)
    there[1, 8:] = False
    learn = there.clone()
    learn[:, 0] = False
    for row, position in ((2, 4), (5, 9)):
        ids[row, position] = 0
        learn[row, position] = False
    return Rows(ids, there, learn)
