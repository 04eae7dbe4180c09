"""What is true of an Othello board at each position of a sample, as 252 binary labels.

The order of the labels: mine 0..63, theirs 64..127, empty 128..191 by square, then 60 legal squares in the order of
`tokens.SQUARES`. Of a square's three states one holds, so counts of the empty ones follow from the others: what is
counted one by one are the 188 "listed" labels, mine, theirs and legal. Shapes: N positions, R of them in a stratum.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit

from unweave.othello.notation import name
from unweave.othello.tokens import SQUARES

EMPTY, MINE, THEIRS = 0, 1, 2
"""A square's state on a board, from the view of the side that moves next."""

N_LABELS, N_LISTED = 252, 188
PAIRS, STATES, LEGAL = slice(0, 192), slice(0, 128), slice(192, 252)
"""All (square, state) pairs; those that are not about empty squares; legal squares."""

LABEL_NAMES = (
    *(f"{name(square)} {state}" for state in ("mine", "theirs", "empty") for square in range(64)),
    *(f"{name(square)} legal" for square in SQUARES),
)


class Lists(NamedTuple):
    """The listed labels that hold, position by position: position i has labels[offsets[i] : offsets[i + 1]].

    offsets: `[N + 1] int64`; labels: uint8: 0..63 mine, 64..127 theirs, 128..187 legal.
    """

    offsets: np.ndarray
    labels: np.ndarray


class Strata(NamedTuple):
    """The sample by move number.

    of: `[N] int16`, each position's stratum; positives: `[S, 252] int64`, how often a label holds; size: `[S] int64`.
    """

    of: np.ndarray
    positives: np.ndarray
    size: np.ndarray


@dataclass(frozen=True)
class BoardLabels:
    """board: `[N, 64] int8`, 0 empty, 1 mine, 2 theirs; legal: `[N, 64] bool`; ply: `[N]`, how many moves came before.

    Raises ValueError for arrays that do not fit together, an empty sample, or a state other than these three.
    """

    board: np.ndarray
    legal: np.ndarray
    ply: np.ndarray

    def __post_init__(self) -> None:
        n = len(self.ply)
        if self.board.shape != (n, 64) or self.legal.shape != (n, 64) or self.ply.ndim != 1:
            raise ValueError(
                f"board {list(self.board.shape)}, legal {list(self.legal.shape)} and ply {list(self.ply.shape)} "
                "do not fit together: they should be [N, 64], [N, 64] and [N]"
            )
        if not n:
            raise ValueError("there is nothing to label: the sample has no positions")
        if self.board.min() < EMPTY or self.board.max() > THEIRS:
            raise ValueError("a board has a state other than 0 empty, 1 mine and 2 theirs")

    def __len__(self) -> int:
        return len(self.ply)

    @cached_property
    def matrix(self) -> np.ndarray:
        """`[N, 252] bool`."""
        states = [self.board == state for state in (MINE, THEIRS, EMPTY)]
        return np.concatenate([*states, self.legal[:, list(SQUARES)].astype(bool)], axis=1)

    @cached_property
    def bits(self) -> np.ndarray:
        """`[N, 4] uint64`: the same, a word each for mine, theirs, empty and legal; label i of a word is bit i."""
        padded = np.pad(self.matrix, ((0, 0), (0, 256 - N_LABELS)))
        return np.packbits(padded, axis=1, bitorder="little").view("<u8").astype(np.uint64, copy=False)

    @cached_property
    def positives(self) -> np.ndarray:
        """`[252] int64`: at how many positions each label holds."""
        return self.matrix.sum(0)

    @cached_property
    def listed(self) -> np.ndarray:
        """`[N, 188] uint8`: mine, theirs and legal, 0 or 1."""
        return np.concatenate([self.matrix[:, STATES], self.matrix[:, LEGAL]], axis=1).view(np.uint8)

    @cached_property
    def lists(self) -> Lists:
        offsets = np.zeros(len(self) + 1, np.int64)
        np.cumsum(self.listed.sum(1), out=offsets[1:], dtype=np.int64)
        return Lists(offsets, self.listed.nonzero()[1].astype(np.uint8))

    @cached_property
    def strata(self) -> Strata:
        plies, of, size = np.unique(self.ply, return_inverse=True, return_counts=True)
        positives = np.stack([self.matrix[of == stratum].sum(0) for stratum in range(len(plies))])
        return Strata(of.astype(np.int16), positives, size)


@njit(cache=True, nogil=True)
@no_type_check
def complete(listed, total, out):
    """From sums over the listed labels `[188]`, and over all positions, to the sums over all 252 labels, into `out`."""
    for label in range(128):
        out[label] = listed[label]
    for square in range(64):
        out[128 + square] = total - listed[square] - listed[64 + square]
    for label in range(60):
        out[192 + label] = listed[128 + label]
