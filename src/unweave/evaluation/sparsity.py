"""How many features are active, and how often each is. Streamed over a sample.

A feature is active in an input when its code is above 0. Shapes: B batch, F features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unweave.dictionary.codes import Codes


class Sparsity:
    """Counts over a sample, one batch of codes after another.

    n: inputs so far; count: `[F] int64`, in how many of them each feature was active; max: `[F] float64`, its largest
    code, 0 where it was never active.
    """

    def __init__(self, d_sae: int, site: str) -> None:
        """site: where the inputs were read, for error messages."""
        self.site, self.n = site, 0
        self.count = torch.zeros(d_sae, dtype=torch.int64)
        self.max = torch.zeros(d_sae, dtype=torch.float64)

    @torch.no_grad()
    def update(self, codes: Codes) -> None:
        """Add a batch. Raises ValueError for codes of another number of features, or that are NaN or infinite."""
        d_sae = codes.shape[1] if isinstance(codes, Tensor) else codes.d_sae
        if d_sae != len(self.count):
            raise ValueError(f"codes of {d_sae} features at {self.site}, where {len(self.count)} were expected")
        if not (codes if isinstance(codes, Tensor) else codes.values).isfinite().all():
            raise ValueError(f"the codes of the activations at {self.site} have NaN or infinite values")
        if isinstance(codes, Tensor):
            self.n += len(codes)
            self.count += (codes > 0).sum(0).cpu()
            if len(codes):
                self.max = torch.maximum(self.max, codes.amax(0).double().cpu())
        else:
            self.n += len(codes.offsets) - 1
            features = codes.features.cpu()
            self.count += torch.bincount(features[codes.values.cpu() > 0], minlength=d_sae)
            self.max.scatter_reduce_(0, features, codes.values.double().cpu(), "amax")

    @property
    def density(self) -> Tensor:
        """`[F] float64`: in what share of the inputs each feature is active. Raises ValueError for an empty sample."""
        if not self.n:
            raise ValueError(f"no activation at {self.site} was counted: the sample is empty")
        return self.count.double() / self.n

    def result(self) -> dict[str, float]:
        """l0: active features per input; density_median: over all features, dead too; dead: share never active."""
        density = self.density
        return {
            "l0/1": float(density.sum()),
            "density_median/1": float(density.quantile(0.5)),
            "dead/1": float((self.count == 0).double().mean()),
        }
