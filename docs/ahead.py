"""The evidence for reading one layer and rebuilding those after it, beside published methods: writes docs/ahead.md.

`python docs/ahead.py`; the runs are kept in runs/ahead; what is there is not trained again. Each column's rate is
chosen on validation games with the first seed; test games are scored at the end, and choose nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from unweave import demo, files
from unweave.cli import live
from unweave.config import RunConfig, override
from unweave.evaluation.context import Context
from unweave.evaluation.controls import control_of
from unweave.evaluation.definitions import DEFINITIONS
from unweave.evaluation.evaluate import defined
from unweave.evaluation.own import own_scores, pre_activation_scores, truth_scores
from unweave.runs import Run, train
from unweave.threads import side_by_side

BASE = next(iter(demo.jobs(Path()).values()))
AHEAD = {"target": "mlp_in.1+mlp_in.2+mlp_in.3"}
COLUMNS: dict[str, Mapping[str, Any]] = {
    "ahead": {"method": "batch_topk(k=80)", **AHEAD},
    "batch_topk": {"method": "batch_topk(k=80)"},
    "batch_topk 64": {"method": "batch_topk(k=64)"},
    "topk 64": {"method": "topk(k=64)"},
    "without_topk": {"method": "without_topk(k=64)"},
    "glu": {"method": "glu(l1=1.0)"},
}
RATES = (2e-3, 4e-3, 8e-3)
SEEDS = (0, 1, 2, 3, 4)
# By what a column's rate is chosen: distinct pairs, pooled and within position; but for one that has next to none.
CHOSEN_BY = dict.fromkeys(COLUMNS, ("pairs/1", "pairs_within/1")) | {"glu": ("reconstruction_128/1",)}
KEYS = (
    *("l0/1", "pairs/1", "pairs_mine/1", "pairs_theirs/1", "pairs_empty/1", "pairs_within/1", "legal/1", "f1_pairs/1"),
    *("coverage_128/1", "coverage_corrected/1", "reconstruction_128/1", "reconstruction_192/1", "dead/1", "fvu/1"),
    *("ce_score/1", "pre pairs/1", "pre pairs_within/1"),
)
HEADLINES = ("pairs/1", "pairs_within/1", "coverage_128/1", "reconstruction_128/1")


def cell(values: list[float]) -> str:
    """Mean ± standard deviation over seeds."""
    form = "{:.1f}" if max(values) >= 1.5 else "{:.3f}"
    return f"{form.format(fmean(values))} ± {form.format(stdev(values))}"


def title(key: str) -> str:
    pre, _, metric = key.rpartition(" ")
    return f"{DEFINITIONS[metric].title}{', pre-activations' if pre else ''} (`{metric}`)"


def page(
    found: dict[str, list[dict[str, float]]], control: dict[str, float], rates: dict[str, float], games: dict[str, Any]
) -> str:
    lines = ["| metric | " + " | ".join(f"`{name}`" for name in found) + " |", "|---|" + "--:|" * len(found)]
    lines.append("| rate | " + " | ".join(f"{rates[name]:g}" for name in found) + " |")
    cells = {key: [cell([scores[key] for scores in each]) for each in found.values()] for key in KEYS}
    lines += [f"| {title(key)} | {' | '.join(row)} |" for key, row in cells.items()]
    halves = f"are chosen on {games['chosen_on']:,} test games, scored on {games['scored_on']:,} others"
    settings = {"data.passes": BASE.data.passes, "training.lr": rates["ahead"], **AHEAD}
    return f"""# Layers ahead

Made by `.venv/bin/python docs/ahead.py`. {BASE.d_sae} features at `{BASE.site}` of the bundled OthelloGPT,
{BASE.training.steps} steps of {BASE.training.batch} activations, no label used in training; mean and standard
deviation over seeds {", ".join(map(str, SEEDS))}. Each column has the rate of {", ".join(f"{r:g}" for r in RATES)}
that was best on validation games with the first seed, by distinct pairs, `glu` by the board it rebuilds. Features
{halves}. Each metric: [metrics](metrics.md).

`ahead` is `{COLUMNS["ahead"]["method"]}` with `target={AHEAD["target"]}`: it reads what the others read, and rebuilds
with it what the MLPs of the next two layers read. Its FVU and CE score are of all three. Against the best of the
others:

{chr(10).join(f"- {verdict(found, key)}" for key in HEADLINES)}

