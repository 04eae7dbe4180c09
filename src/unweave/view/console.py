"""The score table as a terminal shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from unweave.view.table import COLUMNS, best, rows


def console_table(evaluations: Sequence[Mapping[str, Any]]) -> Table:
    """The score table for a terminal of 110 columns, controls dimmed below a rule."""
    table = Table(box=box.HORIZONTALS, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("name", max_width=26, overflow="ellipsis", no_wrap=True)
    table.add_column("readout", max_width=9, overflow="ellipsis", no_wrap=True)
    columns = [column for column in COLUMNS if column.on_a_terminal]
    for column in columns:
        table.add_column(column.short, justify="right", no_wrap=True)
    lines = rows(evaluations)
    winners = {column: best(column, lines) for column in columns}
    for i, row in enumerate(lines):
        if row.is_control and i and not lines[i - 1].is_control:
            table.add_section()
        cells = [
            Text(column.cell(row).replace(" / ", "/").replace(" %", "%"), style="bold" if i in winners[column] else "")
            for column in columns
        ]
        readout = row.readout.replace("activations", "act")
        table.add_row(Text(row.name), Text(readout), *cells, style="dim" if row.is_control else None)
    return table
