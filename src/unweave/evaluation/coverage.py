"""Coverage and board reconstruction: Karvonen et al. 2024 (arXiv 2408.00113, Sect. 3), features read as yes or no.

Feature f says yes at threshold t where f(x) > t f_max, t in {0, .1, ... .9}, with f_max its largest value on half A of
the games, on which features are chosen. One that is never above 0 there says yes nowhere.

Coverage: the mean over labels of the best F1 that one feature reaches, at the one t where that mean is largest.
Reconstruction: a label is predicted where some feature says yes that has it with precision .95 or more in at least 10
firings; F1 pooled over positions and labels (the authors' code; the paper's equation is a mean over boards), at the one
t where it is largest. Feature, label and t are chosen on half A; every score is of half B.
Shapes: N positions, F features, T = 10 thresholds, 4 words of labels as in `BoardLabels.bits`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit

from unweave.evaluation.ground_truth import LEGAL, N_LABELS, N_LISTED, PAIRS, STATES, BoardLabels, complete
from unweave.evaluation.readout import Readout, SparseColumns
from unweave.threads import in_parts

THRESHOLDS = np.arange(10) / 10
PRECISION, FIRINGS = 0.95, 10

# Features counted by one thread at a time, and positions predicted by one: what fits in a cache of 1 MB.
_FEATURES, _POSITIONS = 16, 2048
# Features read at once where a readout computes them.
_BLOCK = 64


class Counts(NamedTuple):
    """What each feature says.

    f_max: `[F] float64`, its largest value, 0 where it is never above 0; fired: `[F, T] int64`, how often it says yes;
    true: `[F, T, 252] int32`, how often rightly for a label.
    """

    f_max: np.ndarray
    fired: np.ndarray
    true: np.ndarray


class Coverage(NamedTuple):
    """Scores of half B in [0, 1], and how many of the 192 pairs some feature predicts with an F1 above .9; words: mine,
    theirs, empty, legal, as in `BoardLabels.bits`."""

    states: float
    legal: float
    states_always_on: float
    reconstruction_states: float
    reconstruction_pairs: float
    reconstruction_legal: float
    well_predicted: int

    @property
    def corrected(self) -> float:
        """How much of the way from an always-on feature's coverage to 1."""
        return (self.states - self.states_always_on) / (1 - self.states_always_on)

    def scores(self) -> dict[str, float]:
        """By metric. The literature's published coverage divides the same sum by 192 labels."""
        return {
            "coverage_128/1": self.states,
            "coverage_192/1": self.states * 128 / 192,
            "coverage_corrected/1": self.corrected,
            "coverage_legal/1": self.legal,
            "reconstruction_128/1": self.reconstruction_states,
            "reconstruction_192/1": self.reconstruction_pairs,
            "reconstruction_legal/1": self.reconstruction_legal,
            "f1_pairs/1": self.well_predicted,
        }


def coverage(readout_a: Readout, labels_a: BoardLabels, readout_b: Readout, labels_b: BoardLabels) -> Coverage:
    """Coverage of the 128 (square, mine or theirs) and of the 60 legal squares; reconstruction of 128, all 192 and 60.

    Raises ValueError when readouts and labels do not fit together.
    """
    if readout_a.width != readout_b.width:
        raise ValueError(f"the halves have {readout_a.width} and {readout_b.width} features: they should be the same")
    on_a = count(readout_a, labels_a)
    on_b = count(readout_b, labels_b, on_a.f_max)
    f1_a, f1_b = f1(on_a, labels_a), f1(on_b, labels_b)
    keep = precise(on_a)
    hits_a = hits(predict(readout_a, on_a.f_max, keep), labels_a)
    hits_b = hits(predict(readout_b, on_a.f_max, keep), labels_b)
    always_on = 2 * labels_b.positives / (len(labels_b) + labels_b.positives)
    return Coverage(
        _covered(f1_a[..., STATES], f1_b[..., STATES]),
        _covered(f1_a[..., LEGAL], f1_b[..., LEGAL]),
        float(always_on[STATES].mean()),
        *(_rebuilt(hits_a, hits_b, words) for words in ((0, 1), (0, 1, 2), (3,))),
        well_predicted=_well_predicted(f1_a[..., PAIRS], f1_b[..., PAIRS]),
    )


