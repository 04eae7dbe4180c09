"""Activations of a subject at any number of sites, in one pass.

Shapes: G games, T plies, S positions, N vectors, D width.

Position s of a game is the state after move s; a position whose token is padding is never harvested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unweave.othello import games, tokens
from unweave.subject import joined
from unweave.subject.base import Subject

# Games per forward pass: enough to keep the matrix products busy, few enough that a layer's activations stay in cache.
_PASS = 64


@dataclass(frozen=True)
class Harvest:
    """vectors: by site, `[N, D]`; game, ply: `[N] int64`, where each row comes from, game by game and ply by ply."""

    vectors: dict[str, Tensor]
    game: Tensor
    ply: Tensor


def harvest(subject: Subject, moves: Tensor, sites: Sequence[str]) -> Harvest:
    """The activations at `sites`, single or joined, at every position of the games `moves [G, T]` at which the subject
    saw a move.

    A game's last move is left out where the subject has no position for it (59 of 60 for the OthelloGPTs).
    Raises ValueError for an unknown site.
    """
    ids = tokens.encode(moves)[:, : subject.n_positions]
    game, ply = (ids != tokens.PAD).nonzero(as_tuple=True)
    widths = subject.sites()
    vectors = {site: torch.empty(len(game), sum(joined.widths(site, widths))) for site in sites}
    at = 0
    for part in ids.split(_PASS):
        seen = part != tokens.PAD
        n = int(seen.sum())
        for site, x in joined.read(subject, part, sites).items():
            vectors[site][at : at + n] = x[seen]
        at += n
    return Harvest(vectors, game, ply)


def chunks(
    subject: Subject, sites: Sequence[str], *, n_games: int, seed: int
) -> Callable[[int], Iterator[dict[str, Tensor]]]:
    """A source for `buffer.shuffled`: from a chunk on, endless activations of `n_games` training games at a time."""

    def source(start: int) -> Iterator[dict[str, Tensor]]:
        for moves in games.stream("train", seed, batch=n_games, skip=start):
            yield harvest(subject, moves, sites).vectors

    return source
