"""The held-out rows that a view is made from, and what stands at each position that is measured.

Shapes: G rows, S positions of a row, N measured positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from unweave.activations.corpus import Corpus, Games
from unweave.othello import labels, tokens
from unweave.rows import Rows

Kind = Literal["games", "text"]

BEFORE, AFTER = 12, 6
"""How many tokens of a text stand before and after the one that an example is about, at least."""

PADDING, MEASURED, PASSED_OVER = 0, 1, 2
NO_MOVE = 255


@dataclass(frozen=True)
class Boards:
    """state: `[N, 64] int8`, 0 empty, 1 mine, 2 theirs; last, next: `[N] int8`, the square that was just played and
    the one that is played now, -1 where none is; words: `[N, 2] int64`, the same state as two sets of squares."""

    state: np.ndarray
    last: np.ndarray
    next: np.ndarray
    words: np.ndarray


@dataclass(frozen=True)
class HeldOut:
    """rows: all of them; row, position: `[N] int64`, where each measured position is, row by row."""

    kind: Kind
    rows: Rows
    row: np.ndarray
    position: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    @cached_property
    def tokens(self) -> np.ndarray:
        """`[N] int64`: the token at each measured position."""
        return self.rows.tokens.numpy()[self.row, self.position]

    @cached_property
    def boards(self) -> Boards:
        """Of games."""
        moves = tokens.decode(self.rows.tokens)
        truth = labels.label(moves)
        at = self.row, self.position
        state = truth.board.numpy()[at]
        words = np.stack([np.packbits(state == side, axis=1).view(np.int64)[:, 0] for side in (1, 2)], 1)
        played = np.pad(moves.numpy(), ((0, 0), (0, 1)), constant_values=-1).astype(np.int8)
        return Boards(state, played[at], played[self.row, self.position + 1], words)

    @cached_property
    def key(self) -> np.ndarray:
        """`[N] int64`: the same number wherever the same is shown: a board, or a window of tokens."""
        shown = self.boards.words if self.kind == "games" else self._windows()
        rows = np.ascontiguousarray(shown).view(np.dtype((np.void, shown.shape[1] * shown.itemsize)))[:, 0]
        return np.unique(rows, return_inverse=True)[1]

    @cached_property
    def first(self) -> np.ndarray:
        """`[N] bool`: the first positions where what they show is shown."""
        found = np.zeros(len(self), bool)
        found[np.unique(self.key, return_index=True)[1]] = True
        return found

    def _windows(self) -> np.ndarray:
        """`[N, BEFORE + 1 + AFTER] int32`, -1 beyond a row's ends and for padding."""
        ids = np.where(self.rows.there.numpy(), self.rows.tokens.numpy(), -1).astype(np.int32)
        padded = np.pad(ids, ((0, 0), (BEFORE, AFTER)), constant_values=-1)
        windows = np.lib.stride_tricks.sliding_window_view(padded, BEFORE + 1 + AFTER, axis=1)
        return windows[self.row, self.position]

    def arrays(self) -> dict[str, np.ndarray]:
        """rows.safetensors: tokens `[G, S]`, of games squares, and what is measured."""
        kind = np.where(self.rows.there.numpy(), PASSED_OVER, PADDING).astype(np.uint8)
        kind[self.row, self.position] = MEASURED
        ids = self.rows.tokens
        if self.kind == "games":
            squares = tokens.decode(ids).numpy()
            return {"tokens": np.where(squares < 0, NO_MOVE, squares).astype(np.uint8), "kind": kind}
        dtype = np.uint16 if int(ids.max()) < 1 << 16 else np.int32
        return {"tokens": ids.numpy().astype(dtype), "kind": kind}


def hold_out(corpus: Corpus, n_positions: int, n_rows: int, seed: int) -> HeldOut:
    """The first rows of a corpus's test split. n_positions: how many the subject takes.

    Raises ValueError where there is nothing to measure.
    """
    rows = corpus.sample("test", n_rows, seed)
    row, position = (each.numpy() for each in rows.until(n_positions).learn.nonzero(as_tuple=True))
    if not len(row):
        raise ValueError("the held-out rows have no position that dictionaries learn from: take more rows")
    return HeldOut("games" if isinstance(corpus, Games) else "text", rows, row, position)
