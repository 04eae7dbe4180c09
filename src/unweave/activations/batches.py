"""Batches for training: vectors from everywhere, or whole games where what the subject makes of them counts as well.

Both are endless, and the same whenever they are asked for. Shapes: G games, S positions, B positions of a batch, D
width, N positions that have a next token, V alphabet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from unweave.activations.buffer import Place, Vectors, shuffled
from unweave.activations.harvest import chunks
from unweave.config import DataConfig
from unweave.othello import games, tokens
from unweave.subject.base import Subject
from unweave.subject.sequences import Sequences

T = TypeVar("T")


@dataclass(frozen=True)
class Downstream:
    """What the subject predicts after a batch of whole games, as it is and with other activations at one site.

    log_probs: `[N, V]`, the next token's log-probabilities as the subject is. next: `[N] int64`, the token that came.
    spliced: the same log-probabilities with vectors `[B, D]`, in the subject's own units, in the place of its
    activations; with gradient, through the subject, whose own weights are frozen.
    """

    log_probs: Tensor
    next: Tensor
    spliced: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Batch:
    """vectors: by site `[B, D]`, row i of every site from the same position. downstream: by site what comes after it,
    where the vectors are all those of whole games; else empty."""

    vectors: Vectors
    downstream: Mapping[str, Downstream] = field(default_factory=dict)


def from_everywhere(
    subject: Subject, sites: Sequence[str], data: DataConfig, *, batch: int, start: Place, pool: Executor
) -> Iterator[tuple[Place, Batch]]:
    """`batch` vectors of very many games, each batch with the place after it; the next games are harvested in `pool`
    while the last are in use. Raises what `shuffled` and `harvest` do."""
    source = chunks(subject, sites, n_games=data.games, seed=data.seed)
    stream = shuffled(
        lambda index: _ahead(source(index), pool), batch=batch, seed=data.seed, passes=data.passes, start=start
    )
    return ((after, Batch(vectors)) for after, vectors in stream)


def whole_games(
    subject: Subject, sites: Sequence[str], data: DataConfig, *, batch: int, start: Place, pool: Executor
) -> Iterator[tuple[Place, Batch]]:
    """All vectors of as many games as have about `batch` positions, at least one, each batch with the place after it;
    the subject runs on the next games in `pool` while the last are in use. Games are shuffled as vectors are elsewhere.
    Raises what `shuffled` does, and ValueError for an unknown site."""

    def source(index: int) -> Iterator[dict[str, Tensor]]:
        for moves in games.stream("train", data.seed, batch=data.games, skip=index):
            yield {"moves": moves}

    longest = min(subject.n_positions, games.PLIES - 1)
    n = max(1, round(batch / longest))
    stream = shuffled(source, batch=n, seed=data.seed, passes=data.passes, start=start)
    return _ahead(((after, of_games(subject, rows["moves"], sites)) for after, rows in stream), pool)


def of_games(subject: Subject, moves: Tensor, sites: Sequence[str]) -> Batch:
    """The batch of the games `moves [G, T]`: as much of them as the subject takes, and the token after that. Raises
    ValueError for an unknown site."""
    sequences = Sequences(subject, tokens.encode(moves)[:, : subject.n_positions + 1])
    with torch.no_grad():
        as_it_is = sequences.log_probs()

    def after(site: str) -> Downstream:
        return Downstream(as_it_is, sequences.next, lambda x: sequences.log_probs({site: x}))

    return Batch(sequences.read(sites), {site: after(site) for site in sites})


def _ahead(items: Iterator[T], pool: Executor) -> Iterator[T]:
    """The same endless items, the next one made in `pool` while the last is in use."""
    coming = pool.submit(next, items)
    while True:
        item = coming.result()
        coming = pool.submit(next, items)
        yield item
