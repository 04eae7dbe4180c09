"""Likeness of features against numpy's and by hand."""

import math

import numpy as np
import pytest
import torch

from unweave.evaluation.match import correlated, nearest, share


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_nearest_row_is_found_whatever_its_length() -> None:
    a, b = draw(5, 7), draw(6, 7, seed=1)
    by_hand = [max(float(x @ y) / float(x.norm() * y.norm()) for y in b) for x in a]
    assert nearest(a, b).tolist() == pytest.approx(by_hand, rel=1e-5)
    order = torch.tensor([3, 1, 0, 4, 2])
    torch.testing.assert_close(nearest(a, 3 * a[order]), torch.ones(5, dtype=torch.float64))
    assert nearest(torch.eye(3), -torch.eye(3)).tolist() == [0, 0, 0]  # the other way is not alike


def test_correlations_are_numpys() -> None:
    a, b = draw(40, 3).relu(), draw(40, 4, seed=1).relu()
    expected = np.corrcoef(a.T.numpy(), b.T.numpy())[:3, 3:].max(1)
    assert correlated(a, b).tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    torch.testing.assert_close(correlated(a, 2 * a + 1), torch.ones(3, dtype=torch.float64))
    assert correlated(torch.ones(40, 1), b).tolist() == [0]


def test_a_share_is_of_those_above_the_bound() -> None:
    assert share(torch.tensor([0.71, 0.7, 0.1, 1.0], dtype=torch.float64)) == 0.5
    assert math.isnan(share(torch.zeros(0)))
