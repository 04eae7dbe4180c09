"""The leaderboard as a table, for a terminal and for a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from unweave.bench.leaderboard import CHOSEN_BY
from unweave.view.axis import Number
from unweave.view.table import MISSING, fitting

Board = Mapping[str, Any]
Level = Mapping[str, Any]


def _whole(value: Number) -> str:
    return f"{value:.0f}"


def _tenths(value: Number) -> str:
    return f"{value:.1f}"


def _thousandths(value: Number) -> str:
    text = f"{value:.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


Column = tuple[str, str, str, Callable[[Number], str], str]
"""Title, readout, metric, how its mean is written, which way is better."""

CLASSIFIERS: tuple[Column, ...] = (
    ("pairs", "activations", "pairs/1", _whole, "higher"),
    ("within", "activations", "pairs_within/1", _whole, "higher"),
    ("pre", "pre-activations", "pairs/1", _whole, "higher"),
    ("pre within", "pre-activations", "pairs_within/1", _whole, "higher"),
    ("legal", "activations", "legal/1", _whole, "higher"),
    ("legal within", "activations", "legal_within/1", _whole, "higher"),
    ("legal pre", "pre-activations", "legal/1", _whole, "higher"),
    ("legal pre within", "pre-activations", "legal_within/1", _whole, "higher"),
    ("F1 > .9", "activations", "f1_pairs/1", _whole, "higher"),
)
"""How many squares and states some feature tells."""

CODE: tuple[Column, ...] = (
    ("coverage", "activations", "coverage_128/1", _thousandths, "higher"),
    ("above always on", "activations", "coverage_corrected/1", _thousandths, "higher"),
    ("board", "activations", "reconstruction_128/1", _thousandths, "higher"),
    ("board / 192", "activations", "reconstruction_192/1", _thousandths, "higher"),
    ("FVU", "activations", "fvu/1", _thousandths, "lower"),
    ("L0", "activations", "l0/1", _tenths, ""),
    ("CE score", "activations", "ce_score/1", _thousandths, "higher"),
    ("dead", "activations", "dead/1", _thousandths, "lower"),
    ("shrinkage", "activations", "shrinkage/1", _thousandths, ""),
)
"""How much of the board, of the activations and of what the subject does the codes hold."""

COLUMNS = (*CLASSIFIERS, *CODE)
# What a terminal has room for.
SHORT = ("pairs", "within", "pre", "coverage", "board", "FVU", "L0", "CE score")


def best_level(method: Mapping[str, Any], measure: str = "pairs/1") -> Level | None:
    """The level of sparsity at which a method did best on validation games."""
    return max(method["levels"], key=lambda level: level["validation"][measure], default=None)


def rows(board: Board) -> Iterator[tuple[str, Level]]:
    """Each method at its best by distinct pairs, the best first, then the controls."""
    tried = [(method, level) for method in board["methods"] if (level := best_level(method))]
    for _, level in sorted(tried, key=lambda each: -each[1]["activations"]["pairs/1"]["mean"]):
        yield level["call"], level
    controls: dict[str, dict[str, Any]] = {}
    for control in board["controls"]:
        scores = {name: {"mean": value, "sd": None} for name, value in control["scores"].items() if value is not None}
        nothing = {"activations": {}, "pre-activations": {}, "seeds": [], "lr": None, "core_seconds": None}
        row = controls.setdefault(control["name"], nothing)
        row["pre-activations" if control["readout"] == "pre-activations" else "activations"] = scores
    yield from controls.items()


def cell(level: Level, readout: str, metric: str, write: Callable[[Number], str]) -> str:
    """Mean and, over several seeds, standard deviation."""
    score = level[readout].get(metric)
    if score is None:
        return MISSING
    return write(score["mean"]) + (f" ± {write(score['sd'])}" if score["sd"] is not None else "")


# Title and metric of what a level may be chosen by.
MEASURES = tuple((title, metric) for title, of, metric, *_ in COLUMNS if of == "activations" and metric in CHOSEN_BY)


def by_measure(board: Board) -> str:
    """Of each method what it has at its best by each measure, level chosen on validation games, as a Markdown table."""
    lines = [f"| method | {' | '.join(title for title, _ in MEASURES)} |", "|---|" + "--:|" * len(MEASURES)]
    writing = {metric: write for _, readout, metric, write, _ in COLUMNS if readout == "activations"}
    for method in board["methods"]:
        best = [(metric, best_level(method, metric)) for _, metric in MEASURES]
        cells = [cell(level, "activations", metric, writing[metric]) if level else MISSING for metric, level in best]
        lines.append(f"| `{method['name']}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def verdict(board: Board, metric: str) -> tuple[str, list[str], int]:
    """Which method is best by a measure, at its best level; those that it is not clear of, two standard errors of the
    difference of means or less behind; and how many have fewer than three seeds, of which nothing can be said."""
    best = {m["name"]: level for m in board["methods"] if (level := best_level(m, metric))}
    known = {name: level["activations"][metric] | {"n": len(level["seeds"])} for name, level in best.items()}
    sure = {name: score for name, score in known.items() if score["n"] >= 3}
    if not sure:
        return "", [], len(known)
    first = max(sure, key=lambda name: sure[name]["mean"])

    def clear(other: Mapping[str, Any]) -> bool:
        error = sum(score["sd"] ** 2 / score["n"] for score in (sure[first], other)) ** 0.5
        return sure[first]["mean"] - other["mean"] > 2 * error

    return first, [name for name in sure if name != first and not clear(sure[name])], len(known) - len(sure)


def console_table(board: Board, width: int = 110) -> Table:
    """What matters most of every method at its best, as many columns as a terminal has room for, and of the controls
    below a rule."""
    those, shown = list(rows(board)), [column for column in COLUMNS if column[0] in SHORT]
    texts = [[cell(level, readout, metric, write) for _, level in those] for _, readout, metric, write, _ in shown]
    room = width - 2 - min(24, max(len(name) for name, _ in those))
    n = fitting([[title, *cells] for (title, *_), cells in zip(shown, texts, strict=True)], room, 1)
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("method", overflow="fold")
    for title, *_ in shown[:n]:
        table.add_column(title, justify="right", no_wrap=True)
    began = False
    for i, (name, level) in enumerate(those):
        if not level["seeds"] and not began:
            table.add_section()
            began = True
        table.add_row(name, *(cells[i] for cells in texts[:n]))
    return table


Standing = tuple[str, float, int, Mapping[str, Any]]
"""A call, its rate, how many seeds it has been tried with, and its validation scores, their means."""


def standings_table(standings: Sequence[Standing], trials: int, most: int = 10) -> Table:
    """Who leads so far, while a bench runs: the first `most` of what is given, the best first."""
    titles = ("method", "rate", "seeds", "pairs", "within", "FVU", "L0")
    table = Table(
        title=f"so far, on validation games: {trials} trials",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        header_style="bold",
        padding=(0, 1, 0, 0),
    )
    for title in titles:
        table.add_column(title, justify="left" if title == "method" else "right", no_wrap=True)
    for call, rate, seeds, scores in standings[:most]:
        counts = (_whole(scores[name]) for name in ("pairs/1", "pairs_within/1"))
        table.add_row(call, f"{rate:g}", str(seeds), *counts, _thousandths(scores["fvu"]), _tenths(scores["l0"]))
    return table


def markdown(title: str, those: Sequence[tuple[str, Level]], columns: Sequence[Column] = COLUMNS) -> str:
    """Some columns of some rows, and how they were trained, as a Markdown table."""
    head = [title, *(name for name, *_ in columns), "rate", "seeds", "core seconds"]
    lines = [f"| {' | '.join(head)} |", "|---|" + "--:|" * (len(head) - 1)]
    for name, level in those:
        cells = [cell(level, readout, metric, write) for _, readout, metric, write, _ in columns]
        training = (level["lr"], "g"), (len(level["seeds"]) or None, "d"), (level["core_seconds"], ".0f")
        cells += [MISSING if value is None else format(value, form) for value, form in training]
        lines.append(f"| {' | '.join([f'`{name}`', *cells])} |")
    return "\n".join(lines)
