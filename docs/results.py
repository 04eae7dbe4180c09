"""Three seeds of the demo's larger dictionary, and of TopK's in its place, beside the controls: writes docs/results.md.

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
METHODS = (RECIPE.method, "topk(k=64)")
SEEDS = (0, 1, 2)
KEYS = [
    *("pairs/1", "pairs_mine/1", "pairs_theirs/1", "pairs_empty/1", "features/1", "legal/1", "pairs_within/1"),
    *("pairs_within_mine/1", "pairs_within_theirs/1", "pairs_within_empty/1", "features_within/1", "legal_within/1"),
    *("coverage_128/1", "coverage_192/1", "coverage_corrected/1", "coverage_legal/1"),
    *("reconstruction_128/1", "reconstruction_192/1", "reconstruction_legal/1"),
    *("f1_pairs/1", "l0/1", "dead/1", "fvu/1", "explained_variance/1", "shrinkage/1"),
    *("ce_score/1", "kl/1", "legal_rate_spliced/1"),
]


def cell(values: list[float | None]) -> str:
    """Counts one by one, as the seeds are; of anything else mean and, where seeds differ, standard deviation."""
    known = [value for value in values if value is not None]
    wide = len(set(known)) > 1
    if all(value == int(value) for value in known):
        return ", ".join(f"{value:.0f}" for value in (known if wide else known[:1]))
    form = "{:.1f}" if max(known) >= 10 else "{:.3f}"
    return form.format(mean(known)) + (" ± " + form.format(stdev(known)) if wide else "")


def page(found: dict[str, list[dict[str, Any]]]) -> str:
    """found: by method, an evaluation for each seed."""
    own = [(method, kind, each) for method, each in found.items() for kind in (0, 1)]
    any_one = next(iter(found.values()))[0]
    columns = [
        (f"`{method}`, {each[0]['rows'][kind]['readout']}", [e["rows"][kind] for e in each])
        for method, kind, each in own
    ]
    columns += [(f"*{row['name']}, {row['readout']}*", [row]) for row in any_one["rows"] if row["is_control"]]
    lines = ["| metric | " + " | ".join(title for title, _ in columns) + " |", "|---|" + "--:|" * len(columns)]
    for key in KEYS:
        cells = [cell([row["scores"].get(key) for row in rows]) for _, rows in columns]
        title = DEFINITIONS[key].title.replace("|", "\\|")
        lines.append(f"| {title} (`{key}`) | " + " | ".join(cells) + " |")
    games = any_one["games"]
    return f"""# Results

Made by `.venv/bin/python docs/results.py`. {RECIPE.d_sae} features at `{RECIPE.site}` of the bundled OthelloGPT,
{RECIPE.training.steps} steps of {RECIPE.training.batch} activations, no label used in training; of seeds {SEEDS}
counts stand one by one, of anything else mean and standard deviation. `leaky_readout` is trained exactly as `topk`;
when it is read, a thousandth of what is below the 64 largest passes too. Features are chosen on
{games["chosen_on"]:,} held-out games, scored on {games["scored_on"]:,} others. Controls in italics, with one seed;
those with no decoder of their own rebuild the activations by the best linear one. Each metric: [metrics](metrics.md).

{chr(10).join(lines)}
"""


def main() -> None:
    folder = Path("runs/results")
    jobs = {
        folder / f"{method.partition('(')[0]}-{seed}": override(RECIPE, {"method": method, "seed": seed})
        for method in METHODS
        for seed in SEEDS
    }
    shuffled = folder / "shuffled-subject"
    with live.training({path.name: RECIPE.training.steps for path in (*jobs, shuffled)}) as show:
        trained = train(jobs | {shuffled: control_of(RECIPE)}, show)
    controls = Controls(Context(RECIPE.subject, RECIPE.site), Run(shuffled))
    found = evaluate_all([run for run in trained if run.folder in jobs], controls)
    by_method = {method: [each for each in found if each["method"] == method] for method in METHODS}
    Path(__file__).with_name("results.md").write_text(page(by_method), encoding="utf-8")


if __name__ == "__main__":
    main()
