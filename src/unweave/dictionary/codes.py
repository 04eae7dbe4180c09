"""Codes: how much of each feature is in each input. Dense, or sparse where few features are active.

Shapes: B batch, D width, F features, n active entries in the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from unweave.dictionary.kernels import pairs
from unweave.dictionary.kernels.sparse import rows as rows_of


@dataclass(frozen=True)
class Sparse:
    """The active entries row by row: row b holds entries offsets[b] to offsets[b + 1].

    One form serves methods with a fixed number of active features and methods without. An entry may have the value 0
    (top-k where fewer than k pre-activations are positive); it is then not active.

    offsets: `[B + 1] int64`; features: `[n] int64`, a row's in ascending order; values: `[n]`; d_sae: F.
    """

    offsets: Tensor
    features: Tensor
    values: Tensor
    d_sae: int

    @property
    def rows(self) -> Tensor:
        """`[n] int64`: the row of each entry."""
        return rows_of(self.offsets, len(self.features))


@dataclass(frozen=True)
class Encoded(Sparse):
    """Sparse codes with what an encoder read for them, which may be more than the values keep.

    pre: `[n]`, the pre-activation of each entry, differentiable. Elsewhere in the batch neither codes nor what is made
    of pre-activations below a threshold change with anything.
    """

    pre: Tensor


Codes = Tensor | Sparse


def dense(codes: Codes) -> Tensor:
    """`[B, F]`, differentiable."""
    if isinstance(codes, Tensor):
        return codes
    empty = codes.values.new_zeros(len(codes.offsets) - 1, codes.d_sae)
    return empty.index_put((codes.rows, codes.features), codes.values)


def sparse(codes: Codes) -> Sparse:
    """The entries above zero only, each row's features in ascending order. Not differentiable."""
    if isinstance(codes, Sparse):
        active = codes.values > 0
        n, d_sae = len(codes.offsets) - 1, codes.d_sae
        rows, features, values = codes.rows[active], codes.features[active], codes.values.detach()[active]
    else:
        n, d_sae = codes.shape
        rows, features = (codes > 0).nonzero(as_tuple=True)
        values = codes.detach()[rows, features]
    return Sparse(F.pad(torch.bincount(rows, minlength=n).cumsum(0), (1, 0)), features, values, d_sae)


def combine(codes: Codes, directions: Tensor) -> Tensor:
    """The sum of `directions [F, D]`, each by its code: `[B, D]`, differentiable in both."""
    if isinstance(codes, Tensor):
        return codes @ directions
    return pairs.decode(codes.offsets, codes.features, codes.values, directions)


def row_sum(codes: Codes, weight: Tensor | None = None) -> Tensor:
    """`[B]`: the sum of each row's codes, feature j counted `weight[j]` times. Differentiable."""
    if isinstance(codes, Tensor):
        return codes.sum(-1) if weight is None else codes @ weight
    values = codes.values if weight is None else codes.values * weight.index_select(0, codes.features)
    return values.new_zeros(len(codes.offsets) - 1).index_add(0, codes.rows, values)


def mapped(codes: Codes, f: Callable[[Tensor], Tensor]) -> Codes:
    """f of every code, for an f that is elementwise and 0 at 0. Differentiable."""
    return f(codes) if isinstance(codes, Tensor) else replace(codes, values=f(codes.values))


def of_rows(codes: Codes, weight: Tensor) -> Codes:
    """The codes of row b `weight[b]` times. Differentiable."""
    if isinstance(codes, Tensor):
        return codes * weight[:, None]
    return replace(codes, values=codes.values * weight[codes.rows])


def of_features(codes: Codes, weight: Tensor) -> Codes:
    """The codes of feature j `weight[j]` times. Differentiable."""
    if isinstance(codes, Tensor):
        return codes * weight
    return replace(codes, values=codes.values * weight.index_select(0, codes.features))


def row_max(codes: Codes) -> Tensor:
    """`[B]`: the largest code of each row. Not differentiable."""
    if isinstance(codes, Tensor):
        return codes.detach().amax(-1)
    return codes.values.new_zeros(len(codes.offsets) - 1).scatter_reduce(0, codes.rows, codes.values.detach(), "amax")


def fired(codes: Codes) -> Tensor:
    """`[F] bool`: the features that are above zero somewhere in the batch."""
    if isinstance(codes, Tensor):
        return codes.amax(0) > 0
    return torch.bincount(codes.features, codes.values.detach().clamp(min=0), minlength=codes.d_sae) > 0


def mean_l0(codes: Codes) -> float:
    """How many features are above zero in an average row."""
    values, n = (codes, len(codes)) if isinstance(codes, Tensor) else (codes.values, len(codes.offsets) - 1)
    return (values > 0).sum().item() / n
