"""Which entries of a matrix are the largest, exactly. Shapes: B rows, F columns, n entries chosen.

Of few among many, the maxima of strided groups say at least how large the smallest chosen one is, and little else has
to be looked at again. Otherwise numpy's partition finds it, several times faster than a sort of the chosen ones (as in
torch.topk) would, and a second pass writes down where they stand. numpy's sort is ten times as fast as torch's, which
keeps track of places as well.

On a GPU the kernels of `cuda_select.py` do it where they can, and torch's own operators elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import ModuleType
from typing import no_type_check

import numpy as np
import torch
from numba import njit
from torch import Tensor

from unweave.dictionary.kernels import has_triton
from unweave.threads import in_parts


@dataclass(frozen=True)
class Largest:
    """The choice of the k largest of each row, as pairs: offsets `[B + 1] int64`, columns `[B k] int64`."""

    k: int

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.arange(0, self.k * len(x) + 1, self.k, device=x.device), largest_of_rows(x, self.k).flatten()


@dataclass(frozen=True)
class LargestOfAll:
    """The choice of the k B largest of all entries above 0, as pairs. Not all of them need be there at once: first a
    `bound` from a few rows, then the choice `among` what comes up to it."""

    k: int

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return at_least(x, largest_of_all(x, self.k * len(x)).clamp(min=torch.finfo(x.dtype).tiny))

    def bound(self, some: Tensor) -> Tensor:
        """A bound for the entries of all rows by `some [b, F]` of them: a quarter more of theirs than k each come up to
        it, and 8 standard deviations of that, so that of all rows together hardly ever too few do."""
        n = self.k * len(some)
        more = min(some.numel(), math.ceil(1.25 * n + 8 * n**0.5))
        return largest_of_all(some, more).clamp(min=torch.finfo(some.dtype).tiny)

    def among(self, offsets: Tensor, columns: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
        """The choice among pairs with their values that were not below a bound; None if they are too few for it."""
        n = self.k * (len(offsets) - 1)
        if len(values) < n:
            return None
        kept = (~(values < largest_of_all(values, n))).nonzero()[:, 0]  # with NaN
        return torch.searchsorted(kept, offsets), columns[kept], values[kept]


@dataclass(frozen=True, eq=False)
class Above:
    """The choice of all entries above their column's floor, `[F]` or a scalar, as pairs."""

    floor: Tensor

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return above(x, self.floor)


positive = Above(torch.zeros(()))
"""The choice of the entries above 0, and of NaN."""


def largest_of_rows(x: Tensor, k: int) -> Tensor:
    """`[B, k] int64`: the columns of the k largest entries in each row of `x [B, F]`, in ascending order.

    Of equal entries the first are taken (not by torch's own operators on other devices, which take any). A NaN counts
    as the largest: it goes on to where it is noticed.
    """
    if (gpu := _for_gpu(x)) and gpu.possible(x, k):
        return gpu.largest_of_rows(x, k)
    if x.device.type != "cpu":
        return x.topk(k, dim=-1, sorted=False).indices.sort(dim=-1).values
    values, width = x.numpy(), x.shape[1]
    chosen = np.empty((len(values), k), np.int64)
    if width >= _MANY * k:
        _columns_by_groups(values, max(64, 1 << (2 * k - 1).bit_length()), chosen)
    else:
        _columns_from(values, kth_largest(x, k)[:, 0].numpy(), chosen)
    return torch.from_numpy(chosen)


def kth_largest(x: Tensor, k: int) -> Tensor:
    """`[B, 1]`: of each row of `x [B, F]` the k-th largest entry. A NaN counts as the largest."""
    if x.device.type != "cpu":
        return x.topk(k, dim=1).values[:, -1:]
    place = x.shape[1] - k
    return torch.from_numpy(np.partition(x.numpy(), place, axis=1)[:, place : place + 1].copy())


_MANY = 64
"""So many times as many entries as are chosen, and groups are faster than a partition: twice at 4,096 with k = 32, 3.5
times at 32,768; at half as many both take as long."""


def largest_of_all(x: Tensor, n: int) -> Tensor:
    """The smallest among the n largest entries of `x`, of any shape: a scalar. A NaN counts as the largest."""
    if x.device.type != "cpu":
        return x.flatten().topk(n, sorted=False).values.min()
    values = x.numpy().reshape(-1)
    if values.size >= _SAMPLED * n:
        # Few are not below what a sample has too many above: nearly always all that are looked for, and then no others.
        sample = values[::_EVERY].copy()
        above = n * len(sample) / values.size
        place = len(sample) - min(len(sample), math.ceil(above + 5 * above**0.5 + 5))
        found = np.empty(2 * n + _EVERY, values.dtype)
        count = _not_below(values, np.partition(sample, place)[place], found)
        if n <= count <= len(found):
            values = found[:count]
    return torch.from_numpy(np.partition(values, values.size - n)[values.size - n :][:1]).squeeze(0)


