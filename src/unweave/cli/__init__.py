"""The command line: one file a verb, each of which reads its arguments, calls one public function and prints."""

from __future__ import annotations

import sys

import typer

from unweave.cli.bench import bench
from unweave.cli.demo import demo
from unweave.cli.evaluate import evaluate
from unweave.cli.finetune import finetune
from unweave.cli.harvest import harvest
from unweave.cli.label import label
from unweave.cli.methods import methods
from unweave.cli.pretrain import pretrain
from unweave.cli.prune import prune
from unweave.cli.report import report
from unweave.cli.runs import runs
from unweave.cli.steer import steer
from unweave.cli.study import study
from unweave.cli.train import train
from unweave.cli.view import view

app = typer.Typer(
    name="unweave",
    help="Takes a trained transformer apart into features, and says how true they are. Start with: unweave demo",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
for verb in (demo, methods, harvest, train, evaluate, prune, finetune, view, label, steer, report, runs, bench, study):
    app.command()(verb)
app.add_typer(pretrain, name="pretrain")


def main() -> None:
    """The `unweave` command. What is wrong with the input is said in one sentence."""
    try:
        app()
    except (ValueError, OSError, FloatingPointError) as error:
        sys.exit(f"unweave: {error}")
