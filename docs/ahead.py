"""The evidence for reading one layer and rebuilding the next, beside published methods: writes docs/ahead.md.

`python docs/ahead.py`; the runs are kept in runs/ahead; what is there is not trained again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from unweave import demo
from unweave.cli import live
from unweave.config import RunConfig, override
from unweave.evaluation.context import Context
from unweave.evaluation.definitions import DEFINITIONS
from unweave.evaluation.own import own_scores, pre_activation_scores
from unweave.evaluation.threads import side_by_side
from unweave.runs import Run, train

BASE = next(iter(demo.jobs(Path()).values()))
AHEAD = {"target": "mlp_in.2"}
COLUMNS: dict[str, Mapping[str, Any]] = {
    "ahead": {"method": "topk(k=64)", **AHEAD},
    "topk": {"method": "topk(k=64)"},
    "batch_topk": {"method": "batch_topk(k=64)"},
    "without_topk": {"method": "without_topk(k=64)"},
    "glu": {"method": "glu(l1=1.0)"},
}
SEEDS = (0, 1, 2, 3)
KEYS = (
    *("l0/1", "pairs/1", "pairs_mine/1", "pairs_theirs/1", "pairs_empty/1", "pairs_within/1", "legal/1", "f1_pairs/1"),
    *("coverage_128/1", "coverage_corrected/1", "reconstruction_128/1", "reconstruction_192/1", "dead/1", "fvu/1"),
    *("ce_score/1", "pre pairs/1", "pre pairs_within/1"),
)


def cell(values: list[float]) -> str:
    """Mean ± standard deviation over seeds."""
    form = "{:.1f}" if max(values) >= 1.5 else "{:.3f}"
    return f"{form.format(fmean(values))} ± {form.format(stdev(values))}"


def title(key: str) -> str:
    pre, _, metric = key.rpartition(" ")
    return f"{DEFINITIONS[metric].title}{', pre-activations' if pre else ''} (`{metric}`)"


def page(found: dict[str, list[dict[str, float]]], games: dict[str, Any]) -> str:
    lines = ["| metric | " + " | ".join(f"`{name}`" for name in found) + " |", "|---|" + "--:|" * len(found)]
    cells = {key: [cell([scores[key] for scores in each]) for each in found.values()] for key in KEYS}
    lines += [f"| {title(key)} | {' | '.join(row)} |" for key, row in cells.items()]
    return f"""# One layer ahead

Made by `.venv/bin/python docs/ahead.py`. {BASE.d_sae} features at `{BASE.site}` of the bundled OthelloGPT,
{BASE.training.steps} steps of {BASE.training.batch} activations, rate {BASE.training.lr}, no label used in training;
mean and standard deviation over seeds {", ".join(map(str, SEEDS))}. Features are chosen on
{games["chosen_on"]:,} test games, scored on {games["scored_on"]:,} others. Each metric: [metrics](metrics.md).

`ahead` is `topk(k=64)` with `target={AHEAD["target"]}`: it reads what the others read, and rebuilds what the next
layer's MLP reads in its place. Its FVU and CE score are of that site.

{chr(10).join(lines)}
"""


def jobs(folder: Path) -> dict[Path, tuple[str, RunConfig]]:
    """Where each column's runs are, seed by seed."""
    return {
        folder / f"{name}-{seed}": (name, override(BASE, {**settings, "seed": seed}))
        for seed in SEEDS
        for name, settings in COLUMNS.items()
    }


def main() -> None:
    made = jobs(Path("runs/ahead"))
    paths = list(made)
    with live.training({path.name: config.training.steps for path, (_, config) in made.items()}) as show:
        for start in range(0, len(paths), len(COLUMNS)):  # as many at a time as fit in memory
            train({path: made[path][1] for path in paths[start : start + len(COLUMNS)]}, show)
    contexts = {target: Context(BASE.subject, BASE.site, target) for target in ("", AHEAD["target"])}
    for context in contexts.values():
        context.prepare()

    def scored(path: Path) -> dict[str, float]:
        dictionary, context = Run(path).dictionary(), contexts[made[path][1].target]
        pre = pre_activation_scores(dictionary, context)
        return own_scores(dictionary, context).activations | {f"pre {key}": value for key, value in pre.items()}

    scores = dict(zip(paths, side_by_side([lambda path=path: scored(path) for path in paths]), strict=True))
    found = {name: [scores[path] for path in paths if made[path][0] == name] for name in COLUMNS}
    games = contexts[""].games
    Path(__file__).with_name("ahead.md").write_text(page(found, games), encoding="utf-8")


if __name__ == "__main__":
    main()
