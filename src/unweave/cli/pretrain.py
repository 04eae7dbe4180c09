"""`unweave pretrain othello` and `unweave pretrain text`: train a subject."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from unweave.cli.live import deferred_interrupt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unweave.subject.pretrain import Progress as News

pretrain = typer.Typer(rich_markup_mode="markdown", no_args_is_help=True)

Lr = Annotated[float, typer.Option(help="Peak learning rate.")]
Decay = Annotated[float, typer.Option(help="Share of the steps in which the rate falls to 0.")]
Steps = Annotated[int, typer.Option(help="Optimiser steps.")]
Out = Annotated[Path, typer.Option(help="Folder to train in; a training there is continued.")]
Threads = Annotated[int, typer.Option(help="Processor threads; 0 for torch's own choice.")]
Device = Annotated[str, typer.Option(help="cpu, or cuda.")]
Json = Annotated[bool, typer.Option("--json", help="Print the finished model's card as JSON.")]


@pretrain.callback()
def about() -> None:
    """Train a subject: an OthelloGPT, or a language model.

    Example: `unweave pretrain text --out models/text --size small`
    """


@pretrain.command()
def othello(
    steps: Steps = 3200,
    lr: Lr = 3e-3,
    batch: Annotated[int, typer.Option(help="Games a step.")] = 128,
    decay: Decay = 0.5,
    layers: Annotated[int, typer.Option(help="Blocks.")] = 6,
    width: Annotated[int, typer.Option(help="Width of the residual stream.")] = 256,
    heads: Annotated[int, typer.Option(help="Attention heads in a block.")] = 8,
    seed: Annotated[int, typer.Option(help="Of the initial weights and of the games.")] = 0,
    targets: Annotated[str, typer.Option(help="exact (the next move's distribution) or sampled (the move).")] = "exact",
    start: Annotated[str, typer.Option(help="Folder of a trained model to start from; fresh weights otherwise.")] = "",
    out: Out = Path("models/othello"),
    threads: Threads = 0,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Train an OthelloGPT, then write it in bfloat16 with a card of how good it is.

    Ctrl-C stops after the step under way; the same command continues. When all steps are done, it only writes the
    model.

    Example: `unweave pretrain othello --out models/othello --steps 3200`
    """
    from unweave.subject import card, othello_training  # torch and the rest, only when needed
    from unweave.subject.gpt import GPTConfig
    from unweave.subject.pretrain import Pretraining

    _use(threads, device)
    config = othello_training.OthelloTraining(
        gpt=GPTConfig(n_layers=layers, d_model=width, n_heads=heads),
        how=Pretraining(steps=steps, lr=lr, decay=decay, seed=seed),
        batch=batch,
        targets=targets,
        start=start,
    )
    training = othello_training.pretrain_othello(out, config, device)
    _train(training, steps, f"{config.command} --out {out}", batch, "games")
    made = card.export(out, device)
    _show(made, f"{out}, on {made['figures']['games']:,} held-out games", _othello(made["figures"]), as_json)


