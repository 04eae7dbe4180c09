"""Made-up boards and readouts for the tests of what is scored against the truth."""

from __future__ import annotations

import numpy as np

from unweave.evaluation.ground_truth import BoardLabels
from unweave.evaluation.readout import Dense, SparseColumns


def some_labels(n: int, seed: int, plies: int = 5) -> BoardLabels:
    """Any states, the centre never empty, a few legal squares; each label about as often true as on real boards."""
    draw = np.random.default_rng(seed)
    board = draw.integers(0, 3, (n, 64)).astype(np.int8)
    board[:, [27, 28, 35, 36]] = draw.integers(1, 3, (n, 4))
    return BoardLabels(board, draw.random((n, 64)) < 0.15, draw.integers(0, plies, n))


def some_values(labels: BoardLabels, width: int, seed: int) -> np.ndarray:
    """`[N, F] float32`, mostly 0, never below: features that follow a label with noise, in steps, so that many tie."""
    draw = np.random.default_rng(seed)
    of = draw.integers(0, 252, width)
    noise = draw.integers(0, 4, (len(labels), width))
    values = labels.matrix[:, of] * (2 + noise) + noise * (draw.random(noise.shape) < 0.05)
    values[:, 0] = 0
    return values.astype(np.float32)


def dense(values: np.ndarray) -> Dense:
    return Dense(len(values), values.shape[1], lambda start, stop: values[:, start:stop])


def sparse(values: np.ndarray) -> SparseColumns:
    offsets = np.concatenate([[0], (values != 0).sum(1).cumsum()])
    rows, features = values.nonzero()
    return SparseColumns.from_rows(offsets, features, values[rows, features], values.shape[1])
