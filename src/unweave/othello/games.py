"""Games of Othello: random ones, in streams for training, validation and testing that cannot share a game; and the
check that a game from elsewhere is legal.

Shapes: G games, T plies, 60 where nothing else is said. A game is its moves, squares 0..63 in order, then -1; forced
passes are silent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from unweave.othello import notation, rules

PLIES = 60
Split = Literal["train", "validation", "test"]

# Games played side by side: enough that torch's cost of a call vanishes, few enough that a ply's bitboards stay in
# cache. A stream's games depend on it.
_TABLE = 8192


def split_of(moves: Tensor) -> Tensor:
    """Which stream each game of `moves [G, T]` belongs to: `[G] int64`, an index into Split's names.

    It depends on the moves alone (one sixteenth of all games are for validation, one sixteenth for testing), so no seed
    and no file can bring a game that a model was trained on into a test.
    """
    digest = torch.zeros(len(moves), dtype=torch.int64, device=moves.device)
    for ply in moves.T:
        digest = digest * 6364136223846793005 + (ply.long() + 1442695040888963407)  # Knuth's MMIX generator, wrapping
    lot = digest >> 60 & 15
    return torch.where(lot == 0, 1, torch.where(lot == 1, 2, 0))


def uniform_play(n: int, seed: int, device: torch.device | str = "cpu") -> Tensor:
    """n games in which each move is drawn uniformly from the legal ones: `[n, 60] int8`. The seed decides all."""
    draw, lot = torch.Generator().manual_seed(seed), torch.empty(n, dtype=torch.int64)
    at, moves = rules.start(n, device), torch.empty(PLIES, n, dtype=torch.int8, device=device)
    for ply in range(PLIES):
        lot.random_(generator=draw).bitwise_and_((1 << 31) - 1)  # on the CPU, so that a seed means the same everywhere
        square = rules.choose(at.moves, lot.to(device))
        moves[ply] = square.masked_fill_(at.over, -1)
        at, _ = rules.play(at, square)
    return moves.T.contiguous()


def stream(
    split: Split | str, seed: int, *, batch: int, skip: int = 0, device: torch.device | str = "cpu"
) -> Iterator[Tensor]:
    """Endless batches `[batch, 60] int8` of one split's games. The same arguments give the same games.

    Args: skip: how many batches to leave out at the start, as when a run is resumed.
    Raises ValueError, when the first batch is asked for, if there is no such split.
    """
    if split not in get_args(Split):
        raise ValueError(f"no split is called {split!r}: choose one of {', '.join(get_args(Split))}")
    wanted, table, held = get_args(Split).index(split), 0, torch.empty(0, PLIES, dtype=torch.int8, device=device)
    left_out = skip * batch
    while True:
        table_seed = int(np.random.SeedSequence([seed, table]).generate_state(1, np.uint64)[0] >> 1)
        games, table = uniform_play(_TABLE, table_seed, device), table + 1
        games = games[split_of(games) == wanted]
        if left_out >= len(games):
            left_out -= len(games)
            continue
        held, left_out = torch.cat([held, games[left_out:]]), 0
        for start in range(0, len(held) - batch + 1, batch):
            yield held[start : start + batch]
        held = held[len(held) // batch * batch :]


def sample(split: Split | str, n: int, seed: int, device: torch.device | str = "cpu") -> Tensor:
    """The first n games `[n, 60] int8` of a stream."""
    return next(stream(split, seed, batch=n, device=device))


class IllegalGame(ValueError):
    """Games that break the rules. The message has a line for each: where it stands, at which ply, the move, and what
    was legal."""

    def __init__(self, faults: Mapping[int, str], where: Callable[[int], str]) -> None:
        """faults: what is wrong, by a game's index; where: what to call a game, from its index: "games.txt, line 3"."""
        super().__init__("\n".join(f"{where(game)}, {faults[game]}" for game in sorted(faults)))


def check(moves: Tensor, where: Callable[[int], str]) -> None:
    """Raises IllegalGame, naming them all by `where`, if not all of the games `moves [G, T]` are legal."""
    if found := faults(moves):
        raise IllegalGame(found, where)


def faults(moves: Tensor) -> dict[int, str]:
    """What is wrong with those of the games `moves [G, T]` that are not legal from the opening to their last move, by
    index: the first fault of each.

    A game may stop before its end, as real ones do; after the first -1 there must be no move.
    """
    found: dict[int, str] = {}
    at, good = rules.start(len(moves), moves.device), torch.ones(len(moves), dtype=torch.bool, device=moves.device)
    last = torch.zeros(len(moves), dtype=torch.int64, device=moves.device)  # the ply after which nothing was played
    for ply, square in enumerate(moves.long().T):
        played, ended = square != -1, last < ply
        listed = (at.moves >> (square & 63) & 1).bool() & (square >= 0) & (square < 64) & ~ended
        for game in (good & played & ~listed).nonzero()[:, 0].tolist():
            said = _refusal(int(square[game]), int(at.moves[game]), bool(at.black[game]))
            if ended[game]:
                said = f"there is a move after the game was broken off at ply {int(last[game]) + 1}"
            found[game] = f"ply {ply + 1}: {said}"
        good &= listed | ~played
        last += listed
        at, _ = rules.play(at, square.where(listed, -1))
    return found


def _refusal(square: int, moves: int, black: bool) -> str:
    """Why a square cannot be played where the bits of `moves` can."""
    move = notation.name(square) if 0 <= square < 64 else f"square {square}, which is not on the board,"
    legal = ", ".join(notation.name(s) for s in range(64) if moves >> s & 1)
    if not legal:
        return f"{move} is played when the game is over: neither side can move"
    return f"{move} is not legal: {'black' if black else 'white'} may play {legal}"