Of the subject with its weights shuffled the same dictionary has {control["pairs/1"]:.0f} pairs,
{control["pairs_within/1"]:.0f} within position, a coverage above always-on of {control["coverage_corrected/1"]:.3f} and
a board reconstruction of {control["reconstruction_128/1"]:.3f}.

{chr(10).join(lines)}

To train one:

    unweave train runs/layers-ahead --site {BASE.site} --method "{COLUMNS["ahead"]["method"]}" --d-sae {BASE.d_sae} \\
      --steps {BASE.training.steps} {" ".join(f"--set {name}={value}" for name, value in settings.items())}

What a later layer will read has in it what this layer knows and is about to use. A dictionary that must rebuild it
spends its features on that, not on what is only passed by.
"""


def verdict(found: dict[str, list[dict[str, float]]], key: str) -> str:
    """How `ahead` stands by one measure to the best of the others: by how many standard errors of the difference of
    means."""
    values = {name: [scores[key] for scores in each] for name, each in found.items()}
    ours = values.pop("ahead")
    best = max(values, key=lambda name: fmean(values[name]))
    error = sum(stdev(of) ** 2 / len(of) for of in (ours, values[best])) ** 0.5
    apart = (fmean(ours) - fmean(values[best])) / error
    where = "above" if apart > 0 else "below"
    return f"{title(key)}: {cell(ours)}, {abs(apart):.1f} standard errors {where} `{best}` with {cell(values[best])}."


def run_of(name: str, rate: float, seed: int) -> tuple[Path, RunConfig]:
    """Where a column's run is, and what it is made from."""
    settings = {**COLUMNS[name], "training.lr": rate, "seed": seed}
    return Path("runs/ahead") / f"{name}-{rate:g}-{seed}".replace(" ", "-"), override(BASE, settings)


def train_all(wanted: list[tuple[str, float, int]]) -> list[Path]:
    """Each column, rate and seed, as many at a time as fit in memory."""
    made = [run_of(*each) for each in wanted]
    with live.training({path.name: config.training.steps for path, config in made}) as show:
        for start in range(0, len(made), len(COLUMNS)):
            train(dict(made[start : start + len(COLUMNS)]), show)
    return [path for path, _ in made]


def chosen_rates() -> dict[str, float]:
    """By column the rate that is best on validation games with the first seed."""
    tried = [(name, rate, SEEDS[0]) for rate in RATES for name in COLUMNS]
    paths = train_all(tried)
    context = Context(BASE.subject, BASE.site, n_games=1000, seed=2, split="validation")
    _ = context.halves
    scores = side_by_side([lambda path=path: truth_scores(Run(path).dictionary(), context).scores for path in paths])
    value = {
        (name, rate): sum(of[key] for key in CHOSEN_BY[name]) for (name, rate, _), of in zip(tried, scores, strict=True)
    }
    return {name: max(RATES, key=lambda rate: value[name, rate]) for name in COLUMNS}


def main() -> None:
    rates = chosen_rates()
    wanted = [(name, rates[name], seed) for seed in SEEDS for name in COLUMNS]
    paths = train_all(wanted)
    folder, config = run_of("ahead", rates["ahead"], SEEDS[0])
    shuffled = folder.with_name(f"{folder.name}-shuffled")
    with live.training({shuffled.name: config.training.steps}) as show:
        train({shuffled: control_of(config)}, show)
    contexts = {target: Context(BASE.subject, BASE.site, target) for target in ("", AHEAD["target"])}
    of_shuffled = Context(control_of(config).subject, BASE.site, AHEAD["target"])
    for context in (*contexts.values(), of_shuffled):
        context.prepare()

    def scored(path: Path) -> dict[str, float]:
        run, kept = Run(path), path / "scores.json"
        if not kept.exists():
            dictionary, context = run.dictionary(), of_shuffled if path == shuffled else contexts[run.config.target]
            pre = pre_activation_scores(dictionary, context)
            own = own_scores(dictionary, context).activations
            files.write_json(kept, defined(own | {f"pre {key}": value for key, value in pre.items()}))
        return files.read_json(kept)

    control, *scores = side_by_side([lambda path=path: scored(path) for path in (shuffled, *paths)])
    found = {name: [s for s, (of, *_) in zip(scores, wanted, strict=True) if of == name] for name in COLUMNS}
    Path(__file__).with_name("ahead.md").write_text(page(found, control, rates, contexts[""].games), encoding="utf-8")


if __name__ == "__main__":
    main()
