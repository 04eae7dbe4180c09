"""Where rows of tokens come from: games without end, or text. Shapes: G rows, S positions, T plies."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache, partial
from itertools import count
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from unweave import files
from unweave.activations.buffer import permutation
from unweave.config import DataConfig
from unweave.othello import games, tokens
from unweave.rows import Rows
from unweave.subject.base import ReadsText, Subject
from unweave.text import sources, table

Split = games.Split


@runtime_checkable
class Corpus(Protocol):
    """Rows in three splits that share none. fingerprint: differs when the same settings mean other rows."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def longest(self) -> int:
        """How many positions the longest row has."""
        ...

    def stream(self, split: Split, *, n: int, seed: int, skip: int = 0) -> Iterator[Rows]:
        """Endless, n rows at a time, the same whenever it is asked for; without the first `skip` times n of them."""
        ...

    def sample(self, split: Split, n: int, seed: int) -> Rows:
        """The first n rows of a stream, no row twice: of a text that has fewer, all."""
        ...


def corpus(data: DataConfig, subject: Subject) -> Corpus:
    """What a subject reads: games, or the text that `data` names.

    Raises ValueError for a subject of text when none is named, for text and a subject of games, and what reading a text
    does.
    """
    if isinstance(subject, ReadsText):
        if not data.text:
            raise ValueError("this subject reads text: name a file or folder of it, as in --text some.jsonl")
        return Text(data, subject)
    if data.text:
        raise ValueError(f"this subject reads games of Othello, not text: leave out data.text={data.text!r}")
    return Games()


def of_games(moves: Tensor) -> Rows:
    """The rows of games `moves [G, T]`: position s is the state after move s."""
    ids = tokens.encode(moves)
    there = ids != tokens.PAD
    return Rows(ids, there, there)


class Games:
    """Games of Othello in which each move is drawn from the legal ones."""

    fingerprint = "othello"
    longest = games.PLIES

    def stream(self, split: Split, *, n: int, seed: int, skip: int = 0) -> Iterator[Rows]:
        return (of_games(moves) for moves in games.stream(split, seed, batch=n, skip=skip))

    def sample(self, split: Split, n: int, seed: int) -> Rows:
        return of_games(games.sample(split, n, seed))


class Text:
    """Rows of a text, in an order that is drawn anew each time all have been served."""

    def __init__(self, data: DataConfig, subject: ReadsText) -> None:
        """Raises ValueError for a context that the subject has no positions for, or a text that cannot be."""
        if data.context > subject.n_positions:
            raise ValueError(f"data.context is {data.context}: this subject takes {subject.n_positions} tokens at most")
        self.data, self.tokenizer = data, subject.tokenizer
        self.source = sources.source(data.text)
        self._tables = cache(self._table)

    @property
    def fingerprint(self) -> str:
        return f"{self.source.fingerprint}-{self.tokenizer.fingerprint}"

    @property
    def longest(self) -> int:
        return self.data.context

    def _table(self, split: Split) -> table.Table:
        d = self.data
        return table.table(
            self.source,
            self.tokenizer,
            context=d.context,
            packed=d.packed,
            split=split,
            folder=files.cache("text"),
        )

    def stream(self, split: Split, *, n: int, seed: int, skip: int = 0) -> Iterator[Rows]:
        rows = self._tables(split)
        epoch = lru_cache(maxsize=2)(partial(permutation, len(rows), seed))
        for start in count(skip * n, n):
            place = torch.arange(start, start + n)
            round = place // len(rows)
            parts = [epoch(i)[place[round == i] % len(rows)] for i in round.unique().tolist()]
            yield self._rows(rows, torch.cat(parts))

    def sample(self, split: Split, n: int, seed: int) -> Rows:
        rows = self._tables(split)
        return self._rows(rows, permutation(len(rows), seed, 0)[:n])

    def once(self, split: Split, n: int) -> Iterator[Rows]:
        """Every row of a split, in the text's order, n at a time."""
        rows = self._tables(split)
        return (self._rows(rows, part) for part in torch.arange(len(rows)).split(n))

    def _rows(self, rows: table.Table, which: Tensor) -> Rows:
        ids, kind = rows.rows(which)
        there = kind != table.PAD
        return Rows(ids, there, there if self.data.specials else kind == table.TEXT)
