"""One pass over the held-out rows: what fires where, and what nearly does, part by part on disk.

A part is always the same rows, coded in the same batches, so that no byte depends on where a pass was broken off.
Shapes: N positions of all rows, n of a part, F features, C of a block, m entries, M near misses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import no_type_check

import numpy as np
import torch
from numba import njit
from safetensors import safe_open
from torch import Tensor

from unweave import files
from unweave.activations.harvest import harvest
from unweave.dashboards.held import HeldOut
from unweave.dictionary import Dictionary
from unweave.dictionary.codes import sparse
from unweave.evaluation.readout import SparseColumns
from unweave.subject.base import Subject

PART = 256  # rows
_BATCH, _BLOCK = 1024, 2048  # positions coded at a time; features whose pre-activations are looked at together
NEAR = 16
"""The near misses of a feature that are kept, of positions that show what none before them does."""


class Collected:
    """What `collect` wrote, read a few features at a time."""

    def __init__(self, parts: list[Path], d_sae: int, held: HeldOut) -> None:
        self._parts, self.d_sae, self.n = parts, d_sae, len(held)

    def columns(self, start: int, stop: int) -> SparseColumns:
        """The activations above 0 of the features from start to stop."""
        features, rows, values = [], [], []
        for path in self._parts:
            with safe_open(str(path), framework="np") as file:
                starts = file.get_slice("starts")[start : stop + 1]
                entries = slice(int(starts[0]), int(starts[-1]))
                features.append(np.repeat(np.arange(stop - start), np.diff(starts)))
                rows.append(file.get_slice("rows")[entries])
                values.append(file.get_slice("column_values")[entries])
        by_part = np.concatenate(features)
        order = np.argsort(by_part, kind="stable")
        offsets = np.concatenate([[0], np.cumsum(np.bincount(by_part, minlength=stop - start))])
        return SparseColumns(offsets, np.concatenate(rows)[order], np.concatenate(values)[order], self.n)

    def codes(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Part by part which features are active: offsets `[n + 1] int64`, features `[m] int32`, position by
        position."""
        for path in self._parts:
            with safe_open(str(path), framework="np") as file:
                yield file.get_tensor("offsets"), file.get_tensor("features")

    def near(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """The largest pre-activations where a feature is not active: values and positions, `[C, M]`, largest first,
        -inf and -1 where there are fewer."""
        values, at = [], []
        for path in self._parts:
            with safe_open(str(path), framework="np") as file:
                values.append(file.get_slice("near_value")[start:stop])
                at.append(file.get_slice("near_at")[start:stop])
        all_values, all_at = np.concatenate(values, 1), np.concatenate(at, 1)
        order = np.argsort(-all_values, axis=1, kind="stable")[:, :NEAR]  # parts come in the order of positions
        return np.take_along_axis(all_values, order, 1), np.take_along_axis(all_at, order, 1)


def collect(
    dictionary: Dictionary,
    subject: Subject,
    site: str,
    held: HeldOut,
    folder: Path,
    on_part: Callable[[int, int], None] = lambda done, of: None,
) -> Collected:
    """Code every measured position, into `folder`; parts that are there already are not made again."""
    parts = list(held.rows.until(subject.n_positions).split(PART))
    paths, at = [folder / f"codes-{i:05}.safetensors" for i in range(len(parts))], 0
    for i, (part, path) in enumerate(zip(parts, paths, strict=True)):
        n = int(part.learn.sum())
        if not path.exists():
            x = harvest(subject, part, [site]).vectors[site]
            files.write_arrays(path, _code(dictionary, x, at, held.first[at : at + n]))
        at += n
        on_part(i + 1, len(parts))
    return Collected(paths, dictionary.d_sae, held)


@torch.no_grad()
def _code(dictionary: Dictionary, x: Tensor, at: int, first: np.ndarray) -> dict[str, np.ndarray]:
    """A part's codes, by position and by feature, and its near misses; its first position is number `at` of all."""
    d_sae = dictionary.d_sae
    near_value, near_at = np.full((d_sae, NEAR), -np.inf, np.float32), np.full((d_sae, NEAR), -1, np.int32)
    counts, features, values = [np.zeros(1, np.int64)], [], []
    for start in range(0, len(x), _BATCH):
        part = x[start : start + _BATCH]
        codes = sparse(dictionary.encode(part))
        if not codes.values.isfinite().all():
            raise ValueError("the codes of the held-out activations have NaN or infinite values")
        counts.append(codes.offsets.diff().numpy())
        features.append(codes.features.numpy())
        values.append(codes.values.numpy())
        shown = torch.from_numpy(first[start : start + _BATCH])
        normalised, rows = dictionary.input(part), codes.rows
        for a in range(0, d_sae, _BLOCK):
            block = torch.arange(a, min(a + _BLOCK, d_sae))
            pre = dictionary.pre_normalised(normalised, block)
            inside = (codes.features >= a) & (codes.features <= block[-1])
            pre[rows[inside], codes.features[inside] - a] = -torch.inf
            pre[~shown] = -torch.inf
            _keep_largest(pre.numpy(), at + start, near_value[a : a + _BLOCK], near_at[a : a + _BLOCK])
    offsets = np.cumsum(np.concatenate(counts))
    by_row = np.concatenate(features), np.concatenate(values)
    columns = SparseColumns.from_rows(offsets, *by_row, d_sae)
    return {
        "offsets": offsets,
        "features": by_row[0].astype(np.int32),
        "starts": columns.offsets,
        "rows": columns.rows + np.int32(at),
        "column_values": columns.values,
        "near_value": near_value,
        "near_at": near_at,
    }


@njit(cache=True, nogil=True)
@no_type_check
def _keep_largest(pre, at, values, places):
    """Enter `pre [n, C]`, of the positions from `at` on, into the sorted `values [C, M]`; of equals the first stays."""
    last = values.shape[1] - 1
    for row in range(len(pre)):
        for column in range(pre.shape[1]):
            value = pre[row, column]
            if value > values[column, last]:
                to = last
                while to > 0 and value > values[column, to - 1]:
                    values[column, to] = values[column, to - 1]
                    places[column, to] = places[column, to - 1]
                    to -= 1
                values[column, to] = value
                places[column, to] = at + row
