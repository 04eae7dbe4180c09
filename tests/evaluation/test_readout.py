"""Readouts: the same values, whether from rows, from blocks or from a product; and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from boards import dense, some_labels, some_values, sparse

from unweave.evaluation.readout import Dense, Readout, SparseColumns, linear


def as_matrix(part: SparseColumns) -> np.ndarray:
    out = np.zeros((part.n, part.width), np.float32)
    for column in range(part.width):
        entries = slice(part.offsets[column], part.offsets[column + 1])
        out[part.rows[entries], column] = part.values[entries]
    return out


@pytest.mark.parametrize("form", [sparse, dense])
def test_the_positive_part(form) -> None:
    values = some_values(some_labels(50, 0), 12, 1)
    readout: Readout = form(values)
    for start, stop in ((0, 12), (3, 4), (5, 11)):
        part = readout.positive(start, stop)
        np.testing.assert_array_equal(as_matrix(part), values[:, start:stop])
        assert part.values.min(initial=1) > 0


def test_below_zero_is_no_part_of_it() -> None:
    values = np.array([[-1, 2], [3, -0.0]], np.float32)
    np.testing.assert_array_equal(as_matrix(dense(values).positive(0, 2)), [[0, 2], [3, 0]])


def test_entries_of_value_zero_are_left_out() -> None:
    found = SparseColumns.from_rows(np.array([0, 2, 3]), np.array([1, 0, 1]), np.array([0.0, 2.0, 3.0]), 2)
    np.testing.assert_array_equal(found.offsets, [0, 1, 2])
    np.testing.assert_array_equal(found.rows, [0, 1])
    np.testing.assert_array_equal(found.values, [2, 3])


def test_linear() -> None:
    draw = np.random.default_rng(0)
    x, weight, bias = (draw.standard_normal(shape).astype(np.float32) for shape in ((9, 4), (4, 6), (6,)))
    np.testing.assert_allclose(linear(x, weight, bias).columns(1, 5).T, (x @ weight + bias)[:, 1:5], rtol=1e-5)
    np.testing.assert_allclose(linear(x, weight).columns(0, 6).T, x @ weight, rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_has_no_rank_is_refused(bad: float) -> None:
    values = np.array([[1, bad]], np.float32)
    with pytest.raises(ValueError, match="NaN or infinite"):
        dense(values).columns(0, 2)
    with pytest.raises(ValueError, match="NaN or infinite"):
        sparse(values)


def test_bad_forms_are_refused() -> None:
    with pytest.raises(ValueError, match="below 0"):
        sparse(np.array([[-1.0]], np.float32))
    with pytest.raises(ValueError, match=r"outside 0\.\.1"):
        SparseColumns.from_rows(np.array([0, 1]), np.array([2]), np.array([1.0]), 2)
    with pytest.raises(ValueError, match="has shape"):
        Dense(3, 2, lambda start, stop: np.zeros((2, stop - start), np.float32)).columns(0, 2)
