"""How alike the features of two dictionaries are: by the directions that they write, and by when they fire.

Shapes: F and G features of two dictionaries, D width, N inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor

ALIKE = 0.7
"""Above this cosine or correlation two features count as matched."""


def nearest(a: Tensor, b: Tensor) -> Tensor:
    """`[F]`: the largest cosine of each row of `a [F, D]` with a row of `b [G, D]`; its mean is the MMCS of Sharkey et
    al. 2022 ("Taking features out of superposition with sparse autoencoders")."""
    return (_unit(a.double()) @ _unit(b.double()).T).amax(1)


def correlated(a: Tensor, b: Tensor) -> Tensor:
    """`[F]`: the largest Pearson correlation of each column of `a [N, F]` with a column of `b [N, G]`, codes of the
    same inputs or of the same places in two subjects; 0 for a column that does not vary."""
    a, b = (_unit((codes.double() - codes.double().mean(0)).T) for codes in (a, b))
    return (a @ b.T).amax(1)


def share(likeness: Tensor) -> float:
    """How many of the features are matched. NaN where there are none."""
    return float((likeness > ALIKE).double().mean()) if len(likeness) else torch.nan


def _unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)
