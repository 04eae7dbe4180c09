"""Three seeds of the demo's larger dictionary beside the controls: writes docs/results.md.

`python docs/results.py`; the runs are kept in runs/results; what is there is not trained again.
"""

from __future__ import annotations

from pathlib import Path
from statistics import mean, stdev
from typing import Any

from unweave import demo
from unweave.cli import live
from unweave.config import override
from unweave.evaluation.context import Context
from unweave.evaluation.controls import Controls, control_of
from unweave.evaluation.definitions import DEFINITIONS
from unweave.evaluation.evaluate import evaluate_all
from unweave.runs import Run, train

RECIPE = next(iter(demo.jobs(Path()).values()))
SEEDS = (0, 1, 2)
KEYS = [
    *("pairs/1", "pairs_mine/1", "pairs_theirs/1", "pairs_empty/1", "features/1", "legal/1", "pairs_within/1"),
    *("pairs_within_mine/1", "pairs_within_theirs/1", "pairs_within_empty/1", "features_within/1", "legal_within/1"),
    *("coverage_128/1", "coverage_192/1", "coverage_corrected/1", "coverage_legal/1"),
    *("reconstruction_128/1", "reconstruction_192/1", "reconstruction_legal/1"),
    *("f1_pairs/1", "l0/1", "dead/1", "fvu/1", "explained_variance/1", "shrinkage/1"),
    *("ce_score/1", "kl/1", "legal_rate_spliced/1"),
]


def spread(values: list[float | None]) -> str:
    """Mean and, where seeds differ, standard deviation."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    wide, counts = len(set(known)) > 1, all(value == int(value) for value in known)
    decimals = (1 if wide else 0) if counts else 1 if max(known) >= 10 else 3
    form = f"{{:.{decimals}f}}"
    return form.format(mean(known)) + (" ± " + form.format(stdev(known)) if wide else "")


def page(found: list[dict[str, Any]]) -> str:
    rows = found[0]["rows"]
    titles = [f"{row['name']}, {row['readout']}" for row in rows]
    lines = ["| metric | " + " | ".join(titles) + " |", "|---|" + "--:|" * len(rows)]
    for key in KEYS:
        cells = [spread([e["rows"][i]["scores"].get(key) for e in found]) for i in range(len(rows))]
        lines.append(f"| {DEFINITIONS[key].title} (`{key}`) | " + " | ".join(cells) + " |")
    games = found[0]["games"]
    return f"""# Results

Made by `.venv/bin/python docs/results.py`. `{RECIPE.method}`, {RECIPE.d_sae} features at `{RECIPE.site}` of the bundled
OthelloGPT, {RECIPE.training.steps} steps of {RECIPE.training.batch} activations, no label used in training; seeds
{", ".join(map(str, SEEDS))} of the first weights, mean and standard deviation. Features are chosen on
{games["chosen_on"]:,} held-out games, scored on {games["scored_on"]:,} others. The controls have one seed. Each metric:
[metrics](metrics.md).

{chr(10).join(lines)}
"""


def main() -> None:
    folder = Path("runs/results")
    jobs = {folder / f"seed-{seed}": override(RECIPE, {"seed": seed}) for seed in SEEDS}
    shuffled = folder / "shuffled-subject"
    with live.training({path.name: RECIPE.training.steps for path in (*jobs, shuffled)}) as show:
        trained = train(jobs | {shuffled: control_of(RECIPE)}, show)
    controls = Controls(Context(RECIPE.subject, RECIPE.site), Run(shuffled))
    found = evaluate_all([run for run in trained if run.folder in jobs], controls)
    Path(__file__).with_name("results.md").write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    main()
