"""unweave evaluate: score a run's dictionary, with the controls beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unweave.cli import live


def evaluate(
    folder: Annotated[Path, typer.Argument(help="a trained run's folder")],
    games: Annotated[
        int, typer.Option(help="held-out games; features are chosen on one half and scored on the other")
    ] = 2000,
    seed: Annotated[int, typer.Option(help="of the held-out games")] = 1,
    method_file: Annotated[
        Path | None, typer.Option(help="where a method of your own is, if the run was trained with one")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="print evaluation.json, and nothing else")] = False,
) -> None:
    """Score a dictionary on games that training never saw, beside controls that say what the scores are worth.

    Example: `unweave evaluate runs/mine`

    The shuffled-subject control is a dictionary of the same config, trained on the subject with its weights shuffled;
    it is kept in the run's folder under `control`, and trained there first if need be.
    """
    from unweave.dictionary.own import load
    from unweave.evaluation.context import Context
    from unweave.evaluation.controls import Controls
    from unweave.evaluation.evaluate import evaluate as score
    from unweave.evaluation.evaluate import train_control
    from unweave.runs import Run
    from unweave.view.console import console_table

    if method_file:
        load(method_file)
    run = Run(folder)
    run.dictionary()  # a run that is not trained is told so before anything else happens
    config = run.config
    context = Context(config.subject, config.site, config.target, n_games=games, seed=seed)
    with live.training({"control": config.training.steps}, quiet=json) as show:
        control = train_control(run, show)
    with live.stage(f"scoring {run.name} and the controls on {games} held-out games", quiet=json):
        found = score(run, Controls(context, control))
    if json:
        live.console.print_json(data=found)
        return
    live.console.print(console_table([found], live.console.width))
    live.console.print(f"all metrics: {run.folder / 'evaluation.json'}; next: unweave report {run.folder}")
