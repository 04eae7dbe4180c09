"""The rules of Othello on bitboards, whole batches of positions at once, on any torch device.

A set of squares is one int64: bit 8 * row + column is the square, so bit 0 is a1, bit 7 is h1 and bit 63 is h8.
Shapes: N positions, 4 the lines through a square (row, falling diagonal, column, rising diagonal); each is followed up
the bits by left shifts and down them by right shifts. Work is done in place where it can be: in a cache of a few
hundred kB, fresh memory costs more than the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, bitwise_left_shift, bitwise_right_shift

# Black holds d5 and e4, white d4 and e5; black moves first.
START_BLACK = 1 << 28 | 1 << 35
START_WHITE = 1 << 27 | 1 << 36

_COLUMNS_B_TO_G = 0x7E7E7E7E7E7E7E7E
_ROWS_2_TO_7 = 0x00FFFFFFFFFFFF00
_STEPS = (1, 7, 8, 9)
# Only a stone with a neighbour on both sides can be turned along a line. Going on from these alone, no shift runs
# around the edge of the board, and the bits that a right shift copies down from the sign (h8) are all cleared.
_INNER = (_COLUMNS_B_TO_G, _COLUMNS_B_TO_G & _ROWS_2_TO_7, _ROWS_2_TO_7, _COLUMNS_B_TO_G & _ROWS_2_TO_7)

_LOWS, _HIGHS = 0x0101010101010101, 0x8080808080808080 - (1 << 64)  # the lowest and the highest bit of each byte


class Lines(NamedTuple):
    """The stones of `other` in unbroken lines from stones of `own`, followed up the bits and down: `[4, N]` each."""

    up: Tensor
    down: Tensor


@dataclass(frozen=True)
class Positions:
    """A batch of positions, from the view of the side that really moves next.

    own, other: `[N] int64` stones of that side and of the other one.
    black: `[N] bool`, whether that side is black.
    moves: `[N] int64` its legal moves; empty only when the game is over.
    passed: `[N] bool`, whether it moves because the other side, whose turn it was, could not.
    lines: from `own` through `other`: what is turned by the next move stands on them.
    """

    own: Tensor
    other: Tensor
    black: Tensor
    moves: Tensor
    passed: Tensor
    lines: Lines

    @property
    def over(self) -> Tensor:
        return self.moves == 0


@cache
def _columns(device: torch.device) -> tuple[Tensor, Tensor]:
    """The steps and the inner squares of the four lines, `[4, 1]` each."""
    return torch.tensor(_STEPS, device=device).view(4, 1), torch.tensor(_INNER, device=device).view(4, 1)


def _reach(source: Tensor, through: Tensor, pairs: Tensor, shift: Callable[..., Tensor], step: Tensor) -> Tensor:
    """Every square of `through` reached from `source` in an unbroken line: `[4, N]`. By doubling; lines are at most 6.

    Args: source: `[N]`. through: `[4, N]`. pairs: `[4, N]`, the squares of `through` that follow on another of them.
    """
    reached = shift(source, step)
    reached &= through
    more = shift(reached, step)
    more &= through
    reached |= more
    for _ in range(2):
        shift(reached, 2 * step, out=more)
        more &= pairs
        reached |= more
    return reached


def _any_line(squares: Tensor) -> Tensor:
    """`[4, N]` to `[N]`: the union over lines."""
    return (squares[0] | squares[1]).bitwise_or_(squares[2]).bitwise_or_(squares[3])


def follow(own: Tensor, other: Tensor) -> tuple[Tensor, Lines]:
    """The empty squares where the side that holds `own` may play, `[N] int64`, and the lines that lead there.

    Args: own, other: `[N] int64`, the stones of the side to move and of the other side.
    """
    step, inner = _columns(own.device)
    through = other & inner
    pairs = bitwise_left_shift(through, step)
    pairs &= through
    up = _reach(own, through, pairs, bitwise_left_shift, step)
    bitwise_right_shift(pairs, step, out=pairs)
    down = _reach(own, through, pairs, bitwise_right_shift, step)
    ends = bitwise_left_shift(up, step)
    ends |= bitwise_right_shift(down, step, out=pairs)
    moves = _any_line(ends)
    moves &= ~(own | other)
    return moves, Lines(up, down)


def flips(lines: Lines, played: Tensor) -> Tensor:
    """The stones that turn when the square `played` (one bit, or none) is played at the end of `lines`: `[N] int64`."""
    step, _ = _columns(played.device)
    turned = None
    # A line that was followed up from a stone of one's own is followed down from the square played, and the reverse.
    for through, shift in ((lines.up, bitwise_right_shift), (lines.down, bitwise_left_shift)):
        pairs = shift(through, step)
        pairs &= through
        reached = _reach(played, through, pairs, shift, step)
        turned = reached if turned is None else turned.bitwise_or_(reached)
    assert turned is not None
    return _any_line(turned)


def _counts(squares: Tensor) -> Tensor:
    """Byte b of each: how many squares are in bytes 0..b. The whole count, at most 64, is in the highest byte."""
    c = squares >> 1
    c &= 0x5555555555555555
    c = squares - c  # of every 2 bits, each in its own field; then of 4; then of 8
    c = (c & 0x3333333333333333).add_((c >> 2).bitwise_and_(0x3333333333333333))
    c += c >> 4
    c &= 0x0F0F0F0F0F0F0F0F
    c *= _LOWS
    return c


def count(squares: Tensor) -> Tensor:
    """How many squares are in each set: `[N] int64`."""
    return _counts(squares) >> 56


@cache
def _nth_bit(device: torch.device) -> Tensor:
    """`[256 * 8]`: at 8 * byte + n, which bit of the byte is its n-th set one (from 0); 0 where there are fewer."""
    table = [([bit for bit in range(8) if byte >> bit & 1] + [0] * 8)[:8] for byte in range(256)]
    return torch.tensor(table, device=device).flatten()


def choose(squares: Tensor, lot: Tensor) -> Tensor:
    """The square, 0..63, of each set that `lot` falls on when 0..2^31 is shared out evenly among them: `[N] int64`.

    Args: squares: `[N] int64`. lot: `[N] int64` in 0..2^31 - 1. Where a set is empty the answer is 64.
    """
    counts = _counts(squares)
    n = (lot * (counts >> 56)).bitwise_right_shift_(31)  # the n-th square from 0 is wanted
    # In each byte 128 + n less the count up to it: the highest bit stays where the n-th square is in a later byte.
    later = (n * _LOWS).bitwise_or_(_HIGHS).sub_(counts).bitwise_and_(_HIGHS)
    skipped = (later >> 7).bitwise_and_(_LOWS).mul_(_LOWS).bitwise_right_shift_(56).bitwise_left_shift_(3)  # in bits
    n -= ((counts << 8) >> skipped).bitwise_and_(255)
    n += (squares >> skipped).bitwise_and_(255).bitwise_left_shift_(3)
    return skipped.add_(_nth_bit(squares.device).index_select(0, n))


def start(n: int, device: torch.device | str = "cpu") -> Positions:
    """n copies of the opening position."""
    own = torch.full((n,), START_BLACK, dtype=torch.int64, device=device)
    other = torch.full((n,), START_WHITE, dtype=torch.int64, device=device)
    no = torch.zeros(n, dtype=torch.bool, device=device)
    moves, lines = follow(own, other)
    return Positions(own, other, ~no, moves, no, lines)


def play(at: Positions, square: Tensor) -> tuple[Positions, Tensor]:
    """The positions after the move `square` (`[N] int64`, an index 0..63), and the stones it turned (`[N] int64`).

    A position stays as it is where the square is not legal, as none is when the game is over, or is negative: no move.
    Whoever must not overlook an illegal move looks at `at.moves`, as `games.check` does.
    """
    played = bitwise_left_shift((square >= 0).long(), square & 63)
    played &= at.moves
    turned = flips(at.lines, played)
    mover, rest = at.own | turned | played, at.other ^ turned
    moves, lines = follow(rest, mover)
    passed, black, stays = torch.zeros_like(at.passed), ~at.black, played == 0
    stuck = (moves == 0) | stays
    if bool(stuck.any()):  # few, if any: the side that just moved plays on, or the game is over, or nothing was played
        i = stuck.nonzero().squeeze(1)
        again, onward = follow(mover[i], rest[i])
        on = (again != 0) | stays[i]
        i, again = i[on], again[on]
        mover[i], rest[i], black[i], passed[i] = rest[i], mover[i], at.black[i], ~stays[i]
        moves[i], lines.up[:, i], lines.down[:, i] = again, onward.up[:, on], onward.down[:, on]
    return Positions(rest, mover, black, moves, passed, lines), turned
