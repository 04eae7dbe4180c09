"""unweave train: one dictionary, into a run folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from unweave.cli import live
from unweave.config import RunConfig, override


def train(
    folder: Annotated[
        Path | None,
        typer.Argument(help="one that is unfinished is taken up where it was; if none is said, one in runs/"),
    ] = None,
    method: Annotated[
        str | None, typer.Option(help='e.g. "topk(k=64)", "relu(l1=1.0)", or one of your own: "mine.py:mine()"')
    ] = None,
    site: Annotated[
        str | None, typer.Option(help="whose activations: resid_post.0, mlp_out.3, blocks.2.hook_resid_pre")
    ] = None,
    d_sae: Annotated[int | None, typer.Option(help="how many features")] = None,
    subject: Annotated[str | None, typer.Option(help='"othello()", "control(seed=0)", or the path of a model')] = None,
    text: Annotated[
        str | None, typer.Option(help='what a subject of text reads: a file, a folder, "stdlib()" or "hub(name=...)"')
    ] = None,
    steps: Annotated[int | None, typer.Option(help="optimiser steps")] = None,
    seed: Annotated[int | None, typer.Option(help="of the dictionary's first weights")] = None,
    device: Annotated[str | None, typer.Option(help='where: "cpu", "cuda", or one GPU, such as "cuda:1"')] = None,
    config: Annotated[Path | None, typer.Option(help="start from a config.json instead of the defaults")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="any other setting, e.g. --set training.lr=1e-3")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="print the last report as JSON, and nothing else")] = False,
) -> None:
    """Train a dictionary on a subject's activations.

    Example: `unweave train runs/mine --method "topk(k=64)" --site resid_post.0 --d-sae 1024`

    On text: `unweave train runs/text --subject models/gpt2 --text pages.jsonl --site resid_post.6`

    Ctrl-C or a crash loses little: the same command goes on from the last checkpoint, to the same weights.
    """
    from unweave import runs  # torch and the rest, only when needed
    from unweave.dictionary.own import call_of

    base = runs.read_config(config) if config else RunConfig()
    call = call_of(method) if method else None
    named = {"method": call, "site": site, "d_sae": d_sae, "subject": subject, "seed": seed}
    named |= {"data.text": text, "training.steps": steps, "training.device": device}
    made = override(base, {k: v for k, v in named.items() if v is not None} | live.parse_settings(settings))
    folder = folder or _folder(made)
    with live.training({runs.Run(folder).name: made.training.steps}, quiet=json) as show:
        (run,) = runs.train({folder: made}, show)
    last = run.metrics()[-1]
    if json:
        live.console.print_json(data=last)
        return
    live.console.print(f"{run.folder}: {made.method} on {made.site}, FVU {last['fvu']:.3f}, L0 {last['l0']:.1f}")
    live.console.print(f"next: unweave evaluate {run.folder}")


def _folder(config: RunConfig) -> Path:
    """Of a run that was given none: named for what it is a dictionary of."""
    name = f"{Path(config.subject).name} {config.site} {config.method}"
    return Path("runs") / re.sub(r"[^\w.=]+", "-", name).strip("-")
