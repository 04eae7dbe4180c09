"""The largest pre-activations, of each row or of all, or those above a floor, by bounds that cost less than they do.

Bounds say of nearly all that they are not among them. Of each row k and a few more, those with the highest bounds, are
computed in full: the k largest of these are the k largest of all wherever the k-th is above the bounds of what was left
out, and rows of which that is not so are computed in full. Of a batch, what has a bound that is not below what all
chosen ones are; where there are floors, what has a bound above its own. So the codes are those of `cpu`, but for
rounding and for entries as near to one another as that.
Shapes: B rows, D width, F columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from unweave.dictionary.kernels import cpu, select
from unweave.dictionary.kernels.select import Above, Largest, LargestOfAll, largest_of_rows
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
    choice: Callable[[Tensor], tuple[Tensor, Tensor]],
    by_row: bool,
    kind: type[Bounds],
) -> tuple[Tensor, Tensor, Tensor]:
    """As `cpu.entries`; with bounds of that kind where the largest are chosen, or what is above a floor, in float32."""
    if x.dtype != torch.float32:
        return cpu.entries(x, W, shift, choice, by_row)
    if isinstance(choice, Above):
        return above(x, kind(W, shift), choice.floor)
    if isinstance(choice, LargestOfAll):
        below = choice.bound(cpu.some(x, W, shift)).nextafter(x.new_tensor(-torch.inf))
        found = choice.among(*above(x, kind(W, shift), below))
        if found is not None:
            return found
    if isinstance(choice, Largest) and choice.k + kind.extra < W.shape[1]:
        columns, values, certain = nominated(x, kind(W, shift), choice.k)
        if not certain.all():
            again = (~certain).nonzero()[:, 0]
            _, features, exact = cpu.entries(x[again], W, shift, choice, by_row)
            columns[again], values[again] = features.view(-1, choice.k), exact.view(-1, choice.k)
        return torch.arange(0, columns.numel() + 1, choice.k), columns.flatten(), values.flatten()
    return cpu.entries(x, W, shift, choice, by_row)


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


def above(x: Tensor, bounds: Bounds, floor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The entries above their column's floor, `[F]` or a scalar, row by row: offsets `[B + 1] int64`, columns `[n]`,
    the entries `[n]`."""
    least = floor.to(x).expand(len(bounds.shift))

    def part(start: int, stop: int) -> tuple[Tensor, Tensor, Tensor]:
        own = x[start:stop]
        offsets, columns = select.above(bounds.above(own), floor)
        exact = cpu.dots(offsets, columns, own, bounds.table) + bounds.shift[columns]
        kept = (~(exact <= least[columns])).nonzero()[:, 0]  # with NaN
        return torch.searchsorted(kept, offsets).diff(), columns[kept], exact[kept]

    return cpu.in_turn(x, _ROWS, part)
