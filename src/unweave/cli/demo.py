"""unweave demo: the main job, end to end."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from unweave.cli import live


def demo(
    folder: Annotated[Path, typer.Argument(help="where the runs and the report go")] = Path("runs/demo"),
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="e.g. --set seed=1, --set training.lr=1e-3")
    ] = None,
    games: Annotated[int, typer.Option(help="held-out games for the scores")] = 1600,
    json: Annotated[bool, typer.Option("--json", help="print the evaluations as JSON, and nothing else")] = False,
) -> None:
    """Train a handful of dictionaries on the bundled OthelloGPT, score them beside controls, and write a report.

    Example: `unweave demo`

    It takes a few minutes on two cores. What was trained before it was stopped is not trained again.
    """
    from unweave import demo as job
    from unweave import runs
    from unweave.dashboards.build import build
    from unweave.evaluation.evaluate import evaluate_all
    from unweave.view.console import console_table

    began = time.perf_counter()
    made = job.jobs(folder, live.parse_settings(settings))
    context = job.context(made, games)
    with live.training({path.name: config.training.steps for path, config in made.items()}, quiet=json) as show:
        trained = runs.train(made, show)
    with live.stage("scoring the controls", quiet=json):
        controls = job.controls(made, context)
        controls.rows  # noqa: B018 (computed once, here, so that the line above says what takes the time)
    dictionaries = [run for run in trained if run.name != job.CONTROL]
    with live.stage("scoring the dictionaries", quiet=json):
        found = evaluate_all(dictionaries, controls)
    page = job.report(folder)
    best = job.best(dictionaries)
    with live.steps(f"the view of {best.folder}", quiet=json) as tell:
        build(best, n_rows=games, on_progress=tell)
    if json:
        live.console.print_json(data=found)
        return
    live.console.print(console_table(found, live.console.width))
    live.console.print(f"\n{len(made)} runs in {folder}, made in {time.perf_counter() - began:.0f} s. Look at them:")
    command = "unweave" if shutil.which("unweave") else sys.argv[0]  # not there where only `make` knows it
    live.console.print(
        f"  {page}    in a browser\n  {command} runs {folder}\n  {command} view {folder}", soft_wrap=True
    )
