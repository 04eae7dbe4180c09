"""Batches for training: vectors from everywhere, or whole rows where what the subject makes of them counts as well.

Both are endless, and the same whenever they are asked for. Shapes: G rows of tokens, S positions, B positions of a
batch, D width, N positions that have a next token, V alphabet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from unweave.activations.buffer import Place, Vectors, shuffled
from unweave.activations.corpus import Corpus
from unweave.config import DataConfig
from unweave.rows import Rows
from unweave.subject.base import Subject
from unweave.subject.sequences import Sequences

T = TypeVar("T")


@dataclass(frozen=True)
class Downstream:
    """What the subject predicts after a batch of whole rows, as it is and with other activations at one site.

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
    where the vectors are all those of whole rows; else empty."""

    vectors: Vectors
    downstream: Mapping[str, Downstream] = field(default_factory=dict)


def from_everywhere(
    source: Callable[[int], Iterator[Vectors]], data: DataConfig, *, batch: int, start: Place, pool: Executor
) -> Iterator[tuple[Place, Batch]]:
    """`batch` vectors of very many rows, each batch with the place after it; the next chunk of `source`, as `shuffled`
    takes it, is harvested or read in `pool` while the last is in use. Raises what `shuffled` and `source` do."""
    stream = shuffled(
        lambda index: _ahead(source(index), pool), batch=batch, seed=data.seed, passes=data.passes, start=start
    )
    return ((after, Batch(vectors)) for after, vectors in stream)


def whole_rows(
    subject: Subject,
    corpus: Corpus,
    sites: Sequence[str],
    data: DataConfig,
    *,
    batch: int,
    start: Place,
    pool: Executor,
) -> Iterator[tuple[Place, Batch]]:
    """All vectors of as many rows as have about `batch` positions, at least one, each batch with the place after it;
    the subject runs on the next rows in `pool` while the last are in use. Rows are shuffled as vectors are elsewhere.
    Raises what `shuffled` does, and ValueError for an unknown site."""

    def source(index: int) -> Iterator[dict[str, Tensor]]:
        for rows in corpus.stream("train", n=data.sequences, seed=data.seed, skip=index):
            yield asdict(rows)

    longest = min(subject.n_positions, corpus.longest - 1)  # the last token is only predicted
    n = max(1, round(batch / longest))
    stream = shuffled(source, batch=n, seed=data.seed, passes=data.passes, start=start)
    return _ahead(((after, of_rows(subject, Rows(**rows), sites)) for after, rows in stream), pool)


def of_rows(subject: Subject, rows: Rows, sites: Sequence[str]) -> Batch:
    """The batch of some rows: as much of them as the subject takes, and the token after that. Raises ValueError for an
    unknown site."""
    sequences = Sequences(subject, rows.until(subject.n_positions + 1))
    with torch.no_grad():
        as_it_is = sequences.log_probs()

    def after(site: str) -> Downstream:
        return Downstream(as_it_is, sequences.next, lambda x: sequences.log_probs({site: x}))

    return Batch(sequences.read(sites), {site: after(site) for site in sites})


def _ahead(items: Iterator[T], pool: Executor) -> Iterator[T]:
    """The same endless items, the next one made in `pool` while the last is in use."""
    coming = pool.submit(next, items)
    while True:
        ready = [coming.result()]
        coming = pool.submit(next, items)
        yield ready.pop()  # not held here while it is in use: a chunk is large
