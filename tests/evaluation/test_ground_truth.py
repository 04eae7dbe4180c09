"""The labels of boards, the counts of classifiers, and a whole score."""

from __future__ import annotations

import numpy as np
import pytest
from boards import dense, some_labels, some_values, sparse

from unweave.evaluation import classifiers
from unweave.evaluation.definitions import DEFINITIONS
from unweave.evaluation.ground_truth import LABEL_NAMES, BoardLabels
from unweave.evaluation.truth import score


def test_the_order_of_the_labels() -> None:
    board, legal = np.zeros((1, 64), np.int8), np.zeros((1, 64), bool)
    board[0, 37], board[0, 5], legal[0, 63] = 1, 2, True
    labels = BoardLabels(board, legal, np.array([3]))
    true = {LABEL_NAMES[label] for label in labels.matrix[0].nonzero()[0]}
    assert len(LABEL_NAMES) == 252
    assert {name for name in true if "empty" not in name} == {"f5 mine", "f1 theirs", "h8 legal"}
    assert len(true) == 62 + 3
    assert "f5 empty" not in true


def test_bits_lists_and_strata_say_the_same() -> None:
    labels = some_labels(40, 0)
    bits = labels.bits[:, :, None] >> np.arange(64, dtype=np.uint64) & np.uint64(1)
    np.testing.assert_array_equal(bits.reshape(40, 256)[:, :252], labels.matrix)
    offsets, listed = labels.lists
    for row in range(40):
        np.testing.assert_array_equal(listed[offsets[row] : offsets[row + 1]], labels.listed[row].nonzero()[0])
    np.testing.assert_array_equal(labels.strata.positives.sum(0), labels.positives)
    np.testing.assert_array_equal(labels.strata.size, np.bincount(labels.ply))


def test_bad_boards_are_refused() -> None:
    board, legal, ply = np.zeros((2, 64), np.int8), np.zeros((2, 64), bool), np.zeros(2, np.int64)
    with pytest.raises(ValueError, match="do not fit together"):
        BoardLabels(board[:1], legal, ply)
    with pytest.raises(ValueError, match="no positions"):
        BoardLabels(board[:0], legal[:0], ply[:0])
    with pytest.raises(ValueError, match="a state other than"):
        BoardLabels(board + 3, legal, ply)


def test_counts_are_chosen_on_one_half_and_scored_on_the_other() -> None:
    a, b = np.full((4, 252), 0.5), np.full((4, 252), 0.5)
    a[0, 3], b[0, 3] = 0.95, 0.92  # mine
    a[1, 3], b[1, 3] = 0.93, 0.99  # the same pair: one more feature, no more pairs
    a[2, 70], b[2, 70] = 0.99, 0.80  # theirs, on half A only
    b[3, 140] = 0.99  # empty, on half B only, where half A chooses feature 0
    a[3, 200], b[3, 200] = 0.97, 0.97  # legal
    a[:, 155] = b[:, 155] = np.nan
    assert classifiers.count(a, b, "_within") == {
        "pairs_within/1": 1,
        "pairs_within_mine/1": 1,
        "pairs_within_theirs/1": 0,
        "pairs_within_empty/1": 0,
        "legal_within/1": 1,
        "features_within/1": 2,
    }
    assert classifiers.best_features(a)[[3, 70, 155, 200]].tolist() == [0, 2, -1, 3]
    assert classifiers.best_labels(a).tolist() == [3, 3, 70, 200]
    assert classifiers.best_labels(np.full((2, 252), 0.5)).tolist() == [-1, -1]


@pytest.mark.parametrize("form", [sparse, dense])
def test_a_perfect_readout_finds_every_label(form) -> None:
    labels_a, labels_b = some_labels(400, 0), some_labels(400, 1)
    found = score(
        *(form(labels_a.matrix.astype(np.float32)), labels_a), *(form(labels_b.matrix.astype(np.float32)), labels_b)
    )
    assert found.scores["pairs/1"] == found.scores["pairs_within/1"] == 188
    assert found.scores["pairs_empty/1"] == found.scores["legal/1"] == found.scores["legal_within/1"] == 60
    assert found.scores["pairs_mine/1"] == found.scores["pairs_within_theirs/1"] == 64
    assert found.scores["features/1"] == 188
    assert found.scores["coverage_192/1"] == pytest.approx(128 / 192)
    defined = found.best_feature >= 0
    assert defined.sum() == 248
    np.testing.assert_array_equal(found.best_feature[defined], defined.nonzero()[0])
    assert found.auroc.shape == found.auroc_within.shape == (252, 252)


def test_every_score_has_a_definition() -> None:
    labels = some_labels(100, 0)
    readout = sparse(some_values(labels, 5, 1))
    found = score(readout, labels, readout, labels)
    assert set(found.scores) <= set(DEFINITIONS)
    assert found.label_of[0] == -1  # it is never above 0
