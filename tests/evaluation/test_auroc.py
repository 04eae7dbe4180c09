"""AUROC against scikit-learn, against ranks from scipy, and within position against a loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from boards import dense, some_labels, some_values, sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from unweave.evaluation.auroc import _packing, auroc, in_order
from unweave.evaluation.ground_truth import BoardLabels
from unweave.evaluation.readout import Dense

TOLERANCE = {"rtol": 0, "atol": 1e-12}


def by_ranks(values: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """`[F, L]` from `[N, F]` and `[N, L]`, by the sum of the positives' average ranks."""
    truth = truth.astype(np.float64)
    positives, negatives = truth.sum(0), (1 - truth).sum(0)
    sums = rankdata(values, axis=0).T @ truth - positives * (positives + 1) / 2
    with np.errstate(invalid="ignore"):
        return np.where(positives * negatives > 0, sums / (positives * negatives), np.nan)


def within_by_loop(values: np.ndarray, labels: BoardLabels) -> np.ndarray:
    total, weights = np.zeros((values.shape[1], 252)), np.zeros(252)
    for ply in np.unique(labels.ply):
        here = labels.ply == ply
        positives = labels.matrix[here].sum(0).astype(np.float64)
        weight = np.sqrt(positives * (here.sum() - positives))
        total += weight * np.nan_to_num(by_ranks(values[here], labels.matrix[here]))
        weights += weight
    with np.errstate(invalid="ignore"):
        return total / weights


def test_against_scikit_learn() -> None:
    labels = some_labels(300, 0)
    values = some_values(labels, 6, 1)
    pooled, _ = auroc(sparse(values), labels)
    for feature in range(6):
        for label in (0, 70, 130, 200, 251):
            expected = roc_auc_score(labels.matrix[:, label], values[:, feature])
            assert pooled[feature, label] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", [7, 40, 500])
def test_sparse_and_dense_against_ranks(n: int) -> None:
    labels = some_labels(n, n)
    values = some_values(labels, 70, 3)
    for readout in (sparse(values), dense(values)):
        pooled, within = auroc(readout, labels)
        np.testing.assert_allclose(pooled, by_ranks(values, labels.matrix), **TOLERANCE)
        np.testing.assert_allclose(within, within_by_loop(values, labels), **TOLERANCE)


def test_dense_values_of_both_signs() -> None:
    labels = some_labels(400, 5)
    values = np.random.default_rng(6).standard_normal((400, 9)).astype(np.float32).round(1)
    pooled, within = auroc(dense(values), labels)
    np.testing.assert_allclose(pooled, by_ranks(values, labels.matrix), **TOLERANCE)
    np.testing.assert_allclose(within, within_by_loop(values, labels), **TOLERANCE)
    both = np.concatenate([values, -values], axis=1)
    mirrored = Dense(400, 18, lambda start, stop: both[:, start:stop], mirrored=True)
    for found, expected in zip(auroc(mirrored, labels), auroc(dense(both), labels), strict=True):
        np.testing.assert_allclose(found, expected, **TOLERANCE)


FLOATS = st.sampled_from([-1.0, -0.0, 0.0, 1.0]) | st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=30)
@given(arrays.arrays(np.float32, st.integers(1, 40), elements=FLOATS))
def test_any_values_with_any_ties(column: np.ndarray) -> None:
    np.testing.assert_array_equal(in_order(column).astype(np.uint32), np.argsort(column, kind="stable"))
    labels = some_labels(len(column), 7)
    values = np.stack([column, np.abs(column)], 1)
    pooled, within = auroc(dense(values), labels)
    np.testing.assert_allclose(pooled, by_ranks(values, labels.matrix), **TOLERANCE)
    np.testing.assert_allclose(within, within_by_loop(values, labels), **TOLERANCE)
    values = np.abs(values)
    np.testing.assert_array_equal(auroc(sparse(values), labels), auroc(dense(values), labels))


def test_more_positions_than_add_up_exactly_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = some_labels(300, 14)
    values = some_values(labels, 20, 15)
    whole = auroc(dense(values), labels)
    n, largest = 300, labels.strata.size.max()
    monkeypatch.setattr("unweave.evaluation.auroc._EXACT", 8 * n * largest * 7**2)
    unit, parts = _packing(labels.strata.size)
    assert [stop - first for _, first, stop in parts][:2] == [7, 7]
    assert unit >= 2 * n * 7
    np.testing.assert_array_equal(auroc(dense(values), labels), whole)


def test_a_label_of_one_class_is_undefined() -> None:
    labels = some_labels(60, 8)
    pooled, within = auroc(sparse(some_values(labels, 3, 9)), labels)
    centre = [128 + square for square in (27, 28, 35, 36)]
    assert np.isnan(pooled[:, centre]).all()
    assert np.isnan(within[:, centre]).all()
    assert not np.isnan(np.delete(pooled, centre, axis=1)).any()


def test_what_only_tells_the_time_is_at_chance_within_position() -> None:
    labels = some_labels(200, 10)
    clock = np.stack([labels.ply, -labels.ply, np.ones(200)], 1).astype(np.float32)
    _, within = auroc(dense(clock), labels)
    np.testing.assert_allclose(within[~np.isnan(within)], 0.5, rtol=0, atol=1e-12)


def test_the_number_of_threads_does_not_matter() -> None:
    labels = some_labels(300, 11)
    values = some_values(labels, 40, 12)
    one = [auroc(readout, labels) for readout in (sparse(values), dense(values))]
    torch.set_num_threads(2)
    try:
        two = [auroc(readout, labels) for readout in (sparse(values), dense(values))]
    finally:
        torch.set_num_threads(1)
    np.testing.assert_array_equal(one, two)


def test_other_lengths_are_refused() -> None:
    labels = some_labels(20, 13)
    with pytest.raises(ValueError, match="19 positions, the labels 20"):
        auroc(dense(np.ones((19, 2), np.float32)), labels)
