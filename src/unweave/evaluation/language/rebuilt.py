"""What a dictionary makes of activations, streamed over rows: as a whole, by position, by token and by feature.

Sums are float64. Shapes: R vectors of a part, D width, S positions of a row, V alphabet, F features.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unweave.dictionary import Dictionary
from unweave.dictionary.codes import sparse
from unweave.evaluation.reconstruction import Reconstruction
from unweave.evaluation.sparsity import Sparsity

# Quarters of powers of ten, from one token in a million to every one.
DENSITY_EDGES = torch.logspace(-6, 0, 25, dtype=torch.float64)


class Rebuilt:
    """One dictionary at one place. mean: `[D] float64`, of what it is to rebuild, over the same rows."""

    def __init__(self, dictionary: Dictionary, site: str, target: str, mean: Tensor) -> None:
        self.dictionary, self.mean = dictionary, mean
        self.sparsity = Sparsity(dictionary.d_sae, site)
        self._reconstruction, self._ratios = Reconstruction(dictionary.d_out, target), Ratios(mean)

    @torch.no_grad()
    def update(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Add a part: what it reads `[R, D]` and what it is to rebuild `[R, D']`. For each vector its squared error,
        its squared distance from the mean, and how many features were active: `[R] float64` each.

        Raises ValueError for NaN or infinite values.
        """
        home = self.dictionary.W_dec.device
        codes = self.dictionary.encode(x.to(home))
        self.sparsity.update(codes)
        x_hat = self.dictionary.decode(codes, x.to(home)).to(y.device)
        self._reconstruction.update(y, x_hat)
        error, spread = self._ratios.update(y.double(), x_hat.double())
        return error, spread, sparse(codes).offsets.diff().double().to(y.device)

    def result(self) -> dict[str, float]:
        """Sparsity and reconstruction. Raises ValueError for an empty sample."""
        return self.sparsity.result() | self._reconstruction.result() | self._ratios.result()

    def features(self) -> dict[str, Tensor]:
        """count, density, max: `[F]`, in how many vectors a feature is active, in what share of them, and its largest
        code; density_histogram: `[24]`, how many features have a density between two of `density_edges [25]`."""
        density = self.sparsity.density
        return {
            "count": self.sparsity.count,
            "density": density.float(),
            "max": self.sparsity.max.float(),
            "density_histogram": torch.histogram(density, DENSITY_EDGES).hist.long(),
            "density_edges": DENSITY_EDGES,
        }


class Ratios:
    """What is averaged over vectors, each vector counting the same however long it is. mean: `[D]`, of the targets."""

    def __init__(self, mean: Tensor) -> None:
        self.mean = mean
        self._sums: dict[str, float] = dict.fromkeys(("explained_variance_token/1", "mse_relative/1", "cosine/1"), 0.0)
        self._n: dict[str, int] = dict.fromkeys(self._sums, 0)

    def update(self, x: Tensor, x_hat: Tensor) -> tuple[Tensor, Tensor]:
        """Add a part, `[R, D] float64` each; for each vector |x - x_hat|^2 and |x - mean|^2, `[R]`."""
        error, spread = (x - x_hat).square().sum(1), (x - self.mean.to(x.device)).square().sum(1)
        size, norms = x.square().sum(1), x.norm(dim=1) * x_hat.norm(dim=1)
        for key, values, there in (
            ("explained_variance_token/1", 1 - error / spread, spread > 0),
            ("mse_relative/1", error / size, size > 0),
            ("cosine/1", (x * x_hat).sum(1) / norms, norms > 0),
        ):
            self._sums[key] += float(values[there].sum())
            self._n[key] += int(there.sum())
        return error, spread

    def result(self) -> dict[str, float]:
        """Means; vectors for which a ratio has no meaning are left out of it, NaN where it has for none."""
        return {key: total / self._n[key] if self._n[key] else math.nan for key, total in self._sums.items()}


class Breakdown:
    """Where in a row, and at which tokens, a dictionary does well: a position counts for the token there."""

    def __init__(self, n_positions: int, n_tokens: int) -> None:
        self._sums = {
            (by, what): torch.zeros(n, dtype=torch.float64)
            for by, n in (("position", n_positions), ("token", n_tokens))
            for what in ("rebuilt", "error", "spread", "l0", "counted", "before", "after")
        }

    def vectors(self, position: Tensor, token: Tensor, error: Tensor, spread: Tensor, l0: Tensor) -> None:
        """Add what `Rebuilt.update` gives, and where: `[R]` each."""
        self._add(position, token, rebuilt=torch.ones_like(error), error=error, spread=spread, l0=l0)

    def predictions(self, position: Tensor, token: Tensor, before: Tensor, after: Tensor) -> None:
        """Add the cross-entropy of what comes after some positions, without and with the dictionary: `[N]` each."""
        self._add(position, token, counted=torch.ones_like(before), before=before, after=after)

    def _add(self, position: Tensor, token: Tensor, **values: Tensor) -> None:
        for what, each in values.items():
            self._sums["position", what].index_add_(0, position, each.cpu())
            self._sums["token", what].index_add_(0, token, each.cpu())

    def arrays(self) -> dict[str, Tensor]:
        """By position `[S]` and by token `[V]`, e.g. `token_fvu`: how many vectors were rebuilt and how many
        predictions counted (int64), FVU, L0, and cross-entropy as it is and spliced; NaN where there is nothing."""
        found = {}
        for by in ("position", "token"):
            of = {what: total for (kind, what), total in self._sums.items() if kind == by}
            found |= {
                f"{by}_rebuilt": of["rebuilt"].long(),
                f"{by}_counted": of["counted"].long(),
                f"{by}_fvu": (of["error"] / of["spread"]).float(),
                f"{by}_l0": (of["l0"] / of["rebuilt"]).float(),
                f"{by}_ce": (of["before"] / of["counted"]).float(),
                f"{by}_ce_spliced": (of["after"] / of["counted"]).float(),
            }
        return found