_SAMPLED, _EVERY = 16, 61
"""So many times as many entries as are chosen, and a sample of every 61st (in rows of most widths, of another column
each time) is worth drawing: at 4,096 rows of 4,096 with n 32 a row, 1.3 times as fast as a partition of them all."""


def largest_of_groups(x: Tensor, k: int) -> Tensor:
    """`[B, k] int64`: the columns of the largest entries of k groups in each row of `x [B, F]`, in ascending order; a
    group is of columns that are equal modulo k, F at least k.

    Of equal entries the first is taken; a NaN counts as the largest.
    """
    if x.device.type != "cpu":
        dealt = torch.nn.functional.pad(x, (0, -x.shape[1] % k), value=-torch.inf).unflatten(1, (-1, k))
        return (dealt.argmax(1) * k + torch.arange(k, device=x.device)).sort(dim=1).values
    chosen = np.empty((len(x), k), np.int64)
    _columns_of_groups(x.numpy(), chosen)
    return torch.from_numpy(chosen)


def descending(x: Tensor) -> Tensor:
    """The entries of each row of `x [B, F]`, the largest first. Without gradient: where they stood is not kept."""
    if x.device.type != "cpu":
        return x.sort(dim=-1, descending=True).values
    return torch.from_numpy(-np.sort(-x.numpy(), axis=1))


def at_least(x: Tensor, least: Tensor) -> tuple[Tensor, Tensor]:
    """The entries of `x [B, F]` that are not below the finite scalar `least`, row by row: offsets `[B + 1] int64`,
    columns `[n] int64`."""
    if gpu := _for_gpu(x):
        return gpu.at_least(x, least)
    return above(x, least.nextafter(torch.full_like(least, -torch.inf)))


