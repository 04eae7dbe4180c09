"""unweave evaluate: score runs' dictionaries, with the controls beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unweave.cli import live

if TYPE_CHECKING:
    from unweave.runs import Run


def evaluate(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="folders of trained runs")],
    games: Annotated[
        int, typer.Option(help="held-out games; features are chosen on one half and scored on the other")
    ] = 2000,
    rows: Annotated[int, typer.Option(help="held-out rows, for subjects that read text")] = 256,
    seed: Annotated[int, typer.Option(help="of the held-out games or rows")] = 1,
    control: Annotated[
        bool, typer.Option("--control", help="on text, train the shuffled-subject control too, if it is not there")
    ] = False,
    together: Annotated[
        Path | None, typer.Option(help="on text, a file for the scores of all runs spliced in together")
    ] = None,
    method_file: Annotated[
        Path | None, typer.Option(help="where a method of your own is, if a run was trained with one")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="print what was found as JSON, and nothing else")] = False,
) -> None:
    """Score dictionaries on games or text that training never saw, beside controls that say what the scores are worth.

    Example: `unweave evaluate runs/mine`

    The shuffled-subject control is a dictionary of the same config, trained on the subject with its weights shuffled;
    it is kept in the run's folder under `control`, and trained there first if need be; on text, where that takes long,
    only if asked. Runs of one subject that reads text are scored alone, and spliced in together.
    """
    from unweave.dictionary.own import load
    from unweave.runs import Run

    if method_file:
        load(method_file)
    runs = [Run(folder) for folder in folders]
    for run in runs:
        run.dictionary()  # a run that is not trained is told so before anything else happens
    if any(run.config.data.text for run in runs):
        if together is not None and len(runs) < 2:
            raise ValueError(f"nothing would be in {together}: name two runs at least to splice them in together")
        if control:
            _train_controls(runs, quiet=json)
        _on_text(runs, rows, seed, together, quiet=json)
    else:
        if control or together is not None:
            raise ValueError(
                "--control and --together are for text: on Othello every run has its control, and stands alone"
            )
        found = [_on_games(run, games, seed, quiet=json) for run in runs]
        if json:
            live.console.print_json(data=found[0] if len(found) == 1 else found)


def _train_controls(runs: list[Run], quiet: bool) -> None:
    from unweave.evaluation.evaluate import train_control

    for run in runs:
        with live.training({"control": run.config.training.steps}, quiet) as show:
            train_control(run, show)


def _on_games(run: Run, games: int, seed: int, quiet: bool) -> dict[str, Any]:
    from unweave.evaluation.context import Context
    from unweave.evaluation.controls import Controls
    from unweave.evaluation.evaluate import evaluate, train_control
    from unweave.view.console import console_table

    config = run.config
    context = Context(config.subject, config.site, config.target, n_games=games, seed=seed)
    with live.training({"control": config.training.steps}, quiet) as show:
        control = train_control(run, show)
    with live.stage(f"scoring {run.name} and the controls on {games} held-out games", quiet):
        found = evaluate(run, Controls(context, control))
    if not quiet:
        live.console.print(console_table([found], live.console.width))
        live.console.print(f"all metrics: {run.folder / 'evaluation.json'}; next: unweave report {run.folder}")
    return found


def _on_text(runs: list[Run], rows: int, seed: int, together: Path | None, quiet: bool) -> None:
    from unweave import files
    from unweave.evaluation.language import evaluate
    from unweave.view.console import console_table, hurt_table

    names = ", ".join(run.name for run in runs)
    with live.stage(f"scoring {names} on {rows} held-out rows", quiet):
        found = evaluate(runs, n_rows=rows, seed=seed)
    whole = found["together"]
    if together is not None:
        if whole is None:
            raise ValueError(
                f"{together} is not written: these runs cannot be spliced in together; each is scored alone"
            )
        files.write_json(together, whole)
    if quiet:
        live.console.print_json(data=found)
        return
    live.console.print(console_table(found["runs"], live.console.width))
    predicts = found["runs"][0]["text"]["predictions"] > 0
    if not predicts:
        live.console.print("the subject does not predict the next token: only codes and reconstructions are scored")
    for run in found["runs"]:
        if run["hurt"]:
            live.console.print(f"where {run['run']} costs most: the tokens after which predictions get worse")
            live.console.print(hurt_table(run))
    if whole is not None:
        live.console.print("all spliced in together")
        live.console.print(console_table([whole | {"run": "together", "site": "all"}], live.console.width))
    elif predicts and len(runs) > 1:
        live.console.print("not spliced in together: two of them write the same site")
    live.console.print(f"all metrics: {', '.join(str(run.folder / 'evaluation.json') for run in runs)}")
