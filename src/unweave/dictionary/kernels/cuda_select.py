"""Which entries of a matrix are the largest, exactly, on a GPU: what `select.py` does there.

In Triton, so this module is imported only where that is installed. Checked in Triton's interpreter alone so far, on a
processor: these kernels have not yet run on a GPU, and no time of theirs is known. The floor that they aim at is one
pass over the matrix, 4 B F bytes in single precision, for `largest_of_rows`, and two for the others, whose number of
entries is not known before; torch.topk takes a pass for every 8 bits of an entry, and a sort.

Entries are compared as whole numbers in the same order, in which a NaN is above all others. Shapes: B rows, F columns,
n entries chosen.
"""

from __future__ import annotations

from typing import no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor

from unweave.dictionary.kernels.cuda import power_of_2

_MOST = 1 << 14  # entries that one program can hold and choose among
_AT_ONCE = 4096  # entries that are read before any is looked at
_BLOCK = 1024  # entries of a row at a time, where they are read one after another


def possible(x: Tensor, k: int) -> bool:
    """Whether `largest_of_rows` can: the groups that are looked at again are few enough for one program."""
    groups, size = _groups(x.shape[1], k)
    return x.dtype in (torch.float32, torch.float64) and groups <= _MOST and power_of_2(k) * size <= _MOST


