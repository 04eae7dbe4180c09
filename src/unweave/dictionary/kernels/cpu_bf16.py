"""As `cpu`, with the encoder's product in bfloat16 where it only nominates: for processors with units for that, on
which it should take a half to a quarter of the time (not measured yet). Without them it takes a hundred times as long,
so a training refuses.

Of each row, the k + EXTRA largest of the products in bfloat16 are candidates, whose pre-activations are computed again
in full. The k largest of these are the k largest of all wherever the k-th is above whatever the others can at most be
(`nominated`); rows of which that is not certain are computed in full. So the codes are those of `cpu`, but for rounding
and for entries as near to one another as that. Only choices of the k largest of a row are nominated.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from unweave.dictionary.kernels import cpu
from unweave.dictionary.kernels.cpu import SHARE, by_feature, column_sums, dots, sums
from unweave.dictionary.kernels.select import Largest, largest_of_rows
from unweave.threads import in_parts

__all__ = ["EXTRA", "SHARE", "by_feature", "column_sums", "dots", "entries", "nominated", "sums"]

EXTRA = 32
"""Candidates beyond k: with as many, all rows are certain but one to four in a hundred
(`python benchmarks/backends.py --nominate`)."""

_ROWS = 256  # at a time
_ROUNDING = 2.0**-8  # of a number to bfloat16, relative


def entries(
    x: Tensor, W: Tensor, shift: Tensor, select: Callable[[Tensor], tuple[Tensor, Tensor]], by_row: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """As `cpu.entries`."""
    if not isinstance(select, Largest) or select.k + EXTRA >= W.shape[1]:
        return cpu.entries(x, W, shift, select, by_row)
    columns, values, certain = nominated(x, W, shift, select.k)
    if not certain.all():
        again = (~certain).nonzero()[:, 0]
        _, features, found = cpu.entries(x[again], W, shift, select, by_row)
        columns[again], values[again] = features.view(-1, select.k), found.view(-1, select.k)
    return torch.arange(0, columns.numel() + 1, select.k), columns.flatten(), values.flatten()


def nominated(x: Tensor, W: Tensor, shift: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The k largest of each row of x W + shift, by nomination: columns `[B, k] int64`, ascending, their entries
    `[B, k]`, and `[B] bool`, of which rows it is certain that they are.

    For x', w' rounded to bfloat16, |x w - x' w'| <= |x - x'| |w| + |x'| |w - w'| (Cauchy and Schwarz); a sum of D
    products rounds by at most D times the precision's unit of |x'| |w'|, and the result to bfloat16 once more.
    """
    half, rows = W.bfloat16(), W.T.contiguous()
    lengths = W.norm(dim=0).max()
    off = (W - half.to(W.dtype)).norm(dim=0).max()
    columns = torch.empty(len(x), k, dtype=torch.int64)
    values, certain = x.new_empty(len(x), k), torch.empty(len(x), dtype=torch.bool)

    def part(start: int, stop: int) -> None:
        own = x[start:stop]
        rounded = own.bfloat16()
        scores = torch.mm(rounded, half).to(x.dtype) + shift
        candidates = largest_of_rows(scores, k + EXTRA)
        highest = scores.gather(1, candidates).amin(1)  # of what is left out
        offsets = torch.arange(0, candidates.numel() + 1, k + EXTRA)
        exact = dots(offsets, candidates.flatten(), own, rows).view_as(candidates) + shift[candidates]
        best = largest_of_rows(exact, k)
        columns[start:stop], values[start:stop] = candidates.gather(1, best), exact.gather(1, best)
        # Of what is left out, a product above 0 may have been rounded down; one below 0 is at most its shift.
        there = rounded.to(x.dtype)
        error = (own - there).norm(dim=1) * lengths + there.norm(dim=1) * off
        error += 2 * x.shape[1] * torch.finfo(torch.float32).eps * own.norm(dim=1) * lengths
        most = torch.maximum(highest + _ROUNDING * (highest - shift.min()).clamp(min=0), shift.max())
        certain[start:stop] = values[start:stop].amin(1) > most + error

    in_parts(len(x), _ROWS, part)
    return columns, values, certain
