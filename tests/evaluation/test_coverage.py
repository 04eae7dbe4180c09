"""Coverage and board reconstruction against the definitions written out on whole matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from boards import dense, some_labels, some_values, sparse

from unweave.evaluation.coverage import coverage
from unweave.evaluation.ground_truth import BoardLabels
from unweave.othello import games, rules

SETS = {"128": slice(0, 128), "192": slice(0, 192), "legal": slice(192, 252)}


def says_yes(values: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """`[T, N, F]`: f(x) > t f_max; never for a feature that is never above 0 on half A."""
    thresholds = np.arange(10)[:, None] / 10 * largest
    return (values > thresholds[:, None]) & (largest > 0)


def f1_of(yes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """`[F, L]` from `[N, F]` and `[N, L]`."""
    right, total = yes.T.astype(int) @ truth.astype(int), yes.sum(0)[:, None] + truth.sum(0)
    return 2 * right / np.maximum(total, 1)


def written_out(a: np.ndarray, labels_a: BoardLabels, b: np.ndarray, labels_b: BoardLabels) -> dict[str, float]:
    largest = a.max(0).astype(np.float64)
    yes_a, yes_b = says_yes(a, largest), says_yes(b, largest)
    scores = {}
    for name, labels in SETS.items():
        truth_a, truth_b = labels_a.matrix[:, labels], labels_b.matrix[:, labels]
        f1_a = [f1_of(yes, truth_a) for yes in yes_a]
        t = int(np.argmax([f1.max(0).mean() for f1 in f1_a]))
        best = f1_a[t].argmax(0)
        scores[f"coverage {name}"] = f1_of(yes_b[t], truth_b)[best, np.arange(len(best))].mean()

        pooled = {"a": [], "b": []}
        for t in range(10):
            right, fired = yes_a[t].T.astype(int) @ truth_a.astype(int), yes_a[t].sum(0)[:, None]
            keep = (fired >= 10) & (right / np.maximum(fired, 1) >= 0.95)
            for half, yes, truth in (("a", yes_a, truth_a), ("b", yes_b, truth_b)):
                predicted = yes[t].astype(int) @ keep.astype(int) > 0
                hits = 2 * (predicted & truth).sum()
                pooled[half].append(hits / max(predicted.sum() + truth.sum(), 1))
        scores[f"reconstruction {name}"] = pooled["b"][int(np.argmax(pooled["a"]))]
    every = np.stack([f1_of(yes, labels_a.matrix[:, :192]) for yes in yes_a])  # [T, F, L]
    chosen = [np.unravel_index(every[..., label].argmax(), every.shape[:2]) for label in range(192)]
    scores["well predicted"] = sum(
        f1_of(yes_b[t][:, [f]], labels_b.matrix[:, [label]])[0, 0] > 0.9 for label, (t, f) in enumerate(chosen)
    )
    scores["always on"] = np.mean([f1_of(np.ones((len(b), 1), bool), labels_b.matrix[:, :128])])
    return scores


@pytest.mark.parametrize("seed", range(4))
def test_sparse_and_dense_against_the_definition(seed: int) -> None:
    labels_a, labels_b = some_labels(400, seed), some_labels(300, seed + 10)
    a, b = some_values(labels_a, 70, seed + 20), some_values(labels_b, 70, seed + 20)
    expected = written_out(a, labels_a, b, labels_b)
    for form in (sparse, dense):
        found = coverage(form(a), labels_a, form(b), labels_b)
        assert {
            "coverage 128": found.states,
            "coverage legal": found.legal,
            "always on": found.states_always_on,
            "reconstruction 128": found.reconstruction_states,
            "reconstruction 192": found.reconstruction_pairs,
            "reconstruction legal": found.reconstruction_legal,
            "well predicted": found.well_predicted,
        } == pytest.approx({key: expected[key] for key in expected if key != "coverage 192"}, abs=1e-12)
        assert found.reconstruction_pairs > 0.05


def test_values_below_zero_never_fire() -> None:
    labels_a, labels_b = some_labels(300, 0), some_labels(300, 1)
    draw = np.random.default_rng(2)
    a, b = (draw.standard_normal((300, 9)).astype(np.float32) for _ in range(2))
    a[:, 0] = -np.abs(a[:, 0])
    expected = written_out(a, labels_a, b, labels_b)
    found = coverage(dense(a), labels_a, dense(b), labels_b)
    assert found.states == pytest.approx(expected["coverage 128"], abs=1e-12)
    assert found.reconstruction_pairs == pytest.approx(expected["reconstruction 192"], abs=1e-12)


def test_the_labels_themselves_score_one() -> None:
    labels = some_labels(500, 3)
    values = labels.matrix.astype(np.float32)
    found = coverage(sparse(values), labels, sparse(values), labels)
    assert found.states == found.legal == found.corrected == 1
    assert found.reconstruction_states == found.reconstruction_pairs == found.reconstruction_legal == 1
    assert found.well_predicted == (labels.matrix[:, :192].any(0)).sum()


def played(n: int, seed: int) -> BoardLabels:
    """Real positions, after each move but the last."""
    moves = games.uniform_play(n, seed).long()
    at, boards, legal, plies = rules.start(n), [], [], []
    squares = torch.arange(64)
    for ply in range(59):
        over = moves[:, ply] < 0
        at, _ = rules.play(at, moves[:, ply].clamp(min=0))
        own, other, allowed = (bits[:, None] >> squares & 1 for bits in (at.own, at.other, at.moves))
        boards.append((own + 2 * other)[~over])
        legal.append(allowed[~over])
        plies.append(torch.full((int((~over).sum()),), ply))
    board, allowed, ply = (torch.cat(parts).numpy() for parts in (boards, legal, plies))
    return BoardLabels(board.astype(np.int8), allowed.astype(bool), ply)


def test_an_always_on_feature_has_the_coverage_published_for_random_weights() -> None:
    labels_a, labels_b = played(150, 0), played(150, 1)
    on_a, on_b = (dense(np.ones((len(labels), 1), np.float32)) for labels in (labels_a, labels_b))
    found = coverage(on_a, labels_a, on_b, labels_b)
    assert found.states == pytest.approx(0.41, abs=0.01)
    assert found.corrected == pytest.approx(0, abs=1e-12)
    assert found.reconstruction_states == 0
    assert found.well_predicted == 0


def test_what_does_not_fit_together_is_refused() -> None:
    labels = some_labels(30, 0)
    three, two = (dense(np.ones((30, width), np.float32)) for width in (3, 2))
    with pytest.raises(ValueError, match="3 and 2 features"):
        coverage(three, labels, two, labels)
    with pytest.raises(ValueError, match="30 positions, the labels 20"):
        coverage(three, some_labels(20, 0), three, labels)
