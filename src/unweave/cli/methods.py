"""unweave methods: every sparsity method, with its source."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from unweave.cli import live


def methods(
    json: Annotated[bool, typer.Option("--json", help="print the list as JSON, and nothing else")] = False,
) -> None:
    """List every sparsity method: how it is called, with its defaults, what it does and where it is from.

    Example: `unweave methods`; then `unweave train runs/mine --method "leaky_topk(k=70)"`
    """
    from unweave.dictionary import METHODS

    rows = [
        {
            "name": name,
            "call": METHODS.describe(name),
            "says": (METHODS[name].__doc__ or "").strip().partition("\n\n")[0].replace("\n    ", " "),
            "source": METHODS.build(name).source,
        }
        for name in METHODS
    ]
    if json:
        live.console.print_json(data=rows)
        return
    table = Table(box=None, header_style="bold", padding=(0, 1, 1, 0))
    for title in ("method", "what it does", "source"):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(escape(row[cell]) for cell in ("call", "says", "source")))
    live.console.print(table)
    live.console.print(f"{len(rows)} methods; one of your own is one small file: see examples/own_method.py")
