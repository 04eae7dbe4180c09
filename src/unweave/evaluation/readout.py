"""A readout: one number for every feature at every position of a sample, sparse or dense.

What is scored against the truth is always a readout: a dictionary's activations or pre-activations, neurons, principal
components, a probe. Shapes: N positions, F features, n entries above 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from numba import njit


@dataclass(frozen=True)
class SparseColumns:
    """Non-negative values, column by column: feature f has the entries offsets[f] to offsets[f + 1], all others are 0.

    offsets: `[F + 1] int64`; rows: `[n] int32`, ascending within a feature; values: `[n] float32`, above 0; n: N.
    """

    offsets: np.ndarray
    rows: np.ndarray
    values: np.ndarray
    n: int

    @classmethod
    def from_rows(cls, offsets: np.ndarray, features: np.ndarray, values: np.ndarray, width: int) -> SparseColumns:
        """From the entries row by row, as a `dictionary.codes.Sparse` has them; entries of value 0 are left out.

        offsets: `[N + 1]`; features, values: `[n]`; width: F.
        Raises ValueError for values that are negative, NaN or infinite, or a feature outside 0..F - 1.
        """
        values = np.ascontiguousarray(values, np.float32)
        _refuse_non_finite(values)
        if len(values) and values.min() < 0:
            raise ValueError("an activation is below 0: a sparse readout holds what is above 0, so pass this one dense")
        if len(features) and not 0 <= features.min() <= features.max() < width:
            raise ValueError(f"a feature index is outside 0..{width - 1}")
        by_column = np.zeros(width + 1, np.int64)
        np.cumsum(np.bincount(features[values > 0], minlength=width), out=by_column[1:])
        rows, sorted_values = np.empty(by_column[-1], np.int32), np.empty(by_column[-1], np.float32)
        _by_column(offsets, features, values, by_column[:-1].copy(), rows, sorted_values)
        return cls(by_column, rows, sorted_values, len(offsets) - 1)

    @property
    def width(self) -> int:
        return len(self.offsets) - 1

    def positive(self, start: int, stop: int) -> SparseColumns:
        """The entries above 0 of the features from start to stop."""
        first, last = self.offsets[start], self.offsets[stop]
        return SparseColumns(
            self.offsets[start : stop + 1] - first, self.rows[first:last], self.values[first:last], self.n
        )


@dataclass(frozen=True)
class Dense:
    """Values of any sign, a few features at a time, so that `[N, F]` need never be in memory.

    block: `block(start, stop)` gives `[N, stop - start] float32`, the same values however often it is called.
    mirrored: whether the second half of the features are the first with the sign turned (their AUROC is then known).
    """

    n: int
    width: int
    block: Callable[[int, int], np.ndarray]
    mirrored: bool = False

    def columns(self, start: int, stop: int) -> np.ndarray:
        """`[stop - start, N] float32`, contiguous. Raises ValueError for another shape, NaN or infinite values."""
        block = self.block(start, stop)
        if block.shape != (self.n, stop - start):
            raise ValueError(f"a block of the readout has shape {block.shape}, not {(self.n, stop - start)}")
        _refuse_non_finite(block)
        return np.ascontiguousarray(block.T, np.float32)

    def positive(self, start: int, stop: int) -> SparseColumns:
        """The entries above 0 of the features from start to stop."""
        columns = self.columns(start, stop)
        offsets = np.zeros(len(columns) + 1, np.int64)
        rows, values = np.empty(columns.size + 1, np.int32), np.empty(columns.size + 1, np.float32)
        _above_zero(columns, offsets, rows, values)
        return SparseColumns(offsets, rows[: offsets[-1]], values[: offsets[-1]], self.n)


Readout = SparseColumns | Dense


def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> Dense:
    """x W + b for `x [N, D]`, `weight [D, F]`, `bias [F]`: pre-activations, or the projections on F directions."""

    def block(start: int, stop: int) -> np.ndarray:
        columns = weight[:, start:stop].T @ x.T
        return (columns if bias is None else columns + bias[start:stop, None]).T

    return Dense(len(x), weight.shape[1], block)


def _refuse_non_finite(values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise ValueError("the readout has NaN or infinite values, which have no rank")


@njit(cache=True, nogil=True)
@no_type_check
def _by_column(offsets, features, values, at, rows, sorted_values):
    """A counting sort; `at [F]` begins as where each column begins."""
    for row in range(len(offsets) - 1):
        for entry in range(offsets[row], offsets[row + 1]):
            if values[entry] > 0:
                column = features[entry]
                rows[at[column]] = row
                sorted_values[at[column]] = values[entry]
                at[column] += 1


@njit(cache=True, nogil=True)
@no_type_check
def _above_zero(columns, offsets, rows, values):
    at = 0
    for column in range(len(columns)):
        for row in range(columns.shape[1]):
            rows[at] = row  # written in any case, and over again if it was not above 0: no branch to mispredict
            values[at] = columns[column, row]
            at += columns[column, row] > 0
        offsets[column + 1] = at
