"""unweave runs: what there is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from unweave.cli import live

if TYPE_CHECKING:
    from unweave.runs import Run

# The columns of the table, and whether they hold numbers. --json has them all.
SHOWN = {
    **dict.fromkeys(("run", "site", "method", "state"), False),
    **dict.fromkeys(("d_sae", "seed", "l0", "fvu", "pairs", "within"), True),
}


def runs(
    folder: Annotated[Path, typer.Argument(help="where to look")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="print the list as JSON, and nothing else")] = False,
) -> None:
    """List every run in a folder and below it, with its last numbers.

    Example: `unweave runs runs/demo`
    """
    from unweave.runs import find

    rows = [_row(run) for run in find(folder)]
    if json:
        live.console.print_json(data=rows)
        return
    if not rows:
        live.console.print(f"no runs in {folder}; make some with: unweave demo")
        return
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    for name, numeric in SHOWN.items():
        justify = "right" if numeric else "left"
        table.add_column(name, no_wrap=numeric, min_width=len(name), justify=justify, overflow="fold")
    for r in rows:
        r |= {"run": Path(str(r["run"])).relative_to(folder), "within": r["pairs_within"]}
        table.add_row(
            *("-" if r[n] is None else f"{r[n]:.3g}" if isinstance(r[n], float) else str(r[n]) for n in SHOWN)
        )
    live.console.print(table)


def _row(run: Run) -> dict[str, object]:
    try:
        config, lines, evaluation, history = run.config, run.metrics(), run.evaluation(), run.history
    except ValueError as error:
        nothing = dict.fromkeys((*SHOWN, "pairs_within"))
        return {**nothing, "run": str(run.folder), "state": f"damaged: {error}"}
    last = lines[-1] if lines else {}
    changed = history[-1]["scores"] if history else {}  # what training reported is of the dictionary before that
    scores = evaluation["rows"][0]["scores"] if evaluation else changed
    trained = ", ".join(f"{step['verb']}d" for step in history) or "trained"
    return {
        "run": str(run.folder),
        "subject": config.subject,
        "site": config.site,
        "method": config.method,
        "d_sae": changed.get("features", config.d_sae),
        "seed": config.seed,
        "state": trained if run.trained else f"step {last.get('step', 0)} of {config.training.steps}",
        "l0": scores.get("l0/1", last.get("l0")),
        "fvu": scores.get("fvu/1", last.get("fvu")),
        "pairs": scores.get("pairs/1"),
        "pairs_within": scores.get("pairs_within/1"),
    }
