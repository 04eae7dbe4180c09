"""unweave study: a report done anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unweave.cli import live


def study(
    report: Annotated[str, typer.Argument(help="which report: quaisley (001)")],
    folder: Annotated[Path | None, typer.Option(help="where its runs go; runs/study-REPORT if not given")] = None,
    games: Annotated[int, typer.Option(help="training games of an epoch; the report has 100,000")] = 100_000,
    held_out: Annotated[int, typer.Option(help="games of validation and of test, each")] = 2000,
    seed: Annotated[int, typer.Option(help="of the first weights")] = 0,
    json: Annotated[bool, typer.Option("--json", help="print what was found as JSON, and nothing else")] = False,
) -> None:
    """Do a report's experiment anew on the bundled subject, and show our table beside its own.

    Example: `unweave study quaisley --games 5000`

    In full it takes hours. The same command goes on where it was stopped.
    """
    from unweave.studies import quaisley
    from unweave.view import quaisley as tables

    if report != "quaisley":
        raise ValueError(f"no study is called {report!r}; there is quaisley")
    made = quaisley.Study(folder=folder or Path("runs/study-quaisley"), games=games, held_out=held_out, seed=seed)
    with live.trials(quiet=json) as show:
        found = quaisley.carry_out(made, show.stage, show)
    if json:
        live.console.print_json(data=found)
        return
    live.console.print("each cell: the report / ours with its coefficients / ours with tuned ones")
    live.console.print(tables.console_table(found))
    live.console.print("what it leaves open; 'at k': unexplained variance of the k largest pre-activations alone")
    live.console.print(tables.questions_table(found))
    for sentence in tables.answers(found):
        live.console.print(f"- {sentence}")
    live.console.print(f"all figures: {made.folder / 'study.json'}")
