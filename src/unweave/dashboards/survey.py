"""What is counted of every feature before any is shown: some of it says how features compare.

Shapes: N positions, F features, C of a chunk, S positions of a row, m entries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from unweave.dashboards import boards
from unweave.dashboards.collect import Collected
from unweave.dashboards.held import HeldOut
from unweave.evaluation.readout import SparseColumns


@dataclass(frozen=True)
class Survey:
    """active: `[F] int64`, at how many positions; total, max: `[F]`, of the activations; position: `[F]`, the mean
    place in a row; crowd: `[F]`, the mean number of active features where it is active. NaN where it never is.

    Games: board: `[F, 192] float32`, how often squares are mine, theirs, empty where it is active, less how often they
    are at such plies; last, next: `[F, 64] int64`, where those moves are. Text: strongest, top_token, top_count: `[F]
    int64`, the token where it is most active, the one where it is most often active, -1 for none, and how often.
    """

    active: np.ndarray
    total: np.ndarray
    max: np.ndarray
    position: np.ndarray
    crowd: np.ndarray
    l0: np.ndarray = field(repr=False)  # of each position, [N]
    board: np.ndarray | None = None
    last: np.ndarray | None = None
    next: np.ndarray | None = None
    strongest: np.ndarray | None = None
    top_token: np.ndarray | None = None
    top_count: np.ndarray | None = None


def survey(collected: Collected, held: HeldOut, chunk: int) -> Survey:
    """Everything that is counted, `chunk` features at a time."""
    l0 = np.concatenate([np.diff(offsets) for offsets, _ in collected.codes()])
    parts: list[dict[str, np.ndarray]] = []
    baseline = boards.by_ply(held) if held.kind == "games" else None
    for start, stop in chunks(collected.d_sae, chunk):
        columns = collected.columns(start, stop)
        at = places(columns, held)
        active = np.diff(columns.offsets)
        plies = np.arange(at.shape[1])
        with np.errstate(invalid="ignore"):
            found = {
                "active": active,
                "total": sums(columns.offsets, columns.values.astype(np.float64)),
                "max": largest(columns),
                "position": at @ plies / active,
                "crowd": sums(columns.offsets, l0[columns.rows].astype(np.float64)) / active,
            }
        if baseline is not None:
            found |= {"board": boards.differences(columns, held, at, baseline)}
            found |= {name: boards.moves(columns, getattr(held.boards, name)) for name in ("last", "next")}
        else:
            found |= _tokens(columns, held)
        parts.append(found)
    return Survey(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, l0=l0)


def chunks(n: int, size: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + size, n)) for start in range(0, n, size))


def sums(offsets: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`[C]`: the sum of each column's `values [m]`, 0 for an empty one."""
    return np.array([values[a:b].sum() for a, b in pairwise(offsets)])


def largest(columns: SparseColumns) -> np.ndarray:
    """`[C] float32`: of each column, 0 for an empty one."""
    return np.array([columns.values[a:b].max(initial=0) for a, b in pairwise(columns.offsets)], np.float32)


def places(columns: SparseColumns, held: HeldOut) -> np.ndarray:
    """`[C, S] int64`: how often each column has an entry at each position of a row."""
    width, length = columns.width, held.rows.tokens.shape[1]
    feature = np.repeat(np.arange(width), np.diff(columns.offsets))
    return np.bincount(feature * length + held.position[columns.rows], minlength=width * length).reshape(width, length)


def token_counts(columns: SparseColumns, column: int, held: HeldOut) -> tuple[np.ndarray, np.ndarray]:
    """The tokens where a column has an entry, and how often: most often first, of equals the smallest id."""
    ids, counts = np.unique(held.tokens[columns.rows[slice(*columns.offsets[column : column + 2])]], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return ids[order], counts[order]


def _tokens(columns: SparseColumns, held: HeldOut) -> dict[str, np.ndarray]:
    counts = [token_counts(columns, column, held) for column in range(columns.width)]
    top = [(int(ids[0]), int(often[0])) if len(ids) else (-1, 0) for ids, often in counts]
    # Of equals the first, as among the examples.
    peak = [columns.rows[a + columns.values[a:b].argmax()] if b > a else -1 for a, b in pairwise(columns.offsets)]
    return {
        "strongest": np.array([held.tokens[at] if at >= 0 else -1 for at in peak]),
        "top_token": np.array([id for id, _ in top]),
        "top_count": np.array([count for _, count in top]),
    }
