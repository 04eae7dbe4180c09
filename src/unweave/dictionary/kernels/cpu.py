"""Products over active pairs on a processor: numba's kernels, on as many threads as they may use (`unweave.threads`).

The encoder's product, 2 B F D operations at the rate of torch's own, is the floor. Beside it stand the choice, one
reading of pre-activations that the processor's cache still holds, and 8 n D operations of sums over rows of a table,
which wait for memory and run at a fifth of the product's rate; at a third of it where pairs are so many that a tile of
the table can be kept at hand for many sums. Shapes as in `pairs`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, no_type_check

import numpy as np
import torch
from numba import njit
from torch import Tensor

from unweave.dictionary.kernels.select import LargestOfAll, at_least
from unweave.threads import in_parts

SHARE = 0.2
"""A dense step is 10 B F D operations; a short one 2 B F D of the same and 8 n D here, at a third of the speed. Both
took as long at 0.19 (D 128, F 512), 0.24 and 0.28 (D 512, F 4,096) of all pairs (benchmarks/training.py)."""

_ROWS = 512  # at a time: few enough for memory that is used over again; with 128, products take a tenth longer
_PROBE = 64  # rows or more that tell what is worth keeping of the others
_PART = 512  # rows or features that a thread takes at once: fewer take less time than it takes to ask for them

_TILE = 1 << 18  # bytes of a table: half of a small second-level cache
_SHARING = 128  # sums that go through a tile in turn, before the next tile is loaded
_WORTH = 4  # pairs of one sum in a tile; at 3 a tile gains nothing, at 8 it is 1.4 times as fast, at 15 1.6 times


def entries(
    x: Tensor, W: Tensor, shift: Tensor, select: Callable[[Tensor], tuple[Tensor, Tensor]], by_row: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """What `select` chooses of x W + shift: offsets, features, the entries. Its rows are worked on in parts, whose
    pre-activations are never all there at once; but where it looks at all of them (not by_row) and not for the
    largest alone, they must be."""
    if by_row:
        return _chosen(x, W, shift, select)
    if isinstance(select, LargestOfAll) and len(x) > _ROWS:
        bound = select.bound(some(x, W, shift))
        found = select.among(*_chosen(x, W, shift, lambda pre: at_least(pre, bound)))
        if found is not None:
            return found
    pre = x.new_empty(len(x), W.shape[1])
    in_parts(len(x), _ROWS, lambda start, stop: torch.addmm(shift, x[start:stop], W, out=pre[start:stop]))
    offsets, features = select(pre)
    return offsets, features, _gathered(offsets, features, pre)


def some(x: Tensor, W: Tensor, shift: Tensor) -> Tensor:
    """`[b, F]`: the pre-activations of a few rows, from everywhere among them."""
    return torch.addmm(shift, x[:: max(1, len(x) // _PROBE)], W)


def _chosen(
    x: Tensor, W: Tensor, shift: Tensor, select: Callable[[Tensor], tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor, Tensor]:
    free: list[Tensor] = []  # memory that no thread uses at the moment

    def part(start: int, stop: int) -> tuple[Tensor, Tensor, Tensor]:
        buffer = free.pop() if free else x.new_empty(min(_ROWS, len(x)), W.shape[1])
        pre = torch.addmm(shift, x[start:stop], W, out=buffer[: stop - start])
        offsets, features = select(pre)
        found = offsets.diff(), features, _gathered(offsets, features, pre)
        free.append(buffer)
        return found

    return in_turn(x, _ROWS, part)


def in_turn(
    x: Tensor, rows: int, part: Callable[[int, int], tuple[Tensor, Tensor, Tensor]]
) -> tuple[Tensor, Tensor, Tensor]:
    """Offsets, features and entries of all rows of `x`, from how many each row has, features and entries of `rows` of
    them at a time, from `start` to before `stop`."""
    found = [(x.new_empty(0),) * 3] * -(-len(x) // rows)

    def kept(start: int, stop: int) -> None:
        found[start // rows] = part(start, stop)

    in_parts(len(x), rows, kept)
    counts, features, values = (torch.cat(each) for each in zip(*found, strict=True))
    return torch.nn.functional.pad(counts.cumsum(0), (1, 0)), features, values


def _gathered(offsets: Tensor, features: Tensor, pre: Tensor) -> Tensor:
    out = pre.new_empty(len(features))
    _gather(offsets.numpy(), features.numpy(), pre.numpy(), out.numpy())
    return out


def sums(offsets: Tensor, sources: Tensor, weights: Tensor, table: Tensor) -> Tensor:
    """`[len(offsets) - 1, D]`: row i is the sum of `table[sources[p]]` times `weights[p]` over
    offsets[i] <= p < offsets[i + 1]."""
    out = table.new_empty(len(offsets) - 1, table.shape[1])
    at, of, by, rows, to = arrays(offsets, sources, weights, table, out)
    tile = _tile(len(sources), len(out), table)
    in_parts(len(out), _PART, lambda start, stop: _weighted_sums(start, stop, tile, at, of, by, rows, to))
    return out


def column_sums(offsets: Tensor, sources: Tensor, weights: Tensor, table: Tensor) -> Tensor:
    """The same as columns: `[D, len(offsets) - 1]`."""
    out = table.new_empty(table.shape[1], len(offsets) - 1)
    at, of, by, rows, to = arrays(offsets, sources, weights, table, out)
    tile = _tile(len(sources), out.shape[1], table)
    in_parts(out.shape[1], _PART, lambda start, stop: _weighted_column_sums(start, stop, tile, at, of, by, rows, to))
    return out


def dots(offsets: Tensor, features: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """`[n]`: of each pair, its row of `left [B, D]` times its feature's of `right [F, D]`."""
    out = left.new_empty(len(features))
    at, of, a, b, to = arrays(offsets, features, left, right, out)
    tile = _tile(len(features), len(left), right)
    in_parts(len(left), _PART, lambda start, stop: _dots(start, stop, tile, at, of, a, b, to))
    return out


