"""Where a feature fires on an Othello board, and which feature fires on its mirror image.

Shapes: N positions, F features, C of a chunk, S plies, 192 pairs of a state (mine, theirs, empty) and a square.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from unweave.dashboards.held import HeldOut
from unweave.evaluation.ground_truth import LABEL_NAMES
from unweave.evaluation.readout import SparseColumns

# Row and column of a square: (row, column) -> (row, column), counted from 0 to 7. Only those that leave the four discs
# of the opening as they are take legal games to legal games.
_TURNS = {
    "half turn": (lambda r, c: (7 - r, 7 - c), True),
    "mirrored in the diagonal a1-h8": (lambda r, c: (c, r), True),
    "mirrored in the diagonal h1-a8": (lambda r, c: (7 - c, 7 - r), True),
    "quarter turn": (lambda r, c: (c, 7 - r), False),
    "three quarters of a turn": (lambda r, c: (7 - c, r), False),
    "mirrored left to right": (lambda r, c: (r, 7 - c), False),
    "mirrored top to bottom": (lambda r, c: (7 - r, c), False),
}

SYMMETRIES = [
    {
        "name": name,
        "square": [row * 8 + column for row, column in (turn(*divmod(square, 8)) for square in range(64))],
        "legal": legal,
    }
    for name, (turn, legal) in _TURNS.items()
]
"""The seven that move something: square s goes to `square[s]`."""

_OUTSIDE = 10  # one move in so many may lie outside of all clusters


def in_words(label: int) -> str:
    """What a label says: 0 -> "a1 is mine", 192 -> "a1 is legal"."""
    return LABEL_NAMES[label].replace(" ", " is ")


def by_ply(held: HeldOut) -> np.ndarray:
    """`[S, 192] float64`: how often each pair holds at each ply, 0 for plies that are not measured."""
    length = held.rows.tokens.shape[1]
    total = np.zeros((length, 192), np.int64)
    _count(np.arange(len(held)), held.position, held.boards.state, total)
    return total / np.maximum(np.bincount(held.position, minlength=length), 1)[:, None]


def differences(columns: SparseColumns, held: HeldOut, at: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """`[C, 192] float32`: how often each pair holds where a column has an entry, less what `baseline` has at such
    plies; `at [C, S]`: how many entries there are at each ply. 0 for an empty column."""
    feature = np.repeat(np.arange(columns.width), np.diff(columns.offsets))
    total = np.zeros((columns.width, 192), np.int64)
    _count(columns.rows, feature, held.boards.state, total)
    active = np.maximum(np.diff(columns.offsets), 1)[:, None]
    # Ply by ply in order, and not as one product, whose sums may come in another order for another number of rows.
    expected = np.zeros((columns.width, 192))
    for ply in range(at.shape[1]):
        expected += at[:, ply : ply + 1] * baseline[ply]
    return ((total - expected) / active).astype(np.float32)


def moves(columns: SparseColumns, square: np.ndarray) -> np.ndarray:
    """`[C, 64] int64`: how often the square of `square [N]` is each, where a column has an entry; -1 is not counted."""
    feature = np.repeat(np.arange(columns.width), np.diff(columns.offsets))
    here = square[columns.rows].astype(np.int64)
    known = here >= 0
    return np.bincount(feature[known] * 64 + here[known], minlength=columns.width * 64).reshape(-1, 64)


def clusters(counts: np.ndarray) -> np.ndarray:
    """`[F] float32`: how many 3 by 3 squares of the board hold 90 % of `counts [F, 64]`, the fullest taken first each
    time; NaN where nothing was counted."""
    windows = _windows()
    left, total, found = counts.astype(np.int64), counts.sum(1), np.zeros(len(counts), np.float32)
    open_ = total > 0
    while open_.any():
        fullest = windows[(left[open_] @ windows.T).argmax(1)]
        left[open_] *= ~fullest
        found[open_] += 1
        open_ &= _OUTSIDE * left.sum(1) > total
    found[total == 0] = np.nan
    return found


def mirrors(board: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray]:
    """For each feature and symmetry the feature whose `board [F, 192]` is most like this one's so mirrored, and the
    cosine: `[F, 7]` each, -1 for a feature whose board is 0 everywhere; `block` features at a time."""
    length = np.linalg.norm(board, axis=1, keepdims=True)
    unit = board / np.maximum(length, 1e-12)
    best, cosine = np.full((len(board), 7), -1), np.zeros((len(board), 7), np.float32)
    for index, symmetry in enumerate(SYMMETRIES):
        to = np.concatenate([np.array(symmetry["square"]) + 64 * state for state in range(3)])
        mirrored = np.empty_like(unit)
        mirrored[:, to] = unit
        for start in range(0, len(board), block):
            cosines = mirrored[start : start + block] @ unit.T
            best[start : start + block, index] = cosines.argmax(1)
            cosine[start : start + block, index] = cosines.max(1)
    best[length[:, 0] == 0] = -1
    return best, cosine


def _windows() -> np.ndarray:
    """`[36, 64] bool`: the squares of 3 by 3 that lie on the board."""
    found = np.zeros((6, 6, 8, 8), bool)
    for row in range(6):
        for column in range(6):
            found[row, column, row : row + 3, column : column + 3] = True
    return found.reshape(36, 64)


@njit(cache=True, nogil=True)
@no_type_check
def _count(rows, group, state, total):
    """Add each entry's board, `state [N, 64]` at its row, to its group's `total [., 192]`: mine, theirs, empty."""
    for entry in range(len(rows)):
        for square in range(64):
            what = state[rows[entry], square]
            total[group[entry], square + (what - 1 if what else 2) * 64] += 1