def count(readout: Readout, labels: BoardLabels, f_max: np.ndarray | None = None) -> Counts:
    """How often each feature says yes at each threshold, and is right. f_max: `[F]`, this sample's own if not given."""
    if readout.n != len(labels):
        raise ValueError(f"the readout has {readout.n} positions, the labels {len(labels)}")
    known = np.zeros(readout.width) if f_max is None else f_max
    fired, true = np.zeros((readout.width, 10), np.int64), np.empty((readout.width, 10, N_LABELS), np.int32)
    for start in range(0, readout.width, _BLOCK):
        part = readout.positive(start, min(start + _BLOCK, readout.width))
        if f_max is None:
            _largest(part.offsets, part.values, known[start:])

        def work(first: int, last: int, part: SparseColumns = part, start: int = start) -> None:
            here = slice(start + first, start + last)
            limits = known[here, None] * THRESHOLDS
            _count(part.offsets[first:], part.rows, part.values, limits, labels.listed, fired[here], true[here])

        in_parts(part.width, _FEATURES, work)
    return Counts(known, fired, true)


def f1(counts: Counts, labels: BoardLabels) -> np.ndarray:
    """`[F, T, 252] float64`: 2 true / (fired + positives); 0 where both are 0."""
    out = np.empty(counts.true.shape)
    in_parts(len(out), _FEATURES, partial(_f1, counts.fired, counts.true, labels.positives, out))
    return out


def precise(counts: Counts) -> np.ndarray:
    """`[F, T, 4] uint64`: the labels that each feature has with precision .95 or more in at least 10 firings."""
    fired = counts.fired[..., None]
    keep = (fired >= FIRINGS) & (counts.true / np.maximum(fired, 1) >= PRECISION)
    padded = np.pad(keep, ((0, 0), (0, 0), (0, 256 - N_LABELS)))
    return np.packbits(padded, axis=2, bitorder="little").view("<u8").astype(np.uint64, copy=False)


