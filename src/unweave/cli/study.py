"""unweave study: a report done anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from unweave.cli import live


def study(
    report: Annotated[
        str, typer.Argument(help="quaisley (report 001), openmoss (003) or agenda (what 003 wants tried next)")
    ],
    folder: Annotated[Path | None, typer.Option(help="where its runs go; runs/study-REPORT if not given")] = None,
    games: Annotated[
        int | None, typer.Option(help="quaisley: training games of an epoch; the report has 100,000")
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(help="openmoss: a subject that reads text; gpt2 for the report's own setting. agenda: any"),
    ] = None,
    text: Annotated[str | None, typer.Option(help="openmoss, agenda: a file or folder of text, or a source")] = None,
    tokens: Annotated[
        int | None,
        typer.Option(help="openmoss, agenda: tokens a dictionary is trained on; the report has 1,000,000,000"),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="agenda: of the training of its small models")] = None,
    seeds: Annotated[
        int | None, typer.Option(help="agenda: of how many first weights each dictionary is trained")
    ] = None,
    held_out: Annotated[int | None, typer.Option(help="games of validation and of test, each; or rows of text")] = None,
    seed: Annotated[int | None, typer.Option(help="quaisley, openmoss: of the first weights; 0 if not given")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="openmoss: only say what it would take")] = False,
    json: Annotated[bool, typer.Option("--json", help="print what was found as JSON, and nothing else")] = False,
) -> None:
    """Do a report's experiment anew on the bundled subjects, and show our table beside its own.

    Example: `unweave study quaisley --games 5000`

    In full it takes hours. The same command goes on where it was stopped.
    """
    options = {"games": games, "subject": subject, "text": text, "tokens": tokens, "steps": steps, "seeds": seeds}
    options |= {"held_out": held_out, "seed": seed, "plan": plan or None}
    if report not in _TAKES:
        raise ValueError(f"no study is called {report!r}; there are {', '.join(_TAKES)}")
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in _TAKES[report]:
            takers = " and ".join(other for other in _TAKES if name in _TAKES[other])
            raise ValueError(f"--{name} is for the study {takers}, not for {report}")
    _CARRY_OUT[report](folder or Path(f"runs/study-{report}"), given, json)


def _quaisley(folder: Path, settings: dict[str, Any], json: bool) -> None:
    from unweave.studies import quaisley
    from unweave.view import quaisley as tables

    made = quaisley.Study(folder=folder, **settings)
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


def _openmoss(folder: Path, settings: dict[str, Any], json: bool) -> None:
    from unweave import files
    from unweave.studies import openmoss
    from unweave.view import openmoss as tables

    only_plan = settings.pop("plan", False)
    if settings.get("subject") == "gpt2":
        settings = {**settings, **openmoss.GPT2, **{k: v for k, v in settings.items() if k != "subject"}}
    made = openmoss.Study(folder=folder, **settings)
    if only_plan:
        planned = openmoss.plan(made)
        if json:
            live.console.print_json(data=planned)
        for line in () if json else tables.planned(planned):
            live.console.print(line)
        return
    with live.trials(quiet=json) as show:
        found = openmoss.carry_out(made, show.stage, show, show.count)
    files.write_text(folder / "experiments.svg", tables.picture(found))
    if json:
        live.console.print_json(data=found)
        return
    for table in tables.console_tables(found):
        live.console.print(table)
    for sentence in (*tables.REPORT.values(), *tables.experiments(found)):
        live.console.print(f"- {sentence}")
    live.console.print(f"all figures: {folder / 'study.json'}; curves: {folder / 'experiments.svg'}")


def _agenda(folder: Path, settings: dict[str, Any], json: bool) -> None:
    from unweave.studies import agenda
    from unweave.view import agenda as tables

    with live.trials(quiet=json) as show:
        found = agenda.carry_out(agenda.Study(folder=folder, **settings), show.stage, show)
    if json:
        live.console.print_json(data=found)
        return
    for table, said in tables.console_tables(found):
        live.console.print(table)
        for sentence in said:
            live.console.print(f"- {sentence}")
    live.console.print(f"all figures: {folder / 'study.json'}; {tables.seconds(found)}")


_CARRY_OUT = {"quaisley": _quaisley, "openmoss": _openmoss, "agenda": _agenda}
_TAKES = {
    "quaisley": ("games", "held_out", "seed"),
    "openmoss": ("subject", "text", "tokens", "held_out", "seed", "plan"),
    "agenda": ("subject", "text", "tokens", "steps", "seeds", "held_out"),
}
"""Which options are for which study."""
