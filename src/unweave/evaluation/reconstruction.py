"""How near a dictionary's reconstruction x_hat is to its input x. Streamed over a sample.

Papers call several different numbers "MSE" and "explained variance"; each has a name of its own here.
Shapes: B batch, D width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


class _Spread:
    """The mean of vectors, and the sum of their squared distances to it, batch by batch.

    Chan, Golub & LeVeque 1983's pairwise update: sums of squares about zero would cancel where the mean is large, as it
    is in a residual stream.
    """

    def __init__(self, d: int) -> None:
        self.n, self.mean, self.total = 0, torch.zeros(d, dtype=torch.float64), 0.0

    def update(self, vectors: Tensor) -> None:
        mean = vectors.mean(0)
        n, shift = len(vectors), mean.cpu() - self.mean
        self.total += float((vectors - mean).square().sum()) + float(shift @ shift) * self.n * n / (self.n + n)
        self.n += n
        self.mean += shift * (n / self.n)


class Reconstruction:
    """Sums over a sample, one batch of inputs and reconstructions after another, in float64."""

    def __init__(self, d_in: int, site: str) -> None:
        """site: where the inputs were read, for error messages."""
        self.site, self.d_in = site, d_in
        self._input, self._error = _Spread(d_in), _Spread(d_in)
        self._squared_error = self._squared_output = self._product = self._ratio = 0.0
        self._n_ratio = 0

    @torch.no_grad()
    def update(self, x: Tensor, x_hat: Tensor) -> None:
        """Add a batch of `x [B, D]` and `x_hat [B, D]`, in the same units.

        Raises ValueError when the shapes differ, or for NaN or infinite values; nothing is then added.
        """
        if x.shape != x_hat.shape or x.ndim != 2 or x.shape[1] != self.d_in:
            raise ValueError(
                f"inputs {list(x.shape)} and reconstructions {list(x_hat.shape)} at {self.site}: "
                f"both should be [B, {self.d_in}]"
            )
        for what, values in (("activations", x), ("reconstructions", x_hat)):
            if len(values) and not values.abs().max().isfinite():  # a NaN is the largest of all
                raise ValueError(f"the {what} at {self.site} have NaN or infinite values")
        if not len(x):
            return
        x, x_hat = x.double(), x_hat.double()
        error = x_hat - x
        self._input.update(x)
        self._error.update(error)
        self._squared_error += float(error.square().sum())
        self._squared_output += float(x_hat.square().sum())
        self._product += float((x_hat * x).sum())
        norm = x.norm(dim=1)
        there = norm > 0
        self._ratio += float((x_hat.norm(dim=1)[there] / norm[there]).sum())
        self._n_ratio += int(there.sum())

    def result(self) -> dict[str, float]:
        """NaN where a metric is undefined: inputs that never vary, or are all 0. Raises ValueError for an empty sample.

        fvu: sum of |x - x_hat|^2 over sum of |x - mean x|^2.
        explained_variance: 1 - sum_d Var(error_d) / sum_d Var(x_d); forgives a constant error, so never below 1 - fvu.
        mse_sum: mean over inputs of |x - x_hat|^2; mse_element: that over D.
        l2_ratio: mean over inputs of |x_hat| / |x|, inputs of 0 left out.
        shrinkage: gamma = argmin_g E|x_hat / g - x|^2 = E|x_hat|^2 / E[x . x_hat] (set the derivative in 1/g to 0).
        It is Rajamanoharan et al. 2024's relative reconstruction bias (arXiv 2404.16014).
        """
        n = self._input.n
        if not n:
            raise ValueError(f"no activation at {self.site} was counted: the sample is empty")
        return {
            "fvu/1": _over(self._squared_error, self._input.total),
            "explained_variance/1": 1 - _over(self._error.total, self._input.total),
            "mse_element/1": self._squared_error / (n * self.d_in),
            "mse_sum/1": self._squared_error / n,
            "l2_ratio/1": _over(self._ratio, self._n_ratio),
            "shrinkage/1": _over(self._squared_output, self._product),
        }


def _over(a: float, b: float | int) -> float:
    return a / b if b else math.nan