@pretrain.command()
def text(
    size: Annotated[str, typer.Option(help="small, middle or large: layers, width and heads.")] = "middle",
    shape: Annotated[str, typer.Option(help="gpt2, mamba or mixtral.")] = "gpt2",
    layers: Annotated[int, typer.Option(help="Blocks; 0: as the size says.")] = 0,
    width: Annotated[int, typer.Option(help="Width of the residual stream; 0: as the size says.")] = 0,
    heads: Annotated[int, typer.Option(help="Attention heads in a block; 0: as the size says.")] = 0,
    context: Annotated[int, typer.Option(help="Positions: the longest text it reads, in tokens.")] = 256,
    vocabulary: Annotated[int, typer.Option(help="Tokens of its alphabet.")] = 4096,
    source: Annotated[str, typer.Option(help="Of the text: stdlib(), a file or folder, hub(name='...').")] = "stdlib()",
    steps: Steps = 1600,
    lr: Lr = 3e-3,
    batch: Annotated[int, typer.Option(help="Rows a step, each of as many tokens as the model has positions.")] = 32,
    decay: Decay = 0.5,
    seed: Annotated[int, typer.Option(help="Of the initial weights and of the rows' order.")] = 0,
    keep: Annotated[int, typer.Option(help="At how many steps to keep the model, evenly in their logarithm.")] = 0,
    out: Out = Path("models/text"),
    threads: Threads = 0,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Train a language model and its tokenizer, then write it in bfloat16, as transformers reads it, with a card of how
    good it is. With the defaults it learns Python from the source of the standard library: some two hours on two
    cores; a third of that with --size small.

    Ctrl-C stops after the step under way; the same command continues. When all steps are done, it only writes the
    model, to the folder `model` in the one it was trained in.

    Example: `unweave pretrain text --out models/text --size small --keep 12`
    """
    from unweave.subject import text_card, text_training  # torch and the rest, only when needed
    from unweave.subject.pretrain import Pretraining
    from unweave.subject.text_model import TextShape, dimensions

    _use(threads, device)
    sizes = dimensions(size, layers, width, heads)
    config = text_training.TextTraining(
        model=TextShape(kind=shape, **sizes, n_positions=context, n_tokens=vocabulary),
        how=Pretraining(steps=steps, lr=lr, decay=decay, seed=seed, micro_batch=text_training.MICRO_BATCH),
        source=source,
        batch=batch,
        keep=keep,
    )
    training = text_training.pretrain_text(out, config, device)
    _train(training, steps, f"{config.command} --out {out}", batch * context, "tokens")
    made = text_card.export_text(out, device)
    title = f"{out}, on {made['figures']['documents']:,} held-out documents"
    _show(made, title, _text(made["figures"]), as_json)


def _use(threads: int, device: str) -> None:
    import torch

    if threads < 0:
        raise ValueError(f"threads must be at least 0, not {threads}")
    if device != "cpu" and not (device.startswith("cuda") and torch.cuda.is_available()):
        raise ValueError(f"there is no device {device!r} here: cpu, or cuda where torch finds a GPU")
    if threads:
        torch.set_num_threads(threads)


def _train(training: Iterator[News], steps: int, command: str, per_step: int, what: str) -> None:
    """Train with a progress bar; where Ctrl-C ends it, say by which command it continues, and exit."""
    step = steps
    columns = (
        TextColumn("loss {task.fields[loss]:.4f}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]:,.0f} " + f"{what}/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar, deferred_interrupt() as stop:
        task = bar.add_task("", total=steps, loss=float("nan"), rate=0.0)
        for news in training:
            step = news.step
            bar.update(task, completed=step, loss=news.loss, rate=per_step / news.seconds)
            if stop:
                training.close()  # type: ignore[attr-defined]  (a generator: closing it writes the checkpoint)
    if step < steps:
        typer.echo(f"stopped after step {step} of {steps}; to continue: {command}", err=True)
        raise typer.Exit(130)


def _othello(figures: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("top-1 illegal rate", f"{figures['illegal_rate']:.3%}"),
        ("illegal probability mass", f"{figures['illegal_mass']:.3%}"),
        ("cross-entropy, exact next-move distribution", f"{figures['cross_entropy']:.4f} nats"),
        ("its entropy, the floor", f"{figures['entropy']:.4f} nats"),
        ("cross-entropy, moves played", f"{figures['cross_entropy_sampled']:.4f} nats"),
    ]


def _text(figures: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("loss", f"{figures['loss']:.4f} nats a token"),
        ("the same by bytes", f"{figures['bits_per_byte']:.4f} bits a byte"),
        ("loss of a 5-gram model", f"{figures['five_gram']:.4f} nats a token"),
        ("loss of a unigram model", f"{figures['unigram']:.4f} nats a token"),
        ("loss on random tokens", f"{figures['repeated_first']:.4f} nats a token"),
        ("loss on the same once more", f"{figures['repeated_second']:.4f} nats a token"),
    ]


def _show(card: dict[str, Any], title: str, rows: list[tuple[str, str]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(card, indent=2))
        return
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
