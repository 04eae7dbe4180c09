"""The exact AUROC of every feature for every label, pooled over positions and within position.

AUROC is the chance that a position where the label holds has a larger value than one where it does not, ties counting
half (Mann & Whitney 1947): U / (positives x negatives), with U from the sum of the positives' ranks, tied values having
their average rank. Everything is counted in half ranks, which are whole numbers, so nothing is rounded before the last
division, and the number of threads cannot matter.

Within position: U is taken within each stratum, the positions of one move number, and the strata's AUROCs are averaged
with weights sqrt(positives x negatives), strata in which the label always or never holds left out. What only tells the
time has .5 there.

In a stratum of n positions, the zeros of a sparse feature share one rank; let a value's "lead" be twice its rank less
twice that. With z zeros, the tied values that stand at places i to j (from 0) among the n - z others have lead
z + i + j + 1, all leads together are n (n - z), and 2 U = sum of the positives' leads + positives x (z - positives).
Shapes: N positions, F features, m entries of a feature, S strata and, last, one of all positions.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import no_type_check

import numpy as np
import torch
from numba import njit

from unweave.evaluation.ground_truth import N_LABELS, N_LISTED, BoardLabels, complete
from unweave.evaluation.readout import Dense, Readout, SparseColumns
from unweave.threads import in_parts

# Dense features ranked side by side: enough for the matrix product to be busy, 60 MB of leads for 59,000 positions.
_BLOCK = 128
# Whole numbers up to here are exact in float64, whatever the order in which they add up.
_EXACT = 2**53


def auroc(readout: Readout, labels: BoardLabels) -> tuple[np.ndarray, np.ndarray]:
    """Pooled and within position, `[F, 252] float64` each; NaN where a label always or never holds.

    Raises ValueError when readout and labels differ in length, or the readout has NaN or infinite values.
    """
    if readout.n != len(labels):
        raise ValueError(f"the readout has {readout.n} positions, the labels {len(labels)}")
    out = np.empty((2, readout.width, N_LABELS))
    if isinstance(readout, SparseColumns):
        _sparse(readout, labels, out)
    else:
        _dense(readout, labels, out)
    return out[0], out[1]


def _sparse(readout: SparseColumns, labels: BoardLabels, out: np.ndarray) -> None:
    size, positives, share = _strata(labels)
    unit, _ = _packing(labels.strata.size)

    def work(start: int, stop: int) -> None:
        part = readout.positive(start, stop)
        ranked = [in_order(part.values[first:last]) for first, last in pairwise(part.offsets)]
        _sparse_columns(
            part.offsets, part.rows, np.concatenate(ranked), labels.strata.of, *labels.lists, size, positives, share,
            unit, out[:, start:stop],
        )  # fmt: skip

    in_parts(readout.width, 16, work)


def _dense(readout: Dense, labels: BoardLabels, out: np.ndarray) -> None:
    size, positives, share = _strata(labels)
    order = np.argsort(labels.strata.of, kind="stable")
    stratum = labels.strata.of[order]
    listed = torch.from_numpy(labels.listed[order])
    unit, parts = _packing(labels.strata.size)
    own = readout.width // 2 if readout.mirrored else readout.width
    leads = torch.empty(min(_BLOCK, own), readout.n, dtype=torch.float64)
    for start in range(0, own, _BLOCK):
        columns = readout.columns(start, min(start + _BLOCK, own))
        width = len(columns)

        def rank(first: int, last: int, columns: np.ndarray = columns) -> None:
            ranked = in_order(columns[first:last, order])
            _dense_leads(ranked, stratum, size, unit, leads[first:last].numpy())

        in_parts(width, 8, rank)
        sums = torch.zeros(width, len(size), N_LISTED, dtype=torch.float64)
        for s, first, last in parts:
            both = leads[:width, first:last] @ listed[first:last].double()
            within = (both / unit).floor_()
            sums[:, s] += within
            sums[:, -1] += both.sub_(within, alpha=unit)
        _finish_all(sums.numpy(), size, positives, share, out[:, start : start + width])
    if readout.mirrored:
        out[:, own:] = 1 - out[:, :own]


def _packing(size: np.ndarray) -> tuple[float, list[tuple[int, int, int]]]:
    """How an entry's two leads go into one float64, pooled + unit x within, so that one product sums both; and the
    parts of the sample, stratum by stratum, whose sums stay exact: stratum, first and last position.

    Leads are below 2 N among all positions, below 2 n in a stratum.
    """
    n, largest = int(size.sum()), int(size.max())
    at_once = min(largest, max(1, math.isqrt(_EXACT // (8 * n * largest))))
    unit = float(1 << (2 * n * at_once - 1).bit_length())
    parts = [
        (s, first, min(first + at_once, stop))
        for s, (start, stop) in enumerate(pairwise([0, *size.cumsum().tolist()]))
        for first in range(start, stop, at_once)
    ]
    return unit, parts


def _strata(labels: BoardLabels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """size `[S + 1] int64` and positives `[S + 1, 252] int64`; share `[S + 1, 252]`, what half of 2 U is multiplied by.

    A stratum's share is its weight over (sum of weights x positives x negatives); its sum over strata is AUROC.
    """
    strata = labels.strata
    size = np.append(strata.size, len(labels))
    positives = np.concatenate([strata.positives, labels.positives[None]])
    pairs = (positives * (size[:, None] - positives)).astype(np.float64)
    weight = np.sqrt(pairs)
    with np.errstate(divide="ignore", invalid="ignore"):
        weight[:-1] /= weight[:-1].sum(0)
        weight[-1] /= weight[-1]
        share = np.where(pairs > 0, weight / pairs, 0)
    share[:, :] = np.where(np.isnan(weight), np.nan, share)
    return size, positives, share


def in_order(values: np.ndarray) -> np.ndarray:
    """`[m] uint64` or `[f, m]`: the entries of each row of float32 `values`, none NaN, by rising value, ties in order:
    a whole number that stands for the value in the upper half, the place in the lower. -0.0 and 0.0 are a tie.

    numpy sorts whole numbers on vector units, in half the time of a radix sort; it never matters what the values are.
    """
    ranked = np.empty(values.shape, np.uint64)
    _number(np.atleast_2d(np.ascontiguousarray(values)), np.atleast_2d(ranked))
    ranked.sort(axis=-1)
    return ranked


@njit(cache=True, nogil=True)
@no_type_check
def _number(values, numbers):
    sign, every, zero = np.uint32(0x80000000), np.uint32(0xFFFFFFFF), np.uint32(0)
    for row in range(len(values)):
        bits, to = values[row].view(np.uint32), numbers[row]
        for i in range(len(bits)):
            key = zero if bits[i] == sign else bits[i]
            key ^= every if key & sign else sign  # an order of whole numbers that is that of the floats
            to[i] = np.uint64(key) << np.uint64(32) | np.uint64(i)


@njit(cache=True, nogil=True)
@no_type_check
def _leads(ranked, stratum, size, unit, seen, tied, leads):
    """Twice each entry's rank less twice the zeros', among all positions and, `unit` times that, in its stratum: into
    `leads [m]`.

    ranked: `[m]`, `in_order`; stratum: `[m]`; size: `[S + 1]`; seen, tied: `[S]`, room to count in.
    """
    m, half, place = len(ranked), np.uint64(32), np.uint64(0xFFFFFFFF)
    zeros = size[:-1].copy()
    for entry in range(m):
        zeros[stratum[entry]] -= 1
    seen[:] = 0
    tied[:] = 0
    first = 0
    while first < m:
        value = ranked[first] >> half
        last = first
        while last + 1 < m and ranked[last + 1] >> half == value:
            last += 1
        if first == last:  # the loops below for one entry, in a third of the time
            entry = ranked[first] & place
            s = stratum[entry]
            leads[entry] = size[-1] - m + 2 * first + 1 + unit * (zeros[s] + 2 * seen[s] + 1)
            seen[s] += 1
            first += 1
            continue
        for at in range(first, last + 1):
            tied[stratum[ranked[at] & place]] += 1
        for at in range(first, last + 1):
            entry = ranked[at] & place
            s = stratum[entry]
            leads[entry] = size[-1] - m + first + last + 1 + unit * (zeros[s] + 2 * seen[s] + tied[s])
        for at in range(first, last + 1):
            s = stratum[ranked[at] & place]
            seen[s] += tied[s]
            tied[s] = 0
        first = last + 1


@njit(cache=True, nogil=True)
@no_type_check
def _sparse_columns(offsets, rows, ranked, stratum_of, list_offsets, list_index, size, positives, share, unit, out):
    n_strata = len(size) - 1
    sums = np.empty((n_strata + 1, N_LISTED))
    seen, tied = np.empty(n_strata, np.int64), np.empty(n_strata, np.int64)
    for column in range(len(offsets) - 1):
        these = rows[offsets[column] : offsets[column + 1]]
        m = len(these)
        leads = np.empty(m)
        stratum = stratum_of[these]
        _leads(ranked[offsets[column] : offsets[column + 1]], stratum, size, unit, seen, tied, leads)
        sums[:] = 0
        for entry in range(m):
            s, row = stratum[entry], these[entry]
            within = np.floor(leads[entry] / unit)
            pooled = leads[entry] - unit * within
            for at in range(list_offsets[row], list_offsets[row + 1]):
                sums[n_strata, list_index[at]] += pooled
                sums[s, list_index[at]] += within
        entries = np.append(seen, m)
        _finish(sums, entries, size, positives, share, out[:, column])


@njit(cache=True, nogil=True)
@no_type_check
def _dense_leads(ranked, stratum, size, unit, leads):
    """The leads of dense columns `[f, N]`, into `leads [f, N]`, positions stratum by stratum."""
    n_strata = len(size) - 1
    seen, tied = np.empty(n_strata, np.int64), np.empty(n_strata, np.int64)
    for column in range(len(ranked)):
        _leads(ranked[column], stratum, size, unit, seen, tied, leads[column])


@njit(cache=True, nogil=True)
@no_type_check
def _finish_all(sums, size, positives, share, out):
    for column in range(len(sums)):
        _finish(sums[column], size, size, positives, share, out[:, column])


@njit(cache=True, nogil=True)
@no_type_check
def _finish(sums, entries, size, positives, share, out):
    """From the leads' sums over positives, `sums [S + 1, 188]`, to AUROC: `out [2, 252]`, pooled and within."""
    full = np.empty(N_LABELS)
    out[:] = 0
    for s in range(len(size)):
        complete(sums[s], float(entries[s] * size[s]), full)
        kind = 0 if s == len(size) - 1 else 1
        for label in range(N_LABELS):
            p = positives[s, label]
            out[kind, label] += 0.5 * (full[label] + p * (size[s] - entries[s] - p)) * share[s, label]
