"""unweave harvest: a subject's activations, into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unweave.cli import live
from unweave.config import DataConfig, RunConfig, override

if TYPE_CHECKING:
    from rich.table import Table

    from unweave.activations.plan import Order, Plan


def harvest(
    folder: Annotated[Path, typer.Argument(help="the store; one that is unfinished is gone on with")],
    subject: Annotated[str | None, typer.Option(help='"othello()", "control(seed=0)", or the path of a model')] = None,
    site: Annotated[
        list[str] | None, typer.Option(help="whose activations, as resid_post.0; several by several --site")
    ] = None,
    text: Annotated[str | None, typer.Option(help="what a subject of text reads: a file, a folder or a source")] = None,
    tokens: Annotated[
        int | None, typer.Option(help="how many vectors of each site: 1,000,000, or those that were asked for before")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="bfloat16, float16 or float32")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="a setting of the data, e.g. --set data.context=128")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="only say what it will come to")] = False,
    check: Annotated[bool, typer.Option("--check", help="read all that is there, and harvest anew what is damaged")] = (
        False
    ),
) -> None:
    """Write a subject's activations to disk, to train dictionaries from with `--set data.store=FOLDER`.

    Example: `unweave harvest stores/mine --site resid_post.0 --site mlp_out.3 --tokens 10000000`

    Ctrl-C stops after the shard under way; the same command goes on. What a store was begun with need not be said
    again, and with more tokens it grows.
    """
    from unweave import files
    from unweave.activations import fill
    from unweave.activations.plan import plan as reckon

    order = _order(folder, subject, site, text, tokens, dtype, live.parse_settings(settings))
    if check:
        for path, wrong in fill.check(folder) if folder.is_dir() else ():
            live.errors.print(wrong or f"{path}: whole", style=None if wrong else "dim", soft_wrap=True)
    with live.stage("trying it on the first rows"):
        reckoned = reckon(order)
    live.console.print(_table(reckoned))
    reckoned.fit()
    if plan:
        return
    if not _fill(reckoned):
        live.errors.print("stopped; the same command goes on after the last shard")
        raise typer.Exit(130)
    held = files.read_json(folder / "finished.json")
    live.console.print(f"{folder}: {held['vectors']:,} vectors of {len(order.sites)} sites in {held['shards']} shards")
    live.console.print(f"next: unweave train runs/mine --site {next(iter(order.sites))} --set data.store={folder} ...")


def _order(
    folder: Path,
    subject: str | None,
    sites: list[str] | None,
    text: str | None,
    tokens: int | None,
    dtype: str | None,
    settings: dict[str, Any],
) -> Order:
    """What was asked for; what was not said is as in the store, if there is one."""
    from unweave.activations.plan import order
    from unweave.activations.store import Store

    if other := [name for name in settings if not name.startswith("data.")]:
        raise ValueError(f"a store has no {other[0]}: only settings of the data")
    is_store = (folder / "store.json").exists()
    held = Store(folder).about if is_store else {"sites": [RunConfig.site], "data": {}, "dtype": "bfloat16"}
    base = RunConfig(subject=held.get("subject", RunConfig.subject), data=DataConfig(**held["data"]))
    made = override(
        base,
        ({} if subject is None else {"subject": subject}) | ({} if text is None else {"data.text": text}) | settings,
    )
    wanted = (0 if is_store else 1_000_000) if tokens is None else tokens
    return order(
        folder, made.subject, made.data, sites or list(held["sites"]), dtype=dtype or held["dtype"], tokens=wanted
    )


def _table(plan: Plan) -> Table:
    from rich.table import Table

    order = plan.order
    table = Table(title=str(order.folder), title_justify="left", show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    table.add_row("sites", ", ".join(f"{site} ({width})" for site, width in order.sites.items()))
    table.add_row("vectors of each", f"{plan.vectors:,}, {plan.there:,} of them there")
    table.add_row("shards", f"{plan.shards:,} of {order.live.data.sequences:,} rows, {order.dtype}")
    table.add_row("disk", f"{_bytes(plan.bytes)}, {_bytes(plan.missing)} to come, {_bytes(plan.free)} free")
    table.add_row(
        "memory beside the subject", f"{_bytes(plan.writing)} to write it, {_bytes(plan.reading)} to train from it"
    )
    table.add_row("time", f"about {_time(plan.seconds)}")
    return table


def _bytes(n: int) -> str:
    return f"{n / 1e9:,.1f} GB" if n >= 1e9 else f"{n / 1e6:.0f} MB"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _fill(plan: Plan) -> bool:
    """Fill it with a progress bar; whether it is finished."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from unweave.activations.fill import fill

    columns = (
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} vectors"),
        TextColumn("{task.fields[shards]} shards"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=live.errors, transient=True) as bar, live.deferred_interrupt() as stop:
        task = bar.add_task("", total=plan.vectors, completed=plan.there, shards="")
        filling = fill(plan)
        for there in filling:
            bar.update(task, completed=there.vectors, shards=there.shards)
            if stop:
                filling.close()  # type: ignore[attr-defined]  (a generator: closing it lets go of the folder)
                return False
    return True
