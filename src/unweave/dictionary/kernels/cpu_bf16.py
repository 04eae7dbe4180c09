"""As `cpu`, with the encoder's product in bfloat16 where it only nominates: for processors with units for that, on
which it should take a half to a quarter of the time (not measured yet). Without them it takes a hundred times as long,
so a training refuses.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from unweave.dictionary.kernels import nominate
from unweave.dictionary.kernels.cpu import SHARE, by_feature, column_sums, dots, sums
from unweave.dictionary.kernels.nominate import UNSEEN

__all__ = ["SHARE", "Bounds", "by_feature", "column_sums", "dots", "entries", "sums"]

_ROUNDING = 2.0**-8  # of a number to bfloat16, relative
_EPS = 2.0**-23


class Bounds(nominate.Bounds):
    """For x', w' rounded to bfloat16, |x w - x' w'| <= |x - x'| |w| + |x'| |w - w'| (Cauchy and Schwarz); a sum of D
    products rounds by at most D times the precision's unit of |x'| |w'|, and the result to bfloat16 once more."""

    extra = 32  # all rows are certain but one to four in a hundred (`python benchmarks/backends.py --nominate`)

    def __init__(self, W: Tensor, shift: Tensor) -> None:
        super().__init__(W, shift)
        self._half = W.bfloat16()
        self._longest = W.norm(dim=0).max() + UNSEEN
        self._farthest = (W - self._half.to(W.dtype)).norm(dim=0).max() + UNSEEN
        self._highest = shift.abs().max()

    def above(self, x: Tensor) -> Tensor:
        rounded = x.bfloat16()
        products, there = torch.mm(rounded, self._half).to(x.dtype), rounded.to(x.dtype)
        length = x.norm(dim=1) + UNSEEN
        error = ((x - there).norm(dim=1) + UNSEEN) * self._longest + (there.norm(dim=1) + UNSEEN) * self._farthest
        # What floats lose: in these norms, in sums of D products, here and of the pre-activation itself, in adding up.
        error = 1.001 * error + _EPS * ((2 * x.shape[1] + 8) * length * self._longest + 8 * self._highest)
        return products + _ROUNDING * products.abs() + self.shift + error[:, None]


def entries(
    x: Tensor, W: Tensor, shift: Tensor, select: Callable[[Tensor], tuple[Tensor, Tensor]], by_row: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """As `cpu.entries`."""
    return nominate.entries(x, W, shift, select, by_row, Bounds)
