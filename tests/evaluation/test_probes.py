"""Linear probes against scikit-learn's logistic regression."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from boards import some_labels
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from unweave.evaluation import probes
from unweave.evaluation.ground_truth import BoardLabels
from unweave.evaluation.probes import fit


def problem(n: int, seed: int) -> tuple[Tensor, BoardLabels]:
    """Twelve directions of very unequal size, in which the labels of four squares can be read with noise."""
    labels = some_labels(n, seed)
    draw = torch.Generator().manual_seed(0)
    mix, scale = torch.randn(16, 12, generator=draw), torch.logspace(-1, 1, 12)
    told = torch.from_numpy(labels.matrix[:, [0, 1, 2, 3, 64, 65, 66, 67, 128, 129, 130, 131, 192, 193, 194, 195]])
    noise = torch.randn(n, 12, generator=torch.Generator().manual_seed(seed + 1))
    return ((told.float() @ mix + noise) * scale + 5), labels


def test_against_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "_STEPS", 500)
    x, labels = problem(10_000, 0)
    held_out, truth = problem(4_000, 1)
    probe = fit(x, labels)
    scores = probe.scores(held_out).numpy()
    to_units = StandardScaler().fit(x).transform  # the solver's pace depends on it, the optimum hardly
    states = LogisticRegression(C=100).fit(to_units(x), labels.board[:, 2])
    ours = 1 / (1 + np.exp(-scores[:, [130, 2, 66]]))  # empty, mine, theirs
    np.testing.assert_allclose(ours.sum(1), 1, rtol=1e-5)
    theirs = states.predict_proba(to_units(held_out))
    assert log_loss(truth.board[:, 2], ours) == pytest.approx(log_loss(truth.board[:, 2], theirs), abs=0.01)
    for state, label in enumerate((130, 2, 66)):
        expected = roc_auc_score(truth.matrix[:, label], theirs[:, state])
        assert roc_auc_score(truth.matrix[:, label], scores[:, label]) == pytest.approx(expected, abs=0.01)
    legal = LogisticRegression(C=100).fit(to_units(x), labels.matrix[:, 194])
    expected = roc_auc_score(truth.matrix[:, 194], legal.decision_function(to_units(held_out)))
    assert roc_auc_score(truth.matrix[:, 194], scores[:, 194]) == pytest.approx(expected, abs=0.01)
    assert expected > 0.6


def test_the_same_seed_gives_the_same_probe_and_readout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "_STEPS", 20)
    x, labels = problem(500, 2)
    one, two = fit(x, labels, seed=3), fit(x, labels, seed=3)
    assert torch.equal(one.weight, two.weight)
    readout = one.readout(x)
    assert readout.width == 252
    np.testing.assert_array_equal(readout.columns(100, 200).T, two.scores(x).numpy()[:, 100:200])


def test_bad_activations_are_refused() -> None:
    x, labels = problem(50, 0)
    with pytest.raises(ValueError, match="49 activations and 50 labels"):
        fit(x[:49], labels)
    with pytest.raises(ValueError, match="NaN or infinite"):
        fit(x / 0, labels)