def above(x: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
    """The entries of `x [B, F]` that are above their column's floor, `[F]` or a scalar, row by row: offsets
    `[B + 1] int64`, columns `[n] int64`. A NaN is not below anything: it goes on to where it is noticed."""
    if gpu := _for_gpu(x):
        return gpu.above(x, floor)
    if x.device.type != "cpu":
        return _where(~(x <= floor))
    values, least = x.numpy(), floor.to(x).expand(x.shape[1]).contiguous().numpy()
    offsets = np.zeros(len(x) + 1, np.int64)
    in_parts(len(x), _ROWS, lambda start, stop: _count_above(values[start:stop], least, offsets[start + 1 : stop + 1]))
    np.cumsum(offsets, out=offsets)
    columns = np.empty(offsets[-1], np.int64)

    def fill(start: int, stop: int) -> None:
        _entries_above(values[start:stop], least, columns[offsets[start] : offsets[stop]])

    in_parts(len(x), _ROWS, fill)
    return torch.from_numpy(offsets), torch.from_numpy(columns)


_ROWS = 512  # that a thread takes at once


def _for_gpu(x: Tensor) -> ModuleType | None:
    """The kernels for where x is; None if it is on no GPU, or triton is missing."""
    if x.device.type != "cuda" or not has_triton():
        return None
    from unweave.dictionary.kernels import cuda_select

    return cuda_select


def _where(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Offsets and columns of what is true in `chosen [B, F] bool`."""
    return torch.nn.functional.pad(chosen.sum(-1).cumsum(0), (1, 0)), chosen.nonzero()[:, 1].contiguous()


def rest_of_rows(offsets: Tensor, values: Tensor, k: int) -> Tensor:
    """`[n] bool`: which of `values [n]`, those of row b from offsets[b] to offsets[b + 1], are not among the k largest
    of their row. Of equal values the first count as larger."""
    rest = np.zeros(len(values), np.bool_)
    _rest(offsets.cpu().numpy(), values.cpu().numpy(), k, rest)
    return torch.from_numpy(rest).to(values.device)


@njit(cache=True, nogil=True)
@no_type_check
def _not_below(values, bound, found):
    """How many of `values [n]` are not below the bound; the first of them, as many as there is room for, in `found`."""
    count, room = 0, len(found)
    for start in range(0, len(values), 16):
        block, n = values[start : start + 16], 0
        for value in block:
            n += not value < bound
        if n:  # most blocks have none
            for value in block:
                if not value < bound:
                    if count < room:
                        found[count] = value
                    count += 1
    return count


@njit(cache=True, nogil=True)
@no_type_check
def _count_above(values, floor, counts):
    for b in range(len(values)):
        row, n = values[b], 0
        for column in range(len(row)):
            n += not row[column] <= floor[column]
        counts[b] = n


@njit(cache=True, nogil=True)
@no_type_check
def _entries_above(values, floor, columns):
    at, width, n = 0, values.shape[1], len(columns)
    chosen = np.zeros(-(-width // 8) * 8, np.uint8)
    eights = chosen.view(np.uint64)
    for b in range(len(values)):
        row = values[b]
        for column in range(width):
            chosen[column] = not row[column] <= floor[column]
        for i in range(len(eights)):
            if eights[i]:  # of sparse codes most are not: eight entries looked at at once
                if at + 8 <= n:  # room enough to write a column before it is known whether it counts
                    for column in range(8 * i, 8 * i + 8):
                        columns[at] = column
                        at += chosen[column]
                else:
                    for column in range(8 * i, 8 * i + 8):
                        if chosen[column]:
                            columns[at] = column
                            at += 1


@njit(cache=True, nogil=True)
@no_type_check
def _rest(offsets, values, k, rest):
    for b in range(len(offsets) - 1):
        start, end = offsets[b], offsets[b + 1]
        if end - start <= k:
            continue
        row = values[start:end]
        least = np.partition(row, end - start - k)[end - start - k]
        ties = k
        for value in row:
            ties -= value > least
        for i in range(end - start):
            tied = row[i] == least
            rest[start + i] = row[i] < least or (tied and ties <= 0)
            ties -= tied


@njit(cache=True, nogil=True)
@no_type_check
def _columns_from(values, smallest, chosen):
    """Of each row, as many columns as `chosen [B, k]` has, whose values are not below the row's `smallest`."""
    width = values.shape[1]
    columns, likely = np.empty(width + 1, np.int64), np.zeros(-(-width // 8) * 8, np.uint8)
    for b in range(len(values)):
        least = smallest[b] if smallest[b] == smallest[b] else values.dtype.type(np.inf)  # k NaN or more
        n = _likely(values[b], least, likely, columns)
        _choose(values[b], columns, n, least, chosen[b])


@njit(cache=True, nogil=True)
@no_type_check
def _likely(row, bound, likely, columns):
    """How many entries of the row are not below the bound; the first of `columns`, room for one more than there are
    entries: where they stand. likely: zeros, as many as there are entries and up to a multiple of 8."""
    n, eights = 0, likely.view(np.uint64)
    for column in range(len(row)):
        likely[column] = not row[column] < bound  # true of NaN
    for i in range(len(eights)):
        if eights[i]:  # often there are none: eight columns looked at at once
            for column in range(8 * i, 8 * i + 8):
                columns[n] = column
                n += likely[column]
    return n


@njit(cache=True, nogil=True)
@no_type_check
def _choose(row, columns, n, least, chosen):
    """Of the first n columns, as many as `chosen [k]` has, whose entries are not below `least`, the k-th largest."""
    k = len(chosen)
    if n == k:
        chosen[:] = columns[:k]
        return
    ties = k
    for i in range(n):
        ties -= not row[columns[i]] <= least  # true of NaN
    at = 0
    for i in range(n):
        value = row[columns[i]]
        if at < k and not value < least and (value != least or ties > 0):
            ties -= value == least
            chosen[at] = columns[i]
            at += 1


@njit(cache=True, nogil=True)
@no_type_check
def _columns_of_groups(values, chosen):
    k, width = chosen.shape[1], values.shape[1]
    largest, column = np.empty(k, values.dtype), np.empty(k, np.int64)
    taken = np.zeros(width, np.int64)
    for b in range(len(values)):
        row = values[b]
        largest[:] = row[:k]
        column[:] = np.arange(k)
        for start in range(k, width, k):
            part = row[start : start + k]
            for g in range(len(part)):
                better = part[g] > largest[g] or part[g] != part[g]
                largest[g] = part[g] if better else largest[g]
                column[g] = start + g if better else column[g]
        taken[column] = 1
        at = 0
        for j in range(width):
            if at < k:
                chosen[b, at] = j
                at += taken[j]
            taken[j] = 0


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _columns_by_groups(values, groups, chosen):
    """`groups`: a number between k and F; column j is in group j mod `groups`."""
    k, width = chosen.shape[1], values.shape[1]
    largest, found = np.empty(groups, values.dtype), np.empty(width, values.dtype)
    columns, likely = np.empty(width + 1, np.int64), np.zeros(-(-width // 8) * 8, np.uint8)
    for b in range(len(values)):
        row = values[b]
        largest[:] = -np.inf
        for start in range(0, width - groups + 1, groups):
            part = row[start : start + groups]
            for j in range(groups):
                largest[j] = part[j] if part[j] > largest[j] else largest[j]
        # k entries are not below the k-th of the groups' maxima: no other entry below it is chosen.
        n = _likely(row, _largest(largest, groups, k), likely, columns)
        for i in range(n):
            value = row[columns[i]]
            found[i] = value if value == value else np.inf
        _choose(row, columns, n, _largest(found, n, k), chosen[b])


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _largest(values, n, k):
    """The k-th largest of the first n values, none of them NaN; their order changes (Hoare's quickselect)."""
    low, high = 0, n - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k - 1 <= j:
            high = j
        elif k - 1 >= i:
            low = i
        else:
            break
    return values[k - 1]
