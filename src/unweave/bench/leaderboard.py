"""leaderboard.json: every method along its levels of sparsity, over seeds, and at its best by each measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from unweave import files
from unweave.bench.bench import Bench, Scores, value
from unweave.bench.trial import Trial, best_rate
from unweave.config import to_dict
from unweave.dictionary import METHODS

LEAST_STEPS = 2000
"""No result of fewer steps counts: their number matters more than the method does."""

CHOSEN_BY = ("pairs/1", "pairs_within/1", "legal/1", "coverage_128/1", "reconstruction_128/1", "f1_pairs/1")
"""Of validation games, by any of which a level may be chosen."""


def write(bench: Bench) -> dict[str, Any]:
    """Score what was chosen on the test games and write leaderboard.json; what it holds."""
    plan, found = bench.plan, bench.found()
    chosen = {
        name: [t for t in found if t.method == name and t.lr == _rate(bench, name, found) and "failed" not in found[t]]
        for name in plan.contenders
    }
    tested = bench.score([trial for trials in chosen.values() for trial in trials])
    board = {
        "version": 1,
        "counts": plan.base.training.steps >= LEAST_STEPS,
        "base": to_dict(plan.base),
        "rates": list(plan.rates) if _tuned(bench, found) else [plan.rates[0]],
        "games": {"validation": bench.validation.games, "test": bench.test.games},
        "controls": bench.controls(),
        "methods": [
            {
                "name": name,
                "source": METHODS.build(calls[0]).source,
                "levels": levels(calls, chosen[name], tested, found),
            }
            for name, calls in plan.contenders.items()
        ],
        "failed": {trial.folder: scores["failed"] for trial, scores in found.items() if "failed" in scores},
    }
    files.write_json(bench.folder / "leaderboard.json", board)
    return board


def _tuned(bench: Bench, found: Mapping[Trial, Scores]) -> bool:
    """Whether every method was tried with every rate; before that no rate is chosen."""
    plan = bench.plan
    return all(Trial(calls[0], rate, 0) in found for calls in plan.contenders.values() for rate in plan.rates)


def _rate(bench: Bench, name: str, found: Mapping[Trial, Scores]) -> float:
    """The rate that a method is reported with: the best on validation games of those that all were tried with."""
    plan = bench.plan
    values = {trial: value(scores) for trial, scores in found.items()}
    return best_rate(plan.contenders[name], plan.rates, values) if _tuned(bench, found) else plan.rates[0]


def levels(
    calls: Sequence[str], trials: Sequence[Trial], tested: Mapping[Trial, Scores], found: Mapping[Trial, Scores]
) -> list[dict[str, Any]]:
    """Each call that was tried: its rate and seeds, and mean and standard deviation of every test score over them."""
    rows = []
    for call in calls:
        mine = sorted(trial for trial in trials if trial.call == call)
        if not mine:
            continue
        work = [found[trial]["training"]["core_seconds"] for trial in mine]
        seeds = [trial.seed for trial in mine]
        row: dict[str, Any] = {"call": call, "lr": mine[0].lr, "seeds": seeds, "core_seconds": fmean(work)}
        row["validation"] = {m: fmean(found[t][m] for t in mine) for m in CHOSEN_BY}
        for readout in ("activations", "pre-activations"):
            row[readout] = spread([tested[trial][readout] for trial in mine])
        rows.append(row)
    return rows


def spread(scores: Sequence[Mapping[str, float | None]]) -> dict[str, dict[str, float | None]]:
    """Mean and standard deviation of each metric; none of a metric that has no meaning, no deviation of one value."""
    found: dict[str, dict[str, float | None]] = {}
    for metric in scores[0]:
        values = [v for s in scores if (v := s[metric]) is not None]
        if values:
            found[metric] = {"mean": fmean(values), "sd": stdev(values) if len(values) > 1 else None}
    return found


def read(folder: Path) -> dict[str, Any]:
    """Raises FileNotFoundError if there is none yet, ValueError if it is damaged."""
    return files.read_json(folder / "leaderboard.json")