def by_feature(offsets: Tensor, features: Tensor, weights: Tensor, d_sae: int) -> tuple[Tensor, Tensor, Tensor]:
    """The same pairs feature by feature: offsets `[F + 1]`, rows `[n]` and the weights in that order."""
    starts = torch.zeros(d_sae + 1, dtype=torch.int64)
    torch.cumsum(torch.bincount(features, minlength=d_sae), 0, out=starts[1:])
    rows, ordered = torch.empty_like(features), torch.empty_like(weights)
    _transpose(*arrays(offsets, features, weights, starts[:-1].clone(), rows, ordered))
    return starts, rows, ordered


def _tile(pairs: int, rows: int, table: Tensor) -> int:
    """How many rows of the table the sums go through at a time: all, if each of `rows` sums has few among fewer."""
    few = max(1, _TILE // (table.shape[1] * table.element_size()))
    return few if pairs * few >= _WORTH * rows * len(table) else len(table)


def arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


# Sums in any order, so that they run on vector units; nothing else of "fastmath": NaN must stay what it is.
_FAST: dict[str, Any] = {
    "cache": True, "nogil": True, "fastmath": {"reassoc", "contract"}, "error_model": "numpy"
}  # fmt: skip


@njit(**_FAST)
@no_type_check
def _gather(offsets, features, table, out):
    for row in range(len(offsets) - 1):
        for pair in range(offsets[row], offsets[row + 1]):
            out[pair] = table[row, features[pair]]


@njit(**_FAST)
@no_type_check
def _transpose(offsets, features, weights, at, rows, ordered):
    """A counting sort; `at [F]` begins as where each feature's pairs begin."""
    for row in range(len(offsets) - 1):
        for pair in range(offsets[row], offsets[row + 1]):
            to = at[features[pair]]
            rows[to] = row
            ordered[to] = weights[pair]
            at[features[pair]] = to + 1


@njit(**_FAST)
@no_type_check
def _below(pair, end, sources, bound):
    """The first of the pairs from `pair` to `end` whose source is not below the bound; they ascend."""
    while pair < end and sources[pair] < bound:
        pair += 1
    return pair


@njit(**_FAST)
@no_type_check
def _add(pair, end, sources, weights, table, total):
    """total += the sum over the pairs from `pair` to `end`."""
    width = len(total)
    while pair + 4 <= end:  # four at a time: the total is read and written once for four products
        a, b, c, d = weights[pair], weights[pair + 1], weights[pair + 2], weights[pair + 3]
        u, v = table[sources[pair]], table[sources[pair + 1]]
        w, x = table[sources[pair + 2]], table[sources[pair + 3]]
        for t in range(width):
            total[t] += a * u[t] + b * v[t] + c * w[t] + d * x[t]
        pair += 4
    while pair < end:
        a, u = weights[pair], table[sources[pair]]
        for t in range(width):
            total[t] += a * u[t]
        pair += 1


@njit(**_FAST)
@no_type_check
def _add_all(start, stop, tile, offsets, sources, weights, table, totals):
    """totals[i - start] = the sum over the pairs of row i, start <= i < stop, `tile` rows of the table at a time."""
    at = offsets[start:stop].copy()
    totals[: stop - start] = 0
    for bound in range(tile, len(table) + tile, tile):
        for i in range(start, stop):
            pair, end = at[i - start], offsets[i + 1]
            if bound < len(table):
                end = _below(pair, end, sources, bound)
            _add(pair, end, sources, weights, table, totals[i - start])
            at[i - start] = end


@njit(**_FAST)
@no_type_check
def _weighted_sums(start, stop, tile, offsets, sources, weights, table, out):
    for first in range(start, stop, _SHARING):
        last = min(first + _SHARING, stop)
        _add_all(first, last, tile, offsets, sources, weights, table, out[first:last])


@njit(**_FAST)
@no_type_check
def _weighted_column_sums(start, stop, tile, offsets, sources, weights, table, out):
    width = len(out)
    totals = np.empty((_SHARING, width), table.dtype)
    for first in range(start, stop, _SHARING):
        last = min(first + _SHARING, stop)
        _add_all(first, last, tile, offsets, sources, weights, table, totals)
        for left in range(first, last, 16):  # sixteen columns at a time: a row of them fills a line of the cache
            for t in range(width):
                for i in range(left, min(left + 16, last)):
                    out[t, i] = totals[i - first, t]


@njit(**_FAST)
@no_type_check
def _dots(start, stop, tile, offsets, features, left, right, out):
    at = offsets[start:stop].copy()
    for first in range(start, stop, _SHARING):
        last = min(first + _SHARING, stop)
        for bound in range(tile, len(right) + tile, tile):
            for row in range(first, last):
                pair, end = at[row - start], offsets[row + 1]
                if bound < len(right):
                    end = _below(pair, end, features, bound)
                _row_dots(pair, end, features, left[row], right, out)
                at[row - start] = end


@njit(**_FAST)
@no_type_check
def _row_dots(pair, end, features, u, right, out):
    width, zero = len(u), u.dtype.type(0)
    while pair + 4 <= end:  # four at a time: u is read once for four products, which do not wait for one another
        v, w = right[features[pair]], right[features[pair + 1]]
        x, y = right[features[pair + 2]], right[features[pair + 3]]
        a = b = c = d = zero
        for t in range(width):
            a += u[t] * v[t]
            b += u[t] * w[t]
            c += u[t] * x[t]
            d += u[t] * y[t]
        out[pair], out[pair + 1], out[pair + 2], out[pair + 3] = a, b, c, d
        pair += 4
    while pair < end:
        a, v = zero, right[features[pair]]
        for t in range(width):
            a += u[t] * v[t]
        out[pair] = a
        pair += 1
