"""What is true at every position of a game.

Shapes: G games, T plies. Position t is the state after ply t (counted from 0), from the view of the side that really
moves next: after a forced pass that is the side that has just moved.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from unweave.othello import rules
from unweave.othello.tokens import SQUARES

EMPTY, MINE, THEIRS = 0, 1, 2
BLACK, WHITE = 1, 2


@dataclass(frozen=True)
class Labels:
    """The truth at every position. Where no move was made (`valid` is false) the last position is repeated.

    board: `[G, T, 64] int8`, each square EMPTY, MINE or THEIRS. Once the game is over, the last to move is "they".
    colour: `[G, T, 64] int8`, each square EMPTY, BLACK or WHITE.
    legal: `[G, T, 64] bool`, where the side that moves next may play.
    flipped: `[G, T, 64] bool`, the stones that the move of this ply turned.
    played: `[G, T] int8`, the square played at this ply, -1 where none was.
    ply: `[G, T] int16`, how many moves have been made, less one.
    passed: `[G, T] bool`, whether the other side has just been forced to pass.
    valid: `[G, T] bool`, whether a move was made at this ply.
    over: `[G, T] bool`, whether neither side can move any more.
    """

    board: Tensor
    colour: Tensor
    legal: Tensor
    flipped: Tensor
    played: Tensor
    ply: Tensor
    passed: Tensor
    valid: Tensor
    over: Tensor


def replay(moves: Tensor) -> Iterator[tuple[rules.Positions, Tensor]]:
    """After each ply of `moves [G, T]` (squares, -1 for none): the positions, and the stones that were turned `[G]`."""
    at = rules.start(len(moves), moves.device)
    for square in moves.long().T:
        at, turned = rules.play(at, square)
        yield at, turned


def label(moves: Tensor) -> Labels:
    """The labels of legal games `moves [G, T]` (squares, -1 for none; `games.check` tells legal from illegal).

    They take 4 * 64 bytes a position, so half a gigabyte for 30,000 games.
    """
    steps = [(at.own, at.other, at.moves, turned, at.black, at.passed) for at, turned in replay(moves)]
    own, other, legal, turned, black, passed = (torch.stack(each, 1) for each in zip(*steps, strict=True))
    mine, theirs, valid = _squares(own), _squares(other), moves >= 0
    return Labels(
        board=mine + 2 * theirs,
        colour=torch.where(black.unsqueeze(-1), mine + 2 * theirs, theirs + 2 * mine),
        legal=_squares(legal).bool(),
        flipped=_squares(turned).bool(),
        played=moves.to(torch.int8),
        ply=(valid.cumsum(1) - 1).to(torch.int16),
        passed=passed,
        valid=valid,
        over=legal == 0,
    )


def _squares(sets: Tensor) -> Tensor:
    """Sets of squares `[G, T] int64` to one 0 or 1 a square: `[G, T, 64] int8`."""
    rows = sets.contiguous().view(torch.uint8).view(*sets.shape, 8, 1)  # the lowest byte, row 1, comes first
    return (rows >> torch.arange(8, dtype=torch.uint8, device=sets.device) & 1).to(torch.int8).flatten(-2)


def by_parity(labels: Labels) -> Tensor:
    """`board [G, T, 64] int8` by the literature's convention: black is taken to move at every even ply, come what may.

    Nanda et al. 2023 (arXiv 2309.00941) and those after them label so. It is wrong after a forced pass, until another.
    """
    white_is_next = torch.arange(labels.colour.shape[1], device=labels.colour.device) % 2 == 0
    return torch.where(white_is_next.view(1, -1, 1), (3 - labels.colour) % 3, labels.colour)


def parity_error(labels: Labels) -> float:
    """The share of positions with a next move whose side `by_parity` gets wrong; 0 where there is no such position."""
    counted = labels.valid & ~labels.over
    wrong = (by_parity(labels) != labels.board).any(-1)
    return float(wrong[counted].float().mean()) if bool(counted.any()) else 0.0


def next_move_distribution(moves: Tensor) -> Tensor:
    """`[G, T, 61]`: under uniform play, the distribution over token ids of the move after each ply; zeros once over."""
    legal = torch.stack([at.moves for at, _ in replay(moves)], 1) * (moves >= 0)
    allowed = (legal.unsqueeze(-1) >> torch.tensor(SQUARES, device=moves.device) & 1).float()
    padded = torch.nn.functional.pad(allowed, (1, 0))
    return padded / padded.sum(-1, keepdim=True).clamp(min=1)
