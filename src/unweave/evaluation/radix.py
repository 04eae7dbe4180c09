"""Sorting float32 by their bits: several times faster than comparing, and it never matters what the values are."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

_SIGN = np.uint32(0x80000000)
_ALL = np.uint32(0xFFFFFFFF)


@njit(cache=True, nogil=True)
@no_type_check
def argsort(values):
    """`[m] uint32`: the indices of `values [m] float32` (contiguous, none NaN) by rising value, ties in order.

    -0.0 and 0.0 are a tie. A radix sort of four bytes, least first; a byte that all values share is passed over.
    """
    m = len(values)
    bits = values.view(np.uint32)
    counts = np.zeros((4, 256), np.int64)
    pairs, spare = np.empty(m, np.uint64), np.empty(m, np.uint64)
    for i in range(m):
        key = bits[i]
        if key == _SIGN:
            key = np.uint32(0)
        key ^= _ALL if key & _SIGN else _SIGN  # an order of whole numbers that is that of the floats
        pairs[i] = np.uint64(key) << np.uint64(32) | np.uint64(i)
        for byte in range(4):
            counts[byte, (key >> np.uint32(8 * byte)) & np.uint32(255)] += 1
    for byte in range(4):
        total = 0
        for value in range(256):
            count = counts[byte, value]
            if count == m:
                break
            counts[byte, value] = total
            total += count
        if total < m:
            continue
        shift = np.uint64(32 + 8 * byte)
        for i in range(m):
            value = (pairs[i] >> shift) & np.uint64(255)
            spare[counts[byte, value]] = pairs[i]
            counts[byte, value] += 1
        pairs, spare = spare, pairs
    order = np.empty(m, np.uint32)
    for i in range(m):
        order[i] = np.uint32(pairs[i] & np.uint64(_ALL))
    return order
