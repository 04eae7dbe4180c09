"""The demo: two methods of two sizes on the bundled OthelloGPT, scored beside the controls, and a page to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unweave import runs
from unweave.config import RunConfig, override
from unweave.evaluation.context import Context
from unweave.evaluation.controls import Controls, control_of
from unweave.runs import Run
from unweave.view import report as page

DICTIONARIES = (("leaky_readout(k=64)", 1024), ("topk(k=64)", 512))
"""Method and size of each, the largest first: they are trained side by side, and the longest should not come last."""

RECIPE = {"site": "mlp_in.1", "data.passes": 8, "training.steps": 2500, "training.lr": 2e-3}
"""Site and method did best on validation games, the rate as well as any other there (docs/LOG.md)."""

CONTROL = "shuffled-subject"
"""The run whose subject knows nothing: otherwise the first of the dictionaries."""


def jobs(folder: Path, settings: Mapping[str, Any] | None = None) -> dict[Path, RunConfig]:
    """Every run of the demo: where, and what. `settings` change all their configs, as `unweave train --set` does.

    Raises ValueError for a setting that cannot be, or that the dictionaries differ in.
    """
    if own := {"method", "d_sae"} & set(settings or {}):
        raise ValueError(f"the demo has dictionaries of its own, so {min(own)} cannot be set: `unweave train` can")
    base = override(RunConfig(), {**RECIPE, **(settings or {})})
    made = {
        folder / f"{method.partition('(')[0]}-{d_sae}": override(base, {"method": method, "d_sae": d_sae})
        for method, d_sae in DICTIONARIES
    }
    return made | {folder / CONTROL: control_of(next(iter(made.values())))}


def context(made: Mapping[Path, RunConfig], n_games: int = 1600) -> Context:
    """The held-out games that its dictionaries are scored on. Raises ValueError for too few."""
    ((subject, site),) = {(config.subject, config.site) for path, config in made.items() if path.name != CONTROL}
    return Context(subject, site, n_games=n_games)


def controls(made: Mapping[Path, RunConfig], context: Context) -> Controls:
    """What stands beside the demo's dictionaries, once its runs are trained."""
    (shuffled,) = (path for path in made if path.name == CONTROL)
    return Controls(context, Run(shuffled))


def best(dictionaries: Sequence[Run]) -> Run:
    """The evaluated run that tells most pairs of a square and a state."""

    def pairs(run: Run) -> float:
        found = run.evaluation()
        assert found is not None
        return next(row["scores"]["pairs/1"] for row in found["rows"] if not row["is_control"])

    return max(dictionaries, key=pairs)


def report(folder: Path) -> Path:
    """report.html for an evaluated run, or for all evaluated runs in a folder; its path.

    Raises FileNotFoundError if there are none.
    """
    scored = [run.folder for run in runs.find(folder) if run.evaluation() is not None]
    if not scored:
        raise FileNotFoundError(f"no run in {folder} has been evaluated yet: `unweave evaluate RUN` does it")
    return page.write(folder, scored)
