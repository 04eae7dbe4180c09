"""unweave bench: every method on one leaderboard."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from unweave.cli import live

if TYPE_CHECKING:
    from rich.table import Table

    from unweave.bench.bench import News


def bench(
    subject: Annotated[str, typer.Argument(help="othello: the bundled OthelloGPT; or any other subject")] = "othello",
    folder: Annotated[Path, typer.Option(help="where the trials and leaderboard.json go")] = Path("runs/bench"),
    minutes: Annotated[float, typer.Option(help="how long; each method is tried once in any case")] = 30.0,
    method: Annotated[
        list[str] | None, typer.Option(help='one more: a call, or FILE.py:CALL, as "mine.py:mine(weight=2.0)"')
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="only these methods, by name, beside your own")] = None,
    site: Annotated[str, typer.Option(help="whose activations")] = "mlp_in.1",
    d_sae: Annotated[int, typer.Option(help="how many features")] = 512,
    steps: Annotated[int, typer.Option(help="optimiser steps; fewer than 2,000 do not count")] = 2000,
    seeds: Annotated[int, typer.Option(help="first weights, at most so many for each")] = 3,
    games: Annotated[int, typer.Option(help="of validation and of test, each")] = 1000,
    json: Annotated[bool, typer.Option("--json", help="print the leaderboard as JSON, and nothing else")] = False,
) -> None:
    """Train every sparsity method on one stream of activations, tune them alike, and score them on the true board.

    Example: `unweave bench othello --minutes 30`; with a method of your own: `--method mine.py:mine`

    Each method is tried once; then learning rates, seeds and levels of sparsity follow as far as the time goes. What is
    chosen is chosen on validation games, what is shown is of test games. The same command goes on where it was stopped.
    """
    from unweave.bench import grid, leaderboard
    from unweave.bench.bench import Bench, Plan
    from unweave.config import RunConfig, override
    from unweave.dictionary.own import call_of
    from unweave.registry import parse
    from unweave.training.properties import check
    from unweave.view.leaderboard import console_table

    began = time.monotonic()
    own = [call_of(text) for text in method or []]
    for name in {parse(call)[0] for call, text in zip(own, method or [], strict=True) if call != text}:
        check(name)
    chosen = grid.those(own, only or [])
    settings = {"subject": "othello()" if subject == "othello" else subject, "site": site, "d_sae": d_sae}
    base = override(RunConfig(), {**settings, "data.passes": 8, "training.steps": steps})
    made = Bench(folder, Plan(contenders=chosen, base=base, seeds=seeds, games=games, minutes=minutes))
    with live.trials(quiet=json) as show:
        made.explore(lambda news: show.stage(f"{news.stage}: {news.done} of {news.of}", steps, _so_far(news)), show)
    with live.stage("scoring on test games", quiet=json):
        board = leaderboard.write(made)
    if json:
        live.console.print_json(data=board)
        return
    live.console.print(console_table(board, live.console.width))
    if not board["counts"]:
        live.console.print(f"{steps} steps are fewer than {leaderboard.LEAST_STEPS}: these figures do not count.")
    spent = (time.monotonic() - began) / 60
    live.console.print(f"{len(chosen)} methods in {spent:.1f} minutes: {escape(str(folder / 'leaderboard.json'))}")


def _so_far(news: News) -> Table:
    from unweave.bench.bench import standings
    from unweave.view.leaderboard import standings_table

    return standings_table(standings(news.found), len(news.found))
