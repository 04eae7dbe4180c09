"""The largest pre-activations, of each row or of all, by bounds that cost less than they do.

Bounds say of nearly all that they are not among them. Of each row k and a few more, those with the highest bounds, are
computed in full: the k largest of these are the k largest of all wherever the k-th is above the bounds of what was left
out, and rows of which that is not so are computed in full. Of a batch, what has a bound that is not below what all
chosen ones are. So the codes are those of `cpu`, but for rounding and for entries as near to one another as that.
Shapes: B rows, D width, F columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from unweave.dictionary.kernels import cpu
from unweave.dictionary.kernels.select import Largest, LargestOfAll, at_least, largest_of_rows
from unweave.threads import in_parts

UNSEEN = 1e-16
"""Added to lengths and distances: entries below 1e-19 have squares that are 0 as floats."""

_ROWS = 240  # at a time: whole tiles of bounds by integers, whose other side stays in the second-level cache


class Bounds(ABC):
    """Of x W + shift, for any x. table: `[F, D]`, W's columns. extra: how many more than k are worth computing."""

    extra: int

    def __init__(self, W: Tensor, shift: Tensor) -> None:
        self.table, self.shift = W.T.contiguous(), shift

    @abstractmethod
    def above(self, x: Tensor) -> Tensor:
        """`[B, F]`: no pre-activation of `x [B, D]` is above these, nor is any as floats compute it; NaN, or infinite,
        where that is not known."""


def entries(
    x: Tensor,
    W: Tensor,
    shift: Tensor,
    select: Callable[[Tensor], tuple[Tensor, Tensor]],
    by_row: bool,
    kind: type[Bounds],
) -> tuple[Tensor, Tensor, Tensor]:
    """As `cpu.entries`; with bounds of that kind where the largest are chosen, in float32."""
    if isinstance(select, LargestOfAll) and x.dtype == torch.float32:
        found = select.among(*not_below(x, kind(W, shift), select.bound(cpu.some(x, W, shift))))
        if found is not None:
            return found
    if isinstance(select, Largest) and x.dtype == torch.float32 and select.k + kind.extra < W.shape[1]:
        columns, values, certain = nominated(x, kind(W, shift), select.k)
        if not certain.all():
            again = (~certain).nonzero()[:, 0]
            _, features, exact = cpu.entries(x[again], W, shift, select, by_row)
            columns[again], values[again] = features.view(-1, select.k), exact.view(-1, select.k)
        return torch.arange(0, columns.numel() + 1, select.k), columns.flatten(), values.flatten()
    return cpu.entries(x, W, shift, select, by_row)


def nominated(x: Tensor, bounds: Bounds, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The k largest of each row, by nomination: columns `[B, k] int64`, ascending, their entries `[B, k]`, and
    `[B] bool`, of which rows it is certain that they are."""
    columns, many = torch.empty(len(x), k, dtype=torch.int64), k + bounds.extra
    values, certain = x.new_empty(len(x), k), torch.empty(len(x), dtype=torch.bool)

    def part(start: int, stop: int) -> None:
        own = x[start:stop]
        above = bounds.above(own)
        candidates = largest_of_rows(above, many)
        offsets = torch.arange(0, candidates.numel() + 1, many)
        products = cpu.dots(offsets, candidates.flatten(), own, bounds.table)
        exact = products.view_as(candidates) + bounds.shift[candidates]
        best = largest_of_rows(exact, k)
        columns[start:stop], values[start:stop] = candidates.gather(1, best), exact.gather(1, best)
        certain[start:stop] = values[start:stop].amin(1) > above.gather(1, candidates).amin(1)

    in_parts(len(x), _ROWS, part)
    return columns, values, certain


def not_below(x: Tensor, bounds: Bounds, least: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The entries that are not below the finite scalar `least`, row by row: offsets `[B + 1] int64`, columns `[n]`,
    the entries `[n]`."""

    def part(start: int, stop: int) -> tuple[Tensor, Tensor, Tensor]:
        own = x[start:stop]
        offsets, columns = at_least(bounds.above(own), least)
        exact = cpu.dots(offsets, columns, own, bounds.table) + bounds.shift[columns]
        kept = (~(exact < least)).nonzero()[:, 0]  # with NaN
        return torch.searchsorted(kept, offsets).diff(), columns[kept], exact[kept]

    return cpu.in_turn(x, _ROWS, part)
