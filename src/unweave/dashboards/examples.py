"""Which places are shown of a feature. Shapes: m entries of a feature, M near misses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from unweave.dashboards.held import HeldOut

TOP, SHARED, QUANTILE, RANDOM, NEAR = 16, 4, 4, 8, 8
SHARES = (0.9, 0.8, 0.7, 0.5)
_AROUND = 0.05  # of the maximum: what still counts as a share of it
INTERVALS = 5

GROUPS = (
    ("top", "Strongest", "Where it is most active."),
    ("share", "By strength", "Where it is nearest to 90, 80, 70 and 50 % of its maximum, within 5 % of that."),
    ("interval", "By quantile", "At random from each fifth of the positions where it is active, ordered by strength."),
    ("random", "At random", "From all positions where it is active, each as likely as every other."),
    ("near", "Near misses", "Where it is not active, and its pre-activation is largest."),
)


@dataclass(frozen=True)
class Entries:
    """A feature's activations above 0: where, `[m] int32` rising, and how large, `[m] float32`; and its near misses,
    `[M]` each, -1 for none."""

    feature: int
    rows: np.ndarray
    values: np.ndarray
    near_at: np.ndarray
    near_value: np.ndarray


def choose(of: Entries, held: HeldOut) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The examples of a feature, each once, and the groups that show them. In a group no two show the same."""
    by_strength = np.argsort(-of.values, kind="stable")
    lots = _lots(of.feature, of.rows)
    by_lot = np.argsort(lots, kind="stable")
    key = held.key[of.rows]
    groups: list[dict[str, Any]] = [{"name": "top", "at": _distinct(by_strength, key, TOP)}]
    groups += [_share(of, key, share) for share in SHARES]
    groups += _intervals(of, by_strength[::-1], lots, key)
    groups.append({"name": "random", "at": _by_value(_distinct(by_lot, key, RANDOM), of)})
    shown: dict[int, int] = {}
    made: list[dict[str, Any]] = []
    for group in groups:
        group["examples"] = [_place(int(entry), shown, made, of, held) for entry in group.pop("at")]
    near = [(int(at), float(pre)) for at, pre in zip(of.near_at, of.near_value, strict=True) if at >= 0]
    for at, pre in near[:NEAR]:
        made.append({**_where(at, held), "value": 0.0, "pre": rounded(pre), "row_values": _row(at, of, held)})
    groups.append({"name": "near", "examples": list(range(len(made) - len(near[:NEAR]), len(made)))})
    return made, groups


def _share(of: Entries, key: np.ndarray, share: float) -> dict[str, Any]:
    """Those nearest to a share of the largest."""
    largest = of.values.max(initial=0).astype(np.float64)
    away = np.abs(of.values - share * largest)
    near = np.argsort(away, kind="stable")
    chosen = _distinct(near[away[near] <= _AROUND * largest], key, SHARED)
    return {"name": "share", "share": share, "at": _by_value(chosen, of)}


def _intervals(of: Entries, rising: np.ndarray, lots: np.ndarray, key: np.ndarray) -> list[dict[str, Any]]:
    """Some of each fifth of the entries in `rising` order, the strongest fifth first."""
    m, found = len(rising), []
    for i in reversed(range(INTERVALS)):
        part = rising[i * m // INTERVALS : (i + 1) * m // INTERVALS]
        chosen = _distinct(part[np.argsort(lots[part], kind="stable")], key, QUANTILE)
        low, high = all_rounded(of.values[part[[0, -1]]]) if len(part) else (None, None)
        bounds = {"from": i / INTERVALS, "to": (i + 1) / INTERVALS, "low": low, "high": high, "count": len(part)}
        found.append({"name": "interval", **bounds, "at": _by_value(chosen, of)})
    return found


def _distinct(order: np.ndarray, key: np.ndarray, n: int) -> np.ndarray:
    """The first n entries of `order` that show what none before them does."""
    _, first = np.unique(key[order], return_index=True)
    return order[np.sort(first)[:n]]


def _by_value(entries: np.ndarray, of: Entries) -> np.ndarray:
    """The strongest first, of equals the one that comes first."""
    entries = np.sort(entries)
    return entries[np.argsort(-of.values[entries], kind="stable")]


def _place(entry: int, shown: dict[int, int], made: list[dict[str, Any]], of: Entries, held: HeldOut) -> int:
    """Where among the examples an entry is, entered there if it is new."""
    if entry not in shown:
        shown[entry] = len(made)
        at = int(of.rows[entry])
        value = rounded(of.values[entry])
        made.append({**_where(at, held), "value": value, "row_values": _row(at, of, held)})
    return shown[entry]


def _where(at: int, held: HeldOut) -> dict[str, int]:
    return {"row": int(held.row[at]), "at": int(held.position[at])}


def _row(at: int, of: Entries, held: HeldOut) -> list[list[int | float]]:
    """The feature's activations in the row of position `at`."""
    bounds = np.searchsorted(held.row, [held.row[at], held.row[at] + 1])
    part = slice(*np.searchsorted(of.rows, bounds))
    places = held.position[of.rows[part]].tolist()
    return [list(pair) for pair in zip(places, all_rounded(of.values[part]), strict=True)]


def _lots(feature: int, rows: np.ndarray) -> np.ndarray:
    """`[m] uint64`: a random number of each entry's own, the same whatever else is drawn (splitmix64: Steele et al.
    2014, OOPSLA, Fig. 17)."""
    z = (rows.astype(np.uint64) + (np.uint64(feature) << np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def rounded(value: float | np.floating) -> float:
    """To four significant digits."""
    return float(f"{value:.4g}")


def all_rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.4g}") for value in values.tolist()]
