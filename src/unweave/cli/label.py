"""unweave label: let a language model name features."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from unweave.cli import live

KEY = "UNWEAVE_API_KEY"


def label(
    folder: Annotated[Path, typer.Argument(help="a run that has a view")],
    url: Annotated[str, typer.Option(help='of an OpenAI-compatible server, as in "http://localhost:8000/v1"')],
    model: Annotated[str, typer.Option(help="which of its models")],
    feature: Annotated[list[int] | None, typer.Option(help="which feature; again for more")] = None,
    n: Annotated[int, typer.Option(help="without --feature, so many: those that write most")] = 100,
    again: Annotated[bool, typer.Option("--again", help="also those that the model has labelled before")] = False,
    parallel: Annotated[int, typer.Option(help="how many are asked about at once")] = 4,
) -> None:
    """Let a language model name features from examples, and score each name by how well it tells where they are active.

    Example: `unweave label runs/mine --url http://localhost:8000/v1 --model llama`

    A key, if the server wants one, is read from UNWEAVE_API_KEY. Examples of the held-out text are sent to the server.
    What is done is kept, whatever ends it.
    """
    from unweave.dashboards.endpoint import Endpoint
    from unweave.dashboards.interpret import interpret
    from unweave.dashboards.reading import View

    view = View(folder)
    ask = Endpoint(url, model, os.environ.get(KEY, ""))
    chosen = feature or (-view.column("share")).argsort(kind="stable")[:n].tolist()
    with live.progress(f"labels by {model}") as show:
        found = interpret(
            view, chosen, ask, model, again=again, parallel=parallel, on_feature=lambda _, done, of: show(done, of)
        )
    for each in found:
        score = "" if each.score is None else f"    detection {each.score:.2f}"
        live.console.print(f"{each.feature:>6}  {each.text}{score}")
    if not found:
        live.console.print("nothing to label: all of these have a label by this model, or are never active")