def _groups(width: int, k: int) -> tuple[int, int]:
    """How many groups a row is dealt into, column j to group j mod that, and how many columns a group has at most: both
    powers of two. About as many groups as there are columns in the k of them that are looked at again."""
    groups = max(64, power_of_2(2 * k), power_of_2(int((width * k) ** 0.5)))
    groups = min(groups, power_of_2(max(width, k)))
    return groups, power_of_2(-(-width // groups))


def largest_of_rows(x: Tensor, k: int) -> Tensor:
    """`[B, k] int64`: the columns of the k largest entries in each row of `x [B, F]`, in ascending order.

    Of equal entries the first are taken. A NaN counts as the largest. Only where `possible` says so.
    """
    x, width = x.contiguous(), x.shape[1]
    chosen = torch.empty(len(x), k, dtype=torch.int64, device=x.device)
    groups, size = _groups(width, k)
    step, key = max(1, min(size, _AT_ONCE // groups)), tl.int32 if x.element_size() == 4 else tl.int64
    if len(x):
        with torch.cuda.device_of(x):
            _largest[(len(x),)](
                x, chosen, width, k, groups, size, power_of_2(k), step, key, 8 * x.element_size(),
                num_warps=8 if groups > _AT_ONCE // 2 else 4,  # type: ignore[call-arg]  of every launch
            )  # fmt: skip
    return chosen


def at_least(x: Tensor, least: Tensor) -> tuple[Tensor, Tensor]:
    """The entries of `x [B, F]` that are not below the scalar `least`, row by row: offsets `[B + 1] int64`, columns
    `[n] int64`."""
    return _entries(x, least, or_equal=True)


def above(x: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
    """The entries of `x [B, F]` that are above their column's floor, `[F]` or a scalar, row by row: offsets
    `[B + 1] int64`, columns `[n] int64`."""
    return _entries(x, floor, or_equal=False)


def _entries(x: Tensor, floor: Tensor, or_equal: bool) -> tuple[Tensor, Tensor]:
    x, floor, width = x.contiguous(), floor.to(x).contiguous(), x.shape[1]
    stride = 0 if floor.numel() == 1 else 1
    offsets = torch.zeros(len(x) + 1, dtype=torch.int64, device=x.device)
    with torch.cuda.device_of(x):
        if len(x):
            _count[(len(x),)](x, floor, offsets, width, stride, or_equal, _BLOCK)
        offsets = offsets.cumsum(0)
        columns = torch.empty(int(offsets[-1]), dtype=torch.int64, device=x.device)
        if len(columns):
            _emit[(len(x),)](x, floor, offsets, columns, width, stride, or_equal, _BLOCK)
    return offsets, columns


@triton.jit
@no_type_check
def _passes(x, floor, row, j, width, stride, OR_EQUAL: tl.constexpr):
    """Which of the columns j pass. A NaN is not below anything: it is passed on to where it is noticed."""
    inside = j < width
    value = tl.load(x + row * width + j, mask=inside, other=0)
    least = tl.load(floor + j * stride, mask=inside, other=0)
    below = value < least if OR_EQUAL else value <= least
    return inside & (below == 0)


@triton.jit
@no_type_check
def _count(x, floor, offsets, width, stride, OR_EQUAL: tl.constexpr, BLOCK: tl.constexpr):
    """offsets `[B + 1]` begins as zeros; entry b + 1 becomes the number of row b."""
    row = tl.program_id(0).to(tl.int64)
    n = tl.zeros([BLOCK], tl.int32)
    for start in range(0, width, BLOCK):
        n += _passes(x, floor, row, start + tl.arange(0, BLOCK), width, stride, OR_EQUAL).to(tl.int32)
    tl.store(offsets + row + 1, tl.sum(n, 0).to(tl.int64))


@triton.jit
@no_type_check
def _emit(x, floor, offsets, columns, width, stride, OR_EQUAL: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.load(offsets + row)
    for start in range(0, width, BLOCK):
        j = start + tl.arange(0, BLOCK)
        passes = _passes(x, floor, row, j, width, stride, OR_EQUAL).to(tl.int32)
        tl.store(columns + at + tl.cumsum(passes, 0) - 1, j.to(tl.int64), mask=passes > 0)
        at += tl.sum(passes, 0)


@triton.jit
@no_type_check
def _lowest(KEY: tl.constexpr, BITS: tl.constexpr):
    """The smallest number of its kind, a key of nothing."""
    return tl.full([], 1, KEY) << (BITS - 1)


@triton.jit
@no_type_check
def _keys(at, mask, KEY: tl.constexpr, BITS: tl.constexpr):
    """The entries there as whole numbers in the same order, a NaN above all others and what is masked out below."""
    x = tl.load(at, mask=mask, other=0)
    x = tl.where(x == 0, 0.0, x)  # the two zeros are equal
    lowest = _lowest(KEY, BITS)
    highest = lowest ^ -1
    bits = x.to(KEY, bitcast=True)
    bits = tl.where(x == x, bits ^ ((bits >> (BITS - 1)) & highest), highest)
    return tl.where(mask, bits, lowest)


@triton.jit
@no_type_check
def _kth(keys, k, KEY: tl.constexpr, BITS: tl.constexpr):
    """The k-th largest of them, bit by bit: each is set if k of them are still not below."""
    one = tl.full([], 1, KEY)
    found = _lowest(KEY, BITS)
    for i in range(BITS):
        higher = found ^ (one << (BITS - 1 - i))
        found = tl.where(tl.sum((keys >= higher).to(tl.int32), 0) >= k, higher, found)
    return found


@triton.jit
@no_type_check
def _largest(
    x,
    chosen,
    width,
    k,
    GROUPS: tl.constexpr,
    SIZE: tl.constexpr,
    K: tl.constexpr,
    STEP: tl.constexpr,
    KEY: tl.constexpr,
    BITS: tl.constexpr,
):
    """One row. The k-th largest of the groups' maxima bounds the k-th largest entry from below, so that nothing but the
    k groups whose maxima are not below it has to be looked at again, unless more are as large as it."""
    row = tl.program_id(0).to(tl.int64)
    x += row * width
    chosen += row * k
    group = tl.arange(0, GROUPS)
    maxima = tl.broadcast_to(_lowest(KEY, BITS), [GROUPS])
    for start in range(0, SIZE, STEP):
        j = (start + tl.arange(0, STEP))[:, None] * GROUPS + group[None, :]
        maxima = tl.maximum(maxima, tl.max(_keys(x + j, j < width, KEY, BITS), 0))
    bound = _kth(maxima, k, KEY, BITS)
    n_likely = tl.sum((maxima >= bound).to(tl.int32), 0)
    # Which groups, above all those above the bound: all threads must know, so it goes through memory.
    over = maxima > bound
    spare = k - tl.sum(over.to(tl.int32), 0)
    tied = (maxima == bound).to(tl.int32)
    taken = (over | ((tied > 0) & (tl.cumsum(tied, 0) <= spare))).to(tl.int32)
    tl.store(chosen + tl.cumsum(taken, 0) - 1, group.to(tl.int64), mask=taken > 0)
    tl.debug_barrier()
    lane = tl.arange(0, K)
    groups = tl.load(chosen + lane, mask=lane < k, other=0)
    tl.debug_barrier()  # `chosen` is written over below
    j = tl.reshape(tl.arange(0, SIZE)[:, None] * GROUPS + groups[None, :], [SIZE * K])  # ascending, row after row
    there = tl.reshape((tl.arange(0, SIZE) >= 0)[:, None] & (lane < k)[None, :], [SIZE * K]) & (j < width)
    keys = _keys(x + j, there, KEY, BITS)
    n_larger = tl.sum((keys > bound).to(tl.int32), 0)
    if (n_likely > k) & (n_larger < k):
        _from_all(x, chosen, width, k, bound, n_larger, GROUPS, KEY, BITS)
    else:
        least = _kth(keys, k, KEY, BITS)
        larger = keys > least
        ties = keys == least
        rest = k - tl.sum(larger.to(tl.int32), 0)
        passes = (larger | (ties & (tl.cumsum(ties.to(tl.int32), 0) <= rest))).to(tl.int32)
        tl.store(chosen + tl.cumsum(passes, 0) - 1, j.to(tl.int64), mask=passes > 0)


@triton.jit
@no_type_check
def _from_all(x, chosen, width, k, least, larger, BLOCK: tl.constexpr, KEY: tl.constexpr, BITS: tl.constexpr):
    """Where the k-th largest is known to be `least`, of which there are many: all `larger`, and the first of those."""
    rest = k - larger
    at = tl.zeros([], tl.int32)
    seen = tl.zeros([], tl.int32)
    start = 0
    while (start < width) & (at < k):
        j = start + tl.arange(0, BLOCK)
        keys = _keys(x + j, j < width, KEY, BITS)
        ties = ((keys == least) & (j < width)).to(tl.int32)
        passes = ((keys > least) | ((ties > 0) & (seen + tl.cumsum(ties, 0) <= rest))).to(tl.int32)
        tl.store(chosen + at + tl.cumsum(passes, 0) - 1, j.to(tl.int64), mask=passes > 0)
        at += tl.sum(passes, 0)
        seen += tl.sum(ties, 0)
        start += BLOCK
