"""`unweave pretrain othello`: train a subject."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from unweave.cli.live import deferred_interrupt
from unweave.registry import nearest
from unweave.subject.card import export
from unweave.subject.gpt import GPTConfig
from unweave.subject.othello_training import OthelloTraining, pretrain_othello
from unweave.subject.pretrain import Pretraining


def pretrain(
    what: Annotated[str, typer.Argument(help="What to train: othello.")],
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = 3200,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 3e-3,
    batch: Annotated[int, typer.Option(help="Games a step.")] = 128,
    decay: Annotated[float, typer.Option(help="Share of the steps in which the rate falls to 0.")] = 0.5,
    layers: Annotated[int, typer.Option(help="Blocks.")] = 6,
    width: Annotated[int, typer.Option(help="Width of the residual stream.")] = 256,
    heads: Annotated[int, typer.Option(help="Attention heads in a block.")] = 8,
    seed: Annotated[int, typer.Option(help="Of the initial weights and of the games.")] = 0,
    targets: Annotated[str, typer.Option(help="exact (the next move's distribution) or sampled (the move).")] = "exact",
    start: Annotated[str, typer.Option(help="Folder of a trained model to start from; fresh weights otherwise.")] = "",
    out: Annotated[Path, typer.Option(help="Folder to train in; a training there is continued.")] = Path(
        "models/othello"
    ),
    threads: Annotated[int, typer.Option(help="Processor threads; 0 for torch's own choice.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, or cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print the finished model's card as JSON.")] = False,
) -> None:
    """Train an OthelloGPT, then write it in bfloat16 with a card of how good it is.

    Ctrl-C stops after the step under way; the same command continues. When all steps are done, it only writes the
    model.

    Example: unweave pretrain othello --out models/othello --steps 3200
    """
    if what != "othello":
        raise ValueError(f"cannot pretrain {what!r}{nearest(what, ['othello'])}")
    if threads < 0:
        raise ValueError(f"threads must be at least 0, not {threads}")
    if device != "cpu" and not (device.startswith("cuda") and torch.cuda.is_available()):
        raise ValueError(f"there is no device {device!r} here: cpu, or cuda where torch finds a GPU")
    if threads:
        torch.set_num_threads(threads)
    config = OthelloTraining(
        gpt=GPTConfig(n_layers=layers, d_model=width, n_heads=heads),
        how=Pretraining(steps=steps, lr=lr, decay=decay, seed=seed),
        batch=batch,
        targets=targets,
        start=start,
    )
    done = _train(out, config, device)
    if done < steps:
        typer.echo(f"stopped after step {done} of {steps}; to continue: {config.command} --out {out}", err=True)
        raise typer.Exit(130)
    card = export(out, device)
    if as_json:
        typer.echo(json.dumps(card, indent=2))
    else:
        _show(card, out)


def _train(out: Path, config: OthelloTraining, device: str) -> int:
    """Train with a progress bar; the last step done."""
    step = config.how.steps
    columns = (
        TextColumn("loss {task.fields[loss]:.4f}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:.0f} games/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar, deferred_interrupt() as stop:
        task = bar.add_task("", total=config.how.steps, loss=float("nan"), rate=0.0)
        training = pretrain_othello(out, config, device)
        for news in training:
            step = news.step
            bar.update(task, completed=step, loss=news.loss, rate=config.batch / news.seconds)
            if stop:
                training.close()  # type: ignore[attr-defined]  (a generator: closing it writes the checkpoint)
    return step


def _show(card: dict[str, Any], out: Path) -> None:
    figures = card["figures"]
    table = Table(title=f"{out}, on {figures['games']:,} held-out games", title_justify="left", show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    table.add_row("top-1 illegal rate", f"{figures['illegal_rate']:.3%}")
    table.add_row("illegal probability mass", f"{figures['illegal_mass']:.3%}")
    table.add_row("cross-entropy, exact next-move distribution", f"{figures['cross_entropy']:.4f} nats")
    table.add_row("its entropy, the floor", f"{figures['entropy']:.4f} nats")
    table.add_row("cross-entropy, moves played", f"{figures['cross_entropy_sampled']:.4f} nats")
    Console().print(table)
