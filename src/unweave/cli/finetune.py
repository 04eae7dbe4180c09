"""unweave finetune: a run whose decoder is trained once more, against shrinkage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from unweave.cli import live


def finetune(
    run: Annotated[Path, typer.Argument(help="a trained run's folder, pruned or not, which stays as it is")],
    out: Annotated[Path, typer.Option(help="the folder of the fine-tuned run")],
    steps: Annotated[int, typer.Option(help="optimiser steps, with batches as large as in training")] = 1000,
    lr: Annotated[float, typer.Option(help="the peak of the learning rate")] = 1e-3,
    device: Annotated[str, typer.Option(help='where: "cpu", "cuda", or one of several GPUs, such as "cuda:1"')] = "cpu",
    held_out: Annotated[int, typer.Option(help="held-out games or rows of text to score before and after")] = 256,
    json: Annotated[bool, typer.Option("--json", help="print finetune.json, and nothing else")] = False,
) -> None:
    """Train decoder, a scale for each feature and b_dec on the reconstruction alone, with the encoder as it is.

    Example: `unweave finetune runs/mine --out runs/mine-finetuned`

    Penalties make codes too small, and what they rebuild too short: the L2 ratio says how much.
    """
    from unweave import after
    from unweave.runs import Run
    from unweave.training.finetune import Finetuning
    from unweave.view.after import console_table

    settings = Finetuning(steps=steps, lr=lr, device=device)
    with live.progress("fine-tuning", quiet=json) as show:
        (found,) = after.finetune({out: Run(run)}, settings, held_out=held_out, on_progress=show)
    if json:
        live.console.print_json(data=found)
        return
    live.console.print(console_table(found))
    live.console.print(f"{out}; next: unweave evaluate {out}")
