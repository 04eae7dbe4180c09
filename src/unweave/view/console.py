"""The score table as a terminal shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from unweave.view.table import COLUMNS, Row, best, rows


def console_table(evaluations: Sequence[Mapping[str, Any]], width: int = 110) -> Table:
    """The score table for a terminal, as many columns as it has room for, controls dimmed below a rule."""
    lines = rows(evaluations)
    table = Table(box=box.HORIZONTALS, padding=(0, 1, 0, 0), pad_edge=False)
    used = 2  # its edges; each column has a blank at either side
    for title, most, texts in (
        ("name", 26, [row.name for row in lines]),
        ("readout", 9, [_readout(row) for row in lines]),
    ):
        table.add_column(title, max_width=most, overflow="ellipsis", no_wrap=True)
        used += 2 + min(most, max(map(len, (title, *texts))))
    shown: list[list[Text]] = []
    for column in (column for column in COLUMNS if column.on_a_terminal):
        texts, winners = [_short(column.cell(row)) for row in lines], best(column, lines)
        used += 2 + max(map(len, (column.short, *texts)))
        if used > width:
            break
        table.add_column(column.short, justify="right", no_wrap=True)
        shown.append([Text(text, style="bold" if i in winners else "") for i, text in enumerate(texts)])
    for i, row in enumerate(lines):
        if row.is_control and i and not lines[i - 1].is_control:
            table.add_section()
        cells = (texts[i] for texts in shown)
        table.add_row(Text(row.name), Text(_readout(row)), *cells, style="dim" if row.is_control else None)
    return table


def _readout(row: Row) -> str:
    return row.readout.replace("activations", "act")


def _short(cell: str) -> str:
    return cell.replace(" / ", "/").replace(" %", "%")
