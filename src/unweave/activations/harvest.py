"""Activations of a subject at any number of sites, in one pass.

Shapes: G rows of tokens, S positions, N vectors, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from unweave.activations.corpus import Corpus
from unweave.config import DataConfig
from unweave.rows import Rows
from unweave.subject import joined
from unweave.subject.base import Subject

# Positions of a forward pass, those of 64 games: enough to keep the matrix products busy, few enough that a layer's
# activations stay in cache.
_PASS = 64 * 59


@dataclass(frozen=True)
class Harvest:
    """vectors: by site, `[N, D]`; row, position, token: `[N] int64`, where each comes from, row by row, and what is
    there."""

    vectors: dict[str, Tensor]
    row: Tensor
    position: Tensor
    token: Tensor


def harvest(subject: Subject, rows: Rows, sites: Sequence[str], over: Callable = map) -> Harvest:
    """The activations at `sites`, single or joined, at every position of `rows` that dictionaries learn from and the
    subject takes (of a game's 60 moves the OthelloGPTs take 59).

    over: calls a function for each pass: `map`, or that of a pool. With one thread of torch's for each of the pool's,
    the vectors are the same to the bit however many there are.
    Raises ValueError for an unknown site, and for NaN or infinite activations, naming the site and the tokens.
    """
    rows = rows.until(subject.n_positions)
    row, position = rows.learn.nonzero(as_tuple=True)
    widths = subject.sites()
    vectors = {site: torch.empty(len(row), sum(joined.widths(site, widths))) for site in sites}
    parts = list(rows.split(max(1, _PASS // rows.tokens.shape[1])))
    starts = accumulate((int(part.learn.sum()) for part in parts), initial=0)

    def read(part: Rows, start: int) -> None:
        for site, x in joined.read(subject, part.tokens, sites).items():
            learnt = x[part.learn.to(x.device)]
            vectors[site][start : start + len(learnt)] = learnt
            _check(vectors[site][start : start + len(learnt)], site, part)

    for _ in over(read, parts, starts):
        pass
    return Harvest(vectors, row, position, rows.tokens[row, position])


def _check(x: Tensor, site: str, rows: Rows) -> None:
    if len(x) and not x.abs().max().isfinite():  # a NaN is the largest of all; one pass, where isfinite makes four
        first = int((~x.isfinite()).any(1).nonzero()[0])
        row, position = (int(place) for place in rows.learn.nonzero()[first])
        seen = rows.tokens[row, max(0, position - 7) : position + 1].tolist()
        raise ValueError(
            f"NaN or infinite activations at {site}, at position {position}, where the tokens end in {seen}"
        )


def chunks(
    subject: Subject, corpus: Corpus, sites: Sequence[str], data: DataConfig
) -> Callable[[int], Iterator[dict[str, Tensor]]]:
    """A source for `buffer.shuffled`: from a chunk on, endless activations of `data.sequences` training rows each."""

    def source(start: int) -> Iterator[dict[str, Tensor]]:
        for rows in corpus.stream("train", n=data.sequences, seed=data.seed, skip=start):
            yield harvest(subject, rows, sites).vectors

    return source
