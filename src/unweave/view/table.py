"""The table of scores: every dictionary, then the controls that say what its numbers are worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

MISSING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Row:
    """One line. scores: metric -> number, None where the metric has no meaning for it."""

    name: str
    readout: str
    is_control: bool
    scores: Mapping[str, float | None]


@dataclass(frozen=True)
class Column:
    """One column.

    group: the heading above; short: the title on a terminal, where not every column has room; metrics: usually one,
    three for a split; note: what to say of it where the metrics' own definitions say too much; better: "higher",
    "lower", or "" where neither is.
    """

    group: str
    title: str
    short: str
    metrics: tuple[str, ...]
    write: Callable[[float], str]
    note: str = ""
    better: str = "higher"
    on_a_terminal: bool = True

    @property
    def name(self) -> str:
        """The title where no heading stands above it."""
        return f"{self.group}, {self.title}" if self.title == "above 0.9" else self.title

    def cell(self, row: Row) -> str:
        scores = [row.scores.get(metric) for metric in self.metrics]
        if all(score is None for score in scores):
            return MISSING
        return " / ".join(MISSING if score is None else self.write(score) for score in scores)


def count(score: float) -> str:
    return f"{score:.0f}"


def fraction(score: float) -> str:
    """Three decimals without a leading zero: .412, 1.000, -.031."""
    written = f"{abs(score):.3f}".removeprefix("0")
    return f"{MINUS}{written}" if score < 0 and written != ".000" else written


def mean(score: float) -> str:
    return f"{score:.1f}"


def percent(score: float) -> str:
    return f"{100 * score:.1f} %"


COLUMNS = (
    Column("board state, AUROC > 0.9", "pairs", "pairs", ("pairs/1",), count),
    Column("board state, AUROC > 0.9", "within position", "within", ("pairs_within/1",), count),
    Column(
        "board state, AUROC > 0.9",
        "mine / theirs / empty",
        "m/t/e",
        ("pairs_mine/1", "pairs_theirs/1", "pairs_empty/1"),
        count,
        note="The pairs, state by state; mine is the side that moves next.",
    ),
    Column("board state, AUROC > 0.9", "features", "features", ("features/1",), count, on_a_terminal=False),
    Column("legal moves", "above 0.9", "legal", ("legal/1",), count),
    Column("the board from features, F1", "coverage", "raw", ("coverage_128/1",), fraction, on_a_terminal=False),
    Column("the board from features, F1", "coverage, corrected", "cov", ("coverage_corrected/1",), fraction),
    Column("the board from features, F1", "board rebuilt", "recon", ("reconstruction_128/1",), fraction),
    Column("the dictionary itself", "L0", "L0", ("l0/1",), mean, better=""),
    Column("the dictionary itself", "FVU", "FVU", ("fvu/1",), fraction, better="lower"),
    Column("the dictionary itself", "CE score", "CE", ("ce_score/1",), fraction),
    Column("the dictionary itself", "dead", "dead", ("dead/1",), percent, better="lower"),
)

TEXT_COLUMNS = (
    Column("codes", "L0", "L0", ("l0/1",), mean, better=""),
    Column("reconstruction", "FVU", "FVU", ("fvu/1",), fraction, better="lower"),
    Column("reconstruction", "explained variance per token", "EV/token", ("explained_variance_token/1",), fraction),
    Column("predictions", "CE score", "CE score", ("ce_score/1",), fraction),
    Column("predictions", "CE increase", "+CE", ("ce_increase/1",), fraction, better="lower"),
    Column("predictions", "KL", "KL", ("kl/1",), fraction, better="lower"),
    Column("codes", "dead", "dead", ("dead/1",), percent, better="lower"),
    Column("reconstruction", "cosine", "cosine", ("cosine/1",), fraction),
    Column("reconstruction", "L2 ratio", "L2", ("l2_ratio/1",), fraction, better=""),
)
"""For subjects that read text, of which no truth is known."""


def rows(evaluations: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Every dictionary of the evaluations, then every control once.

    A control that several runs share (same site, same scores) is one line; where they differ each bears its run's name.
    """
    dictionaries, controls = [], {}
    several_sites = len({(e["subject"], e["site"]) for e in evaluations}) > 1
    for evaluation in evaluations:
        place = f" · {evaluation['site']}" if several_sites else ""
        for row in evaluation["rows"]:
            scores = {name: None if score is None else float(score) for name, score in row["scores"].items()}
            if row["is_control"]:
                key = (row["name"] + place, row["readout"])
                kept = controls.setdefault(key, [])
                if not any(scores == other for _, other in kept):
                    kept.append((evaluation["run"], scores))
            else:
                dictionaries.append(Row(evaluation["run"], row["readout"], False, scores))
    return dictionaries + [
        Row(f"{name} · {run}" if len(kept) > 1 else name, readout, True, scores)
        for (name, readout), kept in controls.items()
        for run, scores in kept
    ]


def best(column: Column, among: Sequence[Row]) -> set[int]:
    """The indices of the dictionaries that hold a column's best score; none where there is nothing to compare."""
    scores = {
        i: score
        for i, row in enumerate(among)
        if not row.is_control and (score := row.scores.get(column.metrics[0])) is not None
    }
    if len(column.metrics) > 1 or not column.better or len(set(scores.values())) < 2:
        return set()
    top = max(scores.values()) if column.better == "higher" else min(scores.values())
    return {i for i, score in scores.items() if score == top}


def fitting(columns: Sequence[Sequence[str]], room: int, between: int) -> int:
    """How many columns, each its title and its texts, fit side by side, the first first, with so many blanks each."""
    ends = accumulate(between + max(map(len, texts)) for texts in columns)
    return sum(end <= room for end in ends)
