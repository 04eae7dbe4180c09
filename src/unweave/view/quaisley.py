"""The study of report 001 as tables: ours beside the report's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from unweave.view.table import MISSING

Found = Mapping[str, Any]

_FIGURES = ("classifiers", "unexplained", "active", "dead")


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


def markdown(found: Found) -> str:
    """The same rows as two Markdown tables, one below the other: a page has no room for both beside each other."""
    head = [f"{figure}, {of}" for figure in _FIGURES for of in ("report", "ours", "tuned")]
    lines = [[f"`{name}`", *cells, f"`{call}`"] for name, *cells, call in rows(found)]
    outcome = _markdown(["method", *head[:6]], [line[:7] for line in lines])
    code = _markdown(["method", *head[6:], "tuned to"], [[line[0], *line[7:]] for line in lines])
    return f"{outcome}\n\n{code}"


def _markdown(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = "|---|" + "--:|" * (len(titles) - 1)
    return "\n".join([f"| {' | '.join(titles)} |", rule, *(f"| {' | '.join(line)} |" for line in lines)])


def console_table(found: Found) -> Table:
    """Each cell: the report / ours with its coefficients / ours with tuned ones."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0))
    for title in ("method", *_FIGURES, "tuned"):
        table.add_column(title, overflow="fold", justify="left" if title in ("method", "tuned") else "right")
    for cells in rows(found):
        table.add_row(cells[0], *(" / ".join(cells[i : i + 3]) for i in (1, 4, 7, 10)), cells[13])
    return table


def _asked(found: Found) -> tuple[list[str], list[list[str]]]:
    """Titles, and a row a dictionary that was trained for what the report leaves open."""
    ks = list(found["questions"][0]["progressive"])
    titles = ["", "classifiers", "unexplained", "dead", *(f"at {k}" for k in ks)]
    lines = []
    for row in found["questions"]:
        figures = [_count(row["classifiers"]), _share(row["fvu"]), _share(row["dead"])]
        lines.append([row["title"], *figures, *(_share(row["progressive"][k]) for k in ks)])
    return titles, lines


def questions_table(found: Found) -> Table:
    """What the report leaves open."""
    titles, lines = _asked(found)
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0))
    for title in titles:
        table.add_column(title, overflow="fold", justify="right" if title else "left")
    for cells in lines:
        table.add_row(*cells)
    return table


def questions_markdown(found: Found) -> str:
    """What the report leaves open, as a Markdown table."""
    return _markdown(*_asked(found))


def answers(found: Found) -> list[str]:
    """What the figures say to each question, in a sentence."""
    topk, transposed, multi, leaky, relative, deep_leaky, deep_topk = found["questions"]

    def beyond(row: Mapping[str, Any]) -> str:
        ks = [k for k in row["progressive"] if int(k) >= 64] or list(row["progressive"])
        return ", ".join(f"{_share(row['progressive'][k])} at {k}" for k in ks)

    def both(row: Mapping[str, Any]) -> str:
        return f"{_count(row['classifiers'])} classifiers and {_share(row['fvu'])} unexplained"

    return [
        f"Does the transposed start remove TopK's dead features? {_share(topk['dead'])} are dead with an independent "
        f"encoder, {_share(transposed['dead'])} with the transpose.",
        f"Is leaky top-k like Multi-TopK? Multi-TopK has {both(multi)}, leaky top-k {both(leaky)}, and "
        f"{both(relative)} if a tenth of each leaks.",
        f"Is the code of leaky top-k progressive beyond its k? Unexplained is {beyond(leaky)}; "
        f"{beyond(relative)} if a tenth of each leaks; for Multi-TopK {beyond(multi)}; for TopK {beyond(topk)}.",
        f"Does a deeper encoder help? With one, leaky top-k has {both(deep_leaky)} (without: {both(relative)}), "
        f"TopK {both(deep_topk)} (without: {both(topk)}).",
    ]
