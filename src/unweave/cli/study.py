"""unweave study: a report done anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from unweave.cli import live


def study(
    report: Annotated[str, typer.Argument(help="which report: quaisley (001) or openmoss (003)")],
    folder: Annotated[Path | None, typer.Option(help="where its runs go; runs/study-REPORT if not given")] = None,
    games: Annotated[
        int | None, typer.Option(help="quaisley: training games of an epoch; the report has 100,000")
    ] = None,
    subject: Annotated[
        str | None, typer.Option(help="openmoss: a subject that reads text; gpt2 for the report's own setting")
    ] = None,
    text: Annotated[str | None, typer.Option(help="openmoss: a file or folder of text, or a source")] = None,
    tokens: Annotated[
        int | None, typer.Option(help="openmoss: tokens to train on; the report has 1,000,000,000")
    ] = None,
    held_out: Annotated[int | None, typer.Option(help="games of validation and of test, each; or rows of text")] = None,
    seed: Annotated[int, typer.Option(help="of the first weights")] = 0,
    plan: Annotated[bool, typer.Option("--plan", help="openmoss: only say what it would take")] = False,
    json: Annotated[bool, typer.Option("--json", help="print what was found as JSON, and nothing else")] = False,
) -> None:
    """Do a report's experiment anew on the bundled subjects, and show our table beside its own.

    Example: `unweave study quaisley --games 5000`

    In full it takes hours. The same command goes on where it was stopped.
    """
    of_each = {
        "quaisley": {"games": games},
        "openmoss": {"subject": subject, "text": text, "tokens": tokens, "plan": plan or None},
    }
    if report not in of_each:
        raise ValueError(f"no study is called {report!r}; there are {', '.join(of_each)}")
    for other, its in of_each.items():
        for name, value in its.items():
            if other != report and value is not None:
                raise ValueError(f"--{name} is for the study {other}, not for {report}")
    given = {name: value for name, value in {**of_each[report], "held_out": held_out}.items() if value is not None}
    where = folder or Path(f"runs/study-{report}")
    (_quaisley if report == "quaisley" else _openmoss)(where, {**given, "seed": seed}, json)


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
