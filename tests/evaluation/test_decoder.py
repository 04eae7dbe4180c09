"""Least squares against scikit-learn's."""

import torch
from sklearn.linear_model import LinearRegression

from unweave.evaluation import decoder


def problem(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    codes = torch.randn(n, 7, generator=draw).clamp(min=0) + 1000  # far from 0, where sums of squares would cancel
    return codes, codes @ torch.randn(7, 3, generator=draw) + torch.randn(n, 3, generator=draw) - 5


def test_against_scikit_learn(monkeypatch) -> None:
    monkeypatch.setattr(decoder, "_BATCH", 64)
    codes, x = problem(300)
    found = decoder.fit(lambda start, stop: codes[start:stop], x)
    expected = LinearRegression().fit(codes.double(), x.double())
    torch.testing.assert_close(found.weight.T.double(), torch.from_numpy(expected.coef_), rtol=1e-4, atol=1e-4)
    predicted = torch.from_numpy(expected.predict(codes.double()))
    torch.testing.assert_close(found.decode(codes).double(), predicted, rtol=1e-5, atol=1e-2)


def test_features_that_depend_on_each_other_or_never_vary() -> None:
    codes, x = problem(300)
    codes = codes - 1000
    more = torch.cat([codes, codes[:, :1], torch.ones(300, 1)], 1)
    plain, found = (decoder.fit(lambda start, stop, c=c: c[start:stop], x) for c in (codes, more))
    torch.testing.assert_close(found.decode(more), plain.decode(codes), rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(found.weight[0], found.weight[7])  # the smallest weights share what two can do
    torch.testing.assert_close(found.weight[8], torch.zeros(3))


def test_a_constant_rebuilds_the_mean() -> None:
    _, x = problem(300)
    found = decoder.fit(lambda start, stop: torch.ones(stop - start, 1), x)
    torch.testing.assert_close(found.decode(torch.ones(1, 1))[0], x.mean(0))