def predict(readout: Readout, f_max: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """`[N, T, 4] uint64`: the labels that some feature predicts, by threshold; `keep [F, T, 4]` are those it may."""
    predicted = np.zeros((readout.n, 10, 4), np.uint64)
    useful = np.asarray(keep.any((1, 2)))
    for start in range(0, readout.width, _BLOCK):
        here = slice(start, min(start + _BLOCK, readout.width))
        if not useful[here].any():
            continue
        part, limits = readout.positive(here.start, here.stop), f_max[here, None] * THRESHOLDS
        args = part.offsets, part.rows, part.values, limits, useful[here], keep[here]
        in_parts(readout.n, _POSITIONS, partial(_predict, predicted, *args))
    return predicted


def hits(predicted: np.ndarray, labels: BoardLabels) -> np.ndarray:
    """`[3, T, 4] int64`: labels predicted rightly, predicted at all, and true, by threshold and word."""
    truth = labels.bits[:, None]
    sums = [np.bitwise_count(bits).sum(0, dtype=np.int64) for bits in (predicted & truth, predicted, truth)]
    return np.stack(np.broadcast_arrays(*sums))


def _covered(f1_a: np.ndarray, f1_b: np.ndarray) -> float:
    """Mean F1 on half B `[F, T, L]` of each label's best feature at the best threshold on half A."""
    t = f1_a.max(0).mean(1).argmax()
    best = f1_a[:, t].argmax(0)
    return float(f1_b[best, t, np.arange(f1_b.shape[2])].mean())


def _well_predicted(f1_a: np.ndarray, f1_b: np.ndarray) -> int:
    """How many labels have an F1 above .9 on half B `[F, T, L]`, each by the feature and threshold best on half A."""
    best = f1_a.reshape(-1, f1_a.shape[2]).argmax(0)
    return int((f1_b.reshape(-1, f1_b.shape[2])[best, np.arange(len(best))] > 0.9).sum())


def _rebuilt(hits_a: np.ndarray, hits_b: np.ndarray, words: Sequence[int]) -> float:
    """Pooled F1 on half B, over some words of labels, at the threshold that is best on half A."""

    def pooled(counts: np.ndarray) -> np.ndarray:
        right, predicted, true = counts[..., words].sum(-1)
        return 2 * right / np.maximum(predicted + true, 1)

    return float(pooled(hits_b)[pooled(hits_a).argmax()])


@njit(cache=True, nogil=True)
@no_type_check
def _f1(fired, true, positives, out, first, last):
    for feature in range(first, last):
        for level in range(fired.shape[1]):
            for label in range(len(positives)):
                total = max(fired[feature, level] + positives[label], 1)
                out[feature, level, label] = 2 * true[feature, level, label] / total


@njit(cache=True, nogil=True)
@no_type_check
def _largest(offsets, values, largest):
    for column in range(len(offsets) - 1):
        for entry in range(offsets[column], offsets[column + 1]):
            largest[column] = max(largest[column], values[entry])


@njit(cache=True, nogil=True)
@no_type_check
def _level(value, limits):
    """How many thresholds a value is above; they rise, so it is above the first ones."""
    if limits[0] == limits[-1]:  # a feature with f_max = 0
        return 0
    level = 0
    while level < len(limits) and value > limits[level]:
        level += 1
    return level


@njit(cache=True, nogil=True)
@no_type_check
def _count(offsets, rows, values, limits, listed, fired, true):
    """Positions add up in bytes, 16 to 64 labels to an instruction; the bytes are emptied before they run over."""
    n_levels = limits.shape[1]
    few, since = np.zeros((n_levels, N_LISTED), np.uint8), np.zeros(n_levels, np.int64)
    total, full = np.empty(N_LISTED, np.int32), np.empty(N_LABELS, np.int32)
    many = np.empty((n_levels, N_LISTED), np.int32)
    for column in range(len(limits)):
        many[:] = 0
        for entry in range(offsets[column], offsets[column + 1]):
            level = _level(values[entry], limits[column]) - 1
            if level < 0:
                continue
            row = rows[entry]
            for label in range(N_LISTED):
                few[level, label] += listed[row, label]
            fired[column, level] += 1
            since[level] += 1
            if since[level] == 255:
                _empty(few[level], many[level])
                since[level] = 0
        total[:] = 0
        for level in range(n_levels - 1, -1, -1):  # what is above a threshold is above all lower ones
            _empty(few[level], many[level])
            since[level] = 0
            if level + 1 < n_levels:
                fired[column, level] += fired[column, level + 1]
            total += many[level]
            complete(total, fired[column, level], full)
            true[column, level] = full


@njit(cache=True, nogil=True)
@no_type_check
def _empty(few, many):
    for label in range(N_LISTED):
        many[label] += few[label]
        few[label] = 0


@njit(cache=True, nogil=True)
@no_type_check
def _predict(predicted, offsets, rows, values, limits, useful, keep, first, last):
    """Positions from first to last only, so that threads do not write to the same place."""
    for column in range(len(limits)):
        if not useful[column]:
            continue
        stop = offsets[column + 1]
        entry = offsets[column] + np.searchsorted(rows[offsets[column] : stop], first)
        while entry < stop and rows[entry] < last:
            for level in range(_level(values[entry], limits[column])):
                for word in range(4):
                    predicted[rows[entry], level, word] |= keep[column, level, word]
            entry += 1
