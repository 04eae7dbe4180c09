"""Reconstruction on text by vector, position, token and feature, and what learned nothing, against plain loops."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from tiny_reader import D, tiny
from tiny_text import some_rows
from torch import Tensor

from unweave.dictionary import Dictionary
from unweave.dictionary.codes import dense, mean_l0
from unweave.evaluation.language.baselines import Moments
from unweave.evaluation.language.rebuilt import Breakdown, Ratios, Rebuilt
from unweave.evaluation.language.splice import Splice
from unweave.subject.sequences import Sequences

F = 24


def sample(n: int = 80, d: int = D, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=draw) * torch.arange(1, d + 1) + 3


def ratios(x: Tensor, x_hat: Tensor, parts: int = 1) -> dict[str, float]:
    seen = Ratios(x.double().mean(0))
    for a, b in zip(x.double().chunk(parts), x_hat.double().chunk(parts), strict=True):
        seen.update(a, b)
    return seen.result()


def test_ratios_against_a_loop_over_vectors() -> None:
    x = sample()
    x_hat = 0.7 * x + 0.2 * sample(seed=1)
    mean = [sum(row[j] for row in x.tolist()) / len(x) for j in range(D)]
    variance, relative, cosine = [], [], []
    for a, b in zip(x.tolist(), x_hat.tolist(), strict=True):
        error = sum((p - q) ** 2 for p, q in zip(a, b, strict=True))
        variance.append(1 - error / sum((p - m) ** 2 for p, m in zip(a, mean, strict=True)))
        relative.append(error / sum(p * p for p in a))
        cosine.append(sum(p * q for p, q in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b))
    assert ratios(x, x_hat) == pytest.approx(
        {
            "explained_variance_token/1": np.mean(variance),
            "mse_relative/1": np.mean(relative),
            "cosine/1": np.mean(cosine),
        }
    )


@given(st.integers(1, 9), st.integers(0, 50))
def test_parts_do_not_matter(parts: int, seed: int) -> None:
    x = sample(seed=seed)
    assert ratios(x, x.tanh(), parts) == pytest.approx(ratios(x, x.tanh()))


def test_what_knows_nothing() -> None:
    x = sample()
    assert ratios(x, x) == pytest.approx({"explained_variance_token/1": 1, "mse_relative/1": 0, "cosine/1": 1})
    assert ratios(x, x.mean(0).expand_as(x))["explained_variance_token/1"] == pytest.approx(0, abs=1e-5)
    zero = ratios(x, torch.zeros_like(x))
    assert zero["mse_relative/1"] == 1
    assert math.isnan(zero["cosine/1"])
    assert math.isnan(ratios(torch.ones(3, 2), torch.zeros(3, 2))["explained_variance_token/1"])


@pytest.mark.parametrize("method", ["topk(k=4)", "relu()"])
def test_features_positions_and_tokens_against_loops(method: str) -> None:
    x = sample(60)
    draw = torch.Generator().manual_seed(1)
    position, token = torch.randint(5, (60,), generator=draw), torch.randint(7, (60,), generator=draw)
    d, mean = Dictionary(D, F, method).eval(), x.double().mean(0)
    rebuilt, where = Rebuilt(d, "embed", "embed", mean), Breakdown(6, 8)
    for part in torch.arange(60).split(17):
        where.vectors(position[part], token[part], *rebuilt.update(x[part], x[part]))
    where.predictions(position, token, x[:, 0].double(), x[:, 1].double())
    codes, x_hat = dense(d.encode(x)).detach(), d(x).detach()
    features, found = rebuilt.features(), where.arrays()
    assert torch.equal(features["count"], torch.tensor([sum(c > 0 for c in column) for column in codes.T.tolist()]))
    assert features["max"].tolist() == pytest.approx([max(0.0, *column) for column in codes.T.tolist()])
    assert torch.allclose(features["density"], features["count"] / 60)
    inside = [sum(a <= n / 60 < b or n == 60 == 60 * b for n in features["count"].tolist()) for a, b in _bins(features)]
    assert features["density_histogram"].tolist() == inside
    for by, of, n in (("position", position, 6), ("token", token, 8)):
        for value in range(n):
            here = [i for i in range(60) if of[i] == value]
            assert found[f"{by}_rebuilt"][value] == found[f"{by}_counted"][value] == len(here)
            error = sum((x[i] - x_hat[i]).square().sum().item() for i in here)
            spread = sum((x[i] - mean).square().sum().item() for i in here)
            expected = {
                "fvu": error / spread if here else math.nan,
                "l0": np.mean([(codes[i] > 0).sum().item() for i in here]) if here else math.nan,
                "ce": np.mean([x[i, 0].item() for i in here]) if here else math.nan,
                "ce_spliced": np.mean([x[i, 1].item() for i in here]) if here else math.nan,
            }
            for what, number in expected.items():
                assert found[f"{by}_{what}"][value].item() == pytest.approx(number, rel=1e-4, nan_ok=True), (by, what)
    assert rebuilt.result()["l0/1"] == pytest.approx(mean_l0(d.encode(x)))


def _bins(features: dict[str, Tensor]) -> list[tuple[float, float]]:
    edges = features["density_edges"].tolist()
    assert edges[0] == pytest.approx(1e-6)
    assert edges[-1] == 1
    return list(pairwise(edges))


@pytest.mark.parametrize("k", [1, 5, D, 3 * D])
def test_principal_components_are_scikit_learns(k: int) -> None:
    x = sample(200) @ sample(D, seed=4) / 9
    seen = Moments(D, D)
    for part in x.split(70):
        seen.update(part, part)
    d = seen.components(k, transcodes=False)
    n = min(k, D)
    theirs = PCA(n).fit(x.double().numpy())
    expected = theirs.inverse_transform(theirs.transform(x.double().numpy()))
    torch.testing.assert_close(d(x).detach().double(), torch.from_numpy(expected), rtol=1e-3, atol=2e-3)
    assert mean_l0(d.encode(x)) == n


def test_a_transcoders_components_are_the_best_linear_prediction_from_them() -> None:
    x = sample(200) @ sample(D, seed=4) / 9
    y = torch.cat([x.tanh(), x[:, :3].cos()], 1)
    seen = Moments(D, D + 3)
    for part in torch.arange(200).split(64):
        seen.update(x[part], y[part])
    d = seen.components(6, transcodes=True)
    z = PCA(6).fit_transform(x.double().numpy())
    expected = LinearRegression().fit(z, y.numpy()).predict(z)
    torch.testing.assert_close(d(x).detach().double(), torch.from_numpy(expected).double(), rtol=1e-3, atol=2e-3)


def test_components_of_what_does_not_vary() -> None:
    x = torch.cat([sample(50, 2), torch.ones(50, D - 2)], 1)
    seen = Moments(D, 3)
    seen.update(x, x[:, :3])
    made = seen.components(D, transcodes=True)(x)
    torch.testing.assert_close(made, x[:, :3], rtol=1e-3, atol=1e-3)


def test_all_components_spliced_in_change_nothing() -> None:
    subject, rows = tiny(), some_rows()
    sequences, seen = Sequences(subject, rows), Moments(D, D)
    x = sequences.read(["resid_post.0"])["resid_post.0"]
    seen.update(x, x)
    spliced = Splice(subject, {"resid_post.0": seen.components(D, transcodes=False)}).log_probs(sequences)
    torch.testing.assert_close(spliced, sequences.log_probs(), rtol=1e-3, atol=1e-3)
