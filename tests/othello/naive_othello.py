"""Othello as a child would write it: a board of rows, looked at one square and one direction at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

BLACK, WHITE, EMPTY = "X", "O", "."
AROUND = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]


def opening() -> list[list[str]]:
    board = [[EMPTY] * 8 for _ in range(8)]
    board[3][3] = board[4][4] = WHITE
    board[3][4] = board[4][3] = BLACK
    return board


def opponent(side: str) -> str:
    return WHITE if side == BLACK else BLACK


@dataclass
class Game:
    board: list[list[str]] = field(default_factory=opening)
    side: str = BLACK
    passed: bool = False

    def turned_by(self, row: int, column: int) -> set[int]:
        """The stones that the side to move would turn by playing here; none where it may not play."""
        turned: set[int] = set()
        if self.board[row][column] != EMPTY:
            return turned
        for down, right in AROUND:
            line, r, c = set(), row + down, column + right
            while 0 <= r < 8 and 0 <= c < 8 and self.board[r][c] == opponent(self.side):
                line.add(8 * r + c)
                r, c = r + down, c + right
            if 0 <= r < 8 and 0 <= c < 8 and self.board[r][c] == self.side:
                turned |= line
        return turned

    def legal(self) -> list[int]:
        return [square for square in range(64) if self.turned_by(*divmod(square, 8))]

    def play(self, square: int) -> set[int]:
        turned = self.turned_by(*divmod(square, 8))
        assert turned, "an illegal move"
        for each in (square, *turned):
            self.board[each // 8][each % 8] = self.side
        self.side, self.passed = opponent(self.side), False
        if not self.legal():
            self.side = opponent(self.side)
            self.passed = bool(self.legal())
            if not self.passed:  # the game is over
                self.side = opponent(self.side)
        return turned

    def stones(self, side: str) -> set[int]:
        return {8 * r + c for r, row in enumerate(self.board) for c, stone in enumerate(row) if stone == side}


def after_each(moves: list[int]) -> Iterator[tuple[Game, set[int]]]:
    """The game after each of its moves, and the stones that the move turned."""
    game = Game()
    for square in moves:
        turned = game.play(square)
        yield game, turned
