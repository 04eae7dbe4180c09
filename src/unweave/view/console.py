"""The score table as a terminal shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from unweave.view.table import COLUMNS, MISSING, TEXT_COLUMNS, Row, best, fitting, fraction, rows


def console_table(evaluations: Sequence[Mapping[str, Any]], width: int = 110) -> Table:
    """The score table for a terminal, as many columns as it has room for of those that say something, controls dimmed
    below a rule."""
    lines, table = rows(evaluations), Table(box=box.HORIZONTALS, padding=(0, 1, 0, 0), pad_edge=False)
    room = width - 2  # its edges; every column has a blank at either side
    for title, most, those in (("name", 26, [row.name for row in lines]), ("readout", 9, [*map(_readout, lines)])):
        table.add_column(title, max_width=most, overflow="ellipsis", no_wrap=True)
        room -= 2 + min(most, max(map(len, (title, *those))))
    of = TEXT_COLUMNS if any("text" in evaluation for evaluation in evaluations) else COLUMNS
    columns = [c for c in of if c.on_a_terminal and any(c.cell(row) != MISSING for row in lines)]
    texts = [[_short(column.cell(row)) for row in lines] for column in columns]
    n = fitting([[column.short, *cells] for column, cells in zip(columns, texts, strict=True)], room, 2)
    for column in columns[:n]:
        table.add_column(column.short, justify="right", no_wrap=True)
    winners = [best(column, lines) for column in columns[:n]]
    for i, row in enumerate(lines):
        if row.is_control and i and not lines[i - 1].is_control:
            table.add_section()
        cells = (Text(texts[j][i], style="bold" if i in those else "") for j, those in enumerate(winners))
        table.add_row(Text(row.name), Text(_readout(row)), *cells, style="dim" if row.is_control else None)
    return table


def hurt_table(evaluation: Mapping[str, Any], n: int = 10) -> Table:
    """The tokens after which a run's dictionary costs its subject most."""
    table = Table(box=box.HORIZONTALS, padding=(0, 1, 0, 0), pad_edge=False)
    for title in ("token", "times", "+CE", "FVU"):
        table.add_column(title, justify="left" if title == "token" else "right", no_wrap=True)
    for token in evaluation["hurt"][:n]:
        numbers = (MISSING if token[key] is None else fraction(token[key]) for key in ("ce_increase", "fvu"))
        table.add_row(Text(repr(token["name"])), str(token["count"]), *numbers)
    return table


def _readout(row: Row) -> str:
    return row.readout.replace("activations", "act")


def _short(cell: str) -> str:
    return cell.replace(" / ", "/").replace(" %", "%")
