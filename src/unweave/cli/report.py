"""unweave report: a page to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unweave.cli import live


def report(
    folder: Annotated[Path, typer.Argument(help="an evaluated run, or a folder of such runs")],
    json: Annotated[bool, typer.Option("--json", help="print where the page is as JSON, and nothing else")] = False,
) -> None:
    """Write report.html: one self-contained page with the table, the figures and the best features' boards.

    Example: `unweave report runs/demo`
    """
    from unweave.demo import report as write

    page = write(folder)
    if json:
        live.console.print_json(data={"report": str(page)})
    else:
        live.console.print(f"{page}: open it in a browser")
