"""FVU, explained variance, MSE, L2 ratio and shrinkage, against two-pass numpy and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn.metrics import explained_variance_score, mean_squared_error, r2_score
from torch import Tensor

from unweave.evaluation.reconstruction import Reconstruction


def sample(n: int = 60, d: int = 5, seed: int = 0, mean: float = 3.0) -> tuple[Tensor, Tensor]:
    """Inputs with a mean, and reconstructions that are too short, noisy and off by a constant."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=draw) * torch.arange(1, d + 1) + mean
    return x, 0.8 * x + 0.3 * torch.randn(n, d, generator=draw) + 0.1


def measure(x: Tensor, x_hat: Tensor) -> dict[str, float]:
    seen = Reconstruction(x.shape[1], "embed")
    seen.update(x, x_hat)
    return seen.result()


def test_against_numpy_and_scikit_learn() -> None:
    x, x_hat = sample()
    found, a, b = measure(x, x_hat), x.double().numpy(), x_hat.double().numpy()
    assert found["fvu/1"] == pytest.approx(((a - b) ** 2).sum() / ((a - a.mean(0)) ** 2).sum())
    assert found["fvu/1"] == pytest.approx(1 - r2_score(a, b, multioutput="variance_weighted"))
    assert found["explained_variance/1"] == pytest.approx(1 - (a - b).var(0).sum() / a.var(0).sum())
    assert found["explained_variance/1"] == pytest.approx(
        explained_variance_score(a, b, multioutput="variance_weighted")
    )
    assert found["mse_element/1"] == pytest.approx(mean_squared_error(a, b))
    assert found["mse_sum/1"] == pytest.approx(np.mean([np.sum((p - q) ** 2) for p, q in zip(a, b, strict=True)]))
    assert found["l2_ratio/1"] == pytest.approx(
        np.mean([np.linalg.norm(q) / np.linalg.norm(p) for p, q in zip(a, b, strict=True)])
    )


def test_shrinkage_is_the_best_divisor() -> None:
    x, x_hat = sample()
    best = minimize_scalar(lambda g: float((x_hat / g - x).square().sum()), bounds=(0.1, 3), method="bounded")
    assert measure(x, x_hat)["shrinkage/1"] == pytest.approx(best.x, abs=1e-4)
    assert measure(x, 0.7 * x)["shrinkage/1"] == pytest.approx(0.7)


def test_baselines() -> None:
    x, _ = sample()
    perfect = {
        "fvu/1": 0,
        "explained_variance/1": 1,
        "mse_element/1": 0,
        "mse_sum/1": 0,
        "l2_ratio/1": 1,
        "shrinkage/1": 1,
    }
    assert measure(x, x) == pytest.approx(perfect)
    mean = measure(x.double(), x.double().mean(0).expand_as(x))
    assert mean["fvu/1"] == pytest.approx(1)
    assert mean["explained_variance/1"] == pytest.approx(0, abs=1e-12)
    assert mean["shrinkage/1"] == pytest.approx(1)
    assert mean["mse_sum/1"] == pytest.approx(float(x.double().var(0, correction=0).sum()))
    shifted = measure(x, x + 5)
    assert shifted["fvu/1"] > 1
    assert shifted["explained_variance/1"] == pytest.approx(1)  # it forgives a constant error
    zero = measure(x, torch.zeros_like(x))
    assert zero["l2_ratio/1"] == 0
    assert math.isnan(zero["shrinkage/1"])


@given(st.lists(st.integers(0, 20), min_size=1, max_size=6), st.integers(0, 99), st.sampled_from([0.0, 1e4]))
def test_batches_do_not_matter(sizes: list[int], seed: int, mean: float) -> None:
    x, x_hat = sample(sum(sizes) + 2, 4, seed, mean)
    parts = Reconstruction(4, "embed")
    for a, b in zip(x.split([*sizes, 2]), x_hat.split([*sizes, 2]), strict=True):
        parts.update(a, b)
    assert parts.result() == pytest.approx(measure(x, x_hat), rel=1e-9)
    assert parts.result()["fvu/1"] == pytest.approx(
        1 - r2_score(x.double(), x_hat.double(), multioutput="variance_weighted"), rel=1e-6
    )


def test_where_a_metric_is_undefined() -> None:
    still = measure(torch.zeros(3, 2), torch.ones(3, 2))
    assert still["mse_sum/1"] == 2
    assert all(math.isnan(still[key]) for key in ("fvu/1", "explained_variance/1", "l2_ratio/1", "shrinkage/1"))
    partly = measure(torch.tensor([[0.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert partly["l2_ratio/1"] == 0.5  # the input of 0 is left out


def test_bad_input_adds_nothing() -> None:
    x, x_hat = sample()
    seen = Reconstruction(5, "mlp_out.3")
    with pytest.raises(ValueError, match=r"mlp_out\.3 was counted: the sample is empty"):
        seen.result()
    seen.update(x, x_hat)
    before = seen.result()
    with pytest.raises(ValueError, match=r"\[60, 5\] and reconstructions \[59, 5\] at mlp_out\.3"):
        seen.update(x, x_hat[1:])
    with pytest.raises(ValueError, match=r"both should be \[B, 5\]"):
        seen.update(x[:, :4], x_hat[:, :4])
    for bad in (math.nan, math.inf):
        spoilt = x.clone()
        spoilt[3, 1] = bad
        with pytest.raises(ValueError, match=r"the activations at mlp_out\.3 have NaN or infinite"):
            seen.update(spoilt, x_hat)
        with pytest.raises(ValueError, match=r"the reconstructions at mlp_out\.3 have NaN or infinite"):
            seen.update(x, spoilt)
    assert seen.result() == before
