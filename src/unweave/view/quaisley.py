"""The study of report 001 as tables: ours beside the report's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from unweave.view.table import MISSING

Found = Mapping[str, Any]


def _count(value: float | int | None) -> str:
    return MISSING if value is None else f"{value:.0f}"


def _share(value: float | int | None) -> str:
    return MISSING if value is None else f"{value:.1%}"


def rows(found: Found) -> list[list[str]]:
    """Method; classifiers, unexplained variance, active and dead, each by the report, ours with its coefficients, and
    ours with tuned ones; the tuned call."""
    lines = []
    for row in found["rows"]:
        report, its, ours = row["report"], row["its"], row["ours"]
        cells = [row["method"]]
        for name, write in (("classifiers", _count), ("fvu", _share), ("active", _share), ("dead", _share)):
            cells += [write(each[name]) for each in (report, its, ours)]
        lines.append([*cells, ours["call"]])
    return lines


def console_table(found: Found) -> Table:
    """Each cell: the report / ours with its coefficients / ours with tuned ones."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0))
    for title in ("method", "classifiers", "unexplained", "active", "dead", "tuned"):
        table.add_column(title, overflow="fold", justify="left" if title in ("method", "tuned") else "right")
    for cells in rows(found):
        table.add_row(cells[0], *(" / ".join(cells[i : i + 3]) for i in (1, 4, 7, 10)), cells[13])
    return table


def questions_table(found: Found) -> Table:
    """What the report leaves open."""
    ks = list(found["questions"][0]["progressive"])
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0))
    titles = ["", "classifiers", "unexplained", "dead", *(f"at {k}" for k in ks)]
    for title in titles:
        table.add_column(title, overflow="fold", justify="right" if title else "left")
    for row in found["questions"]:
        figures = [_count(row["classifiers"]), _share(row["fvu"]), _share(row["dead"])]
        table.add_row(row["title"], *figures, *(_share(row["progressive"][k]) for k in ks))
    return table
