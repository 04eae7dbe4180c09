"""Batches for training, endless and the same whenever they are asked for. Shapes: B batch, D width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from typing import TypeVar

from unweave.activations.buffer import Place, Vectors, shuffled
from unweave.activations.harvest import chunks
from unweave.config import DataConfig
from unweave.subject.base import Subject

T = TypeVar("T")


def from_everywhere(
    subject: Subject, sites: Sequence[str], data: DataConfig, *, batch: int, start: Place, pool: Executor
) -> Iterator[tuple[Place, Vectors]]:
    """`batch` vectors of very many games at each of `sites`, each batch with the place after it; the next games are
    harvested in `pool` while the last are in use. Raises what `shuffled` and `harvest` do."""
    source = chunks(subject, sites, n_games=data.games, seed=data.seed)
    return shuffled(
        lambda index: _ahead(source(index), pool), batch=batch, seed=data.seed, passes=data.passes, start=start
    )


def _ahead(items: Iterator[T], pool: Executor) -> Iterator[T]:
    """The same endless items, the next one made in `pool` while the last is in use."""
    coming = pool.submit(next, items)
    while True:
        item = coming.result()
        coming = pool.submit(next, items)
        yield item
