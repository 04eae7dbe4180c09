"""unweave prune: a run without the features that do nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unweave.cli import live


def prune(
    run: Annotated[Path, typer.Argument(help="a trained run's folder, which stays as it is")],
    out: Annotated[Path, typer.Option(help="the folder of the pruned run")],
    max_activation: Annotated[
        float, typer.Option(help="remove features that are never stronger, in the units of the dictionary's codes")
    ] = 1.0,
    decoder_norm: Annotated[float, typer.Option(help="remove features whose decoder row is shorter")] = 0.99,
    frequency: Annotated[
        float, typer.Option(help="remove features that are active in a smaller share of tokens")
    ] = 1e-6,
    tokens: Annotated[
        int, typer.Option(help="tokens of the training split to count on; report 003 has 10,000,000")
    ] = 1_000_000,
    held_out: Annotated[int, typer.Option(help="held-out games or rows of text to score before and after")] = 256,
    json: Annotated[bool, typer.Option("--json", help="print prune.json, and nothing else")] = False,
) -> None:
    """Remove the features of a dictionary that do next to nothing: those that break one of three rules (0: no rule).

    Example: `unweave prune runs/mine --out runs/mine-pruned`
    """
    from unweave import after
    from unweave.runs import Run
    from unweave.training.prune import Rules
    from unweave.view.after import console_table, removed

    rules = Rules(max_activation=max_activation, decoder_norm=decoder_norm, frequency=frequency)
    with live.progress("counting", quiet=json) as show:
        (found,) = after.prune({out: Run(run)}, rules, tokens=tokens, held_out=held_out, on_progress=show)
    if json:
        live.console.print_json(data=found)
        return
    live.console.print(removed(found))
    live.console.print(console_table(found))
    live.console.print(f"{out}; next: unweave finetune {out} --out {out}-finetuned")
