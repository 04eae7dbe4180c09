"""A shuffle that mixes games, serves every vector equally often, and can be taken up anywhere from two numbers.

Chunk after chunk of vectors is harvested. Half of each chunk, drawn at random, is served together with the half that
was kept back of the chunk before; the other half is kept back for the next. So when half of what it holds is used it is
refilled, a batch is a uniform draw from the games of two chunks, and the state is only (round, batch): a run that
resumes harvests two chunks anew and holds the very same vectors. Whole games are shuffled in the same way, as rows of
moves. Shapes: N vectors of a chunk, B batch, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Vectors = Mapping[str, Tensor]
"""By site, `[N, D]`; row i of every site comes from the same position."""


@dataclass(frozen=True, order=True)
class Place:
    """Where in the stream a batch is."""

    round: int = 0
    batch: int = 0


def permutation(n: int, *seed: int) -> Tensor:
    """An order of n things `[n] int64` that the seeds decide."""
    lot = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1)
    return torch.randperm(n, generator=torch.Generator().manual_seed(lot))


def _take(vectors: Vectors, rows: Tensor) -> dict[str, Tensor]:
    return {site: x[rows] for site, x in vectors.items()}


def _halves(chunk: Vectors, seed: int, index: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What is served now and what is kept back of a chunk."""
    order = permutation(len(next(iter(chunk.values()))), seed, index, 0)
    middle = len(order) // 2
    return _take(chunk, order[:middle]), _take(chunk, order[middle:])


def shuffled(
    source: Callable[[int], Iterator[Vectors]], *, batch: int, seed: int, passes: int = 1, start: Place = Place()
) -> Iterator[tuple[Place, dict[str, Tensor]]]:
    """Endless batches `{site: [B, D]}`, each with the place AFTER it, from which `shuffled` can start again.

    Args: source: from a chunk's index on, the chunks; it must give the same chunks whenever it is asked.
    passes: how often a round is served, each time in another order, before the next.
    What is left of a round after its last whole batch (less than one batch) is not served.
    Raises ValueError when a chunk is too small for one batch.
    """
    index, kept = max(start.round - 1, 0) - 1, {}
    for chunk in source(index + 1):  # no enumerate, which would hold on to the chunk
        index += 1
        now, later = _halves(chunk, seed, index)
        del chunk
        if index < start.round:
            kept = later
            continue
        pool = {site: torch.cat([kept[site], x]) if kept else x for site, x in now.items()}
        kept = later
        del now, later
        n = len(next(iter(pool.values())))
        order = torch.cat([permutation(n, seed, index, 1 + done) for done in range(passes)])
        if n < batch:
            raise ValueError(f"a batch needs more rows at a time (data.sequences): one round holds {n} of its {batch}")
        whole = len(order) // batch
        for i in range(start.batch if index == start.round else 0, whole):
            after = Place(index, i + 1) if i + 1 < whole else Place(index + 1, 0)
            yield after, _take(pool, order[i * batch : (i + 1) * batch])
        del pool  # before the next is made
