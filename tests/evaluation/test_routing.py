"""What one feature tells of the experts: each measure against scikit-learn's, and all on planted routers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, mutual_info_score, roc_auc_score
from torch import Tensor

from unweave.evaluation.routing import auroc, by_token, f1, information, told


def drawn(seed: int, n: int = 60, features: int = 4, experts: int = 3) -> tuple[Tensor, Tensor]:
    """Codes with many ties at 0, and choices."""
    draw = torch.Generator().manual_seed(seed)
    codes = (torch.randn(n, features, generator=draw).relu() * 3).round()
    return codes, torch.rand(n, experts, generator=draw) < 0.4


@settings(max_examples=8)
@given(st.integers(0, 10_000))
def test_the_measures_are_scikit_learns(seed: int) -> None:
    codes, labels = drawn(seed)
    ranked, scored, bits = auroc(codes, labels), f1(codes > 0, labels), information(codes > 0, labels)
    for f, column in enumerate(codes.T.numpy()):
        for e, label in enumerate(labels.T.numpy()):
            assert float(ranked[f, e]) == pytest.approx(roc_auc_score(label, column))
            assert float(scored[f, e]) == pytest.approx(f1_score(label, column > 0, zero_division=0))
            assert float(bits[f, e]) == pytest.approx(mutual_info_score(label, column > 0) / math.log(2), abs=1e-9)


def test_an_expert_that_is_never_chosen_has_no_auroc() -> None:
    codes, labels = drawn(0)
    labels[:, 0], labels[:, 1] = False, True
    assert auroc(codes, labels).isnan().all(0).tolist() == [True, True, False]
    assert information(codes > 0, labels)[:, :2].tolist() == [[0, 0]] * 4
    assert all(map(math.isfinite, told(codes, labels).values()))


def test_a_planted_feature_tells_all_and_a_shuffled_router_nothing() -> None:
    draw = torch.Generator().manual_seed(0)
    n = 4000
    chosen = torch.nn.functional.one_hot(torch.randint(2, (n,), generator=draw), 2).bool()
    codes = torch.cat([torch.rand(n, 6, generator=draw) - 0.5, chosen.float()], 1).relu()
    found = told(codes, chosen)
    assert (found["auroc"], found["f1"]) == (1, 1)
    assert found["information"] == pytest.approx(1, abs=1e-3)  # a bit, of two experts that are equally frequent
    assert found["of_one"] == pytest.approx(2 / 8)
    null = told(codes, chosen[torch.randperm(n, generator=draw)])
    assert abs(null["auroc"] - 0.5) < 0.05
    assert null["information"] < 0.01
    assert null["of_one"] == 0


def test_features_are_picked_on_one_half_and_scored_on_the_other() -> None:
    codes, chosen = drawn(1, n=200, features=4, experts=2)
    codes[:100, 0], codes[100:, 0] = chosen[:100, 0].float(), 1 - chosen[100:, 0].float()  # right, then wrong
    both = torch.stack([auroc(codes[100:], chosen[100:])[0, 0], auroc(codes[100:], chosen[100:])[:, 1].max()])
    picked = auroc(codes[:100], chosen[:100])[:, 1].argmax()
    assert float(both[0]) == 0
    expected = (0 + float(auroc(codes[100:], chosen[100:])[picked, 1])) / 2
    assert told(codes, chosen)["auroc"] == pytest.approx(expected)


def test_what_a_token_says() -> None:
    tokens = torch.tensor([0, 1, 0, 1, 2, 0, 1, 0, 1, 2])
    chosen = (tokens == 0)[:, None]
    assert by_token(tokens, chosen, 4) == {"auroc": 1.0}
    seen = torch.tensor([0, 0, 0, 3])  # token 3 comes in the second half alone: it is given the base rate
    labels = torch.tensor([[True], [False], [True], [False]])
    assert by_token(seen, labels, 4) == {"auroc": 0.5}
    draw = np.random.default_rng(0)
    random = torch.from_numpy(draw.integers(0, 5, 2000)), torch.from_numpy(draw.random((2000, 2)) < 0.5)
    assert abs(by_token(*random, 5)["auroc"] - 0.5) < 0.05
