"""The demo: two methods at two sizes on the bundled OthelloGPT, scored beside the controls, and a page to look at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unweave import runs
from unweave.config import RunConfig, override
from unweave.evaluation.context import Context
from unweave.evaluation.controls import Controls, control_of
from unweave.runs import Run
from unweave.view import report as page

METHODS = ("topk(k=64)", "batch_topk(k=64)")
SIZES = (512, 1024)
CONTROL = "shuffled-subject"
"""The run whose subject knows nothing: the first method at the larger size."""


def jobs(folder: Path, settings: Mapping[str, Any] | None = None) -> dict[Path, RunConfig]:
    """Every run of the demo: where, and what. `settings` change all their configs, as `unweave train --set` does."""
    base = override(RunConfig(), {"training.steps": 2100, **(settings or {})})
    made = {
        folder / f"{method.partition('(')[0]}-{d_sae}": override(base, {"method": method, "d_sae": d_sae})
        for method in METHODS
        for d_sae in SIZES
    }
    largest = override(base, {"method": METHODS[0], "d_sae": SIZES[-1]})
    return made | {folder / CONTROL: control_of(largest)}


def controls(made: Mapping[Path, RunConfig], n_games: int = 2000) -> Controls:
    """What stands beside the demo's dictionaries, once its runs are trained."""
    (shuffled,) = (path for path in made if path.name == CONTROL)
    ((subject, site),) = {(config.subject, config.site) for path, config in made.items() if path != shuffled}
    return Controls(Context(subject, site, n_games=n_games), Run(shuffled))


def report(folder: Path) -> Path:
    """report.html for an evaluated run, or for all evaluated runs in a folder; its path.

    Raises FileNotFoundError if there are none.
    """
    scored = [run.folder for run in runs.find(folder) if run.evaluation() is not None]
    if not scored:
        raise FileNotFoundError(f"no run in {folder} has been evaluated yet: `unweave evaluate RUN` does it")
    return page.write(folder, scored)
