"""Running the bench within a budget: train a few dictionaries, score them on validation games, decide what is next.

Whatever is chosen is chosen on validation games; test games are scored at the end, and choose nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from statistics import fmean
from typing import Any

from unweave import files, runs
from unweave.bench.trial import Contenders, Trial, stages
from unweave.config import RunConfig, override, to_dict
from unweave.dictionary import Dictionary
from unweave.evaluation.context import Context
from unweave.evaluation.controls import Controls, control_of
from unweave.evaluation.evaluate import defined
from unweave.evaluation.own import own_scores, pre_activation_scores, truth_scores
from unweave.registry import parse
from unweave.runs import Report, Run
from unweave.threads import side_by_side

Scores = dict[str, Any]
OnReport = Callable[[Report], None]

# Dictionaries on one stream at a time: they share the harvest. Of the first stage, which is carried out whatever the
# budget, more than of the later ones, which it may end.
_FIRST, _LATER = 24, 12
# Scoring one on test games takes about this share of its training.
_TEST_SHARE = 0.2


@dataclass(frozen=True, kw_only=True)
class Plan:
    """base: what all trials share; rates: learning rates, every method is tried with the first; seeds: how many;
    games: of validation and of test, each; minutes: what may be spent, the scoring on test games included."""

    contenders: Contenders
    base: RunConfig = field(default_factory=RunConfig)
    rates: Sequence[float] = (2e-3, 4e-3, 8e-3)
    seeds: int = 3
    games: int = 1000
    minutes: float = 30.0

    def config(self, trial: Trial) -> RunConfig:
        return override(self.base, {"method": trial.call, "training.lr": trial.lr, "seed": trial.seed})

    def stages(self, found: Mapping[Trial, Scores]) -> list[tuple[str, list[Trial]]]:
        """What to try, as far as what was found lets one see."""
        return stages(self.contenders, self.rates, self.seeds, {trial: value(s) for trial, s in found.items()})


def value(scores: Scores) -> float:
    """What is chosen by: distinct pairs, pooled and within position, on validation games; a failure is below all."""
    return float("-inf") if "failed" in scores else scores["pairs/1"] + scores["pairs_within/1"]


@dataclass(frozen=True)
class News:
    """A stage that begins or goes on: how many of its trials are done, which come now, and all that was found."""

    stage: str
    done: int
    of: int
    now: Sequence[Trial]
    found: Mapping[Trial, Scores]


def standings(found: Mapping[Trial, Scores]) -> list[tuple[str, float, int, Scores]]:
    """Of each method that was tried its best call and rate, how many seeds, and the means of what they scored; the best
    method first."""
    alike: dict[tuple[str, float], list[Scores]] = {}
    for trial, scores in found.items():
        if "failed" not in scores:
            alike.setdefault((trial.call, trial.lr), []).append({**scores, **scores["training"]})
    best: dict[str, tuple[str, float, int, Scores]] = {}
    for (call, rate), every in alike.items():
        names = ("pairs/1", "pairs_within/1", "fvu", "l0")
        mean = {name: fmean(scores[name] for scores in every) for name in names}
        name = parse(call)[0]
        if name not in best or value(mean) > value(best[name][3]):
            best[name] = (call, rate, len(every), mean)
    return sorted(best.values(), key=lambda each: -value(each[3]))


class Bench:
    """A folder of trials: a run each, with validation.json and test.json in it once scored. Begun again, it goes on."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        """Raises ValueError for a site, subject or method that cannot be, or a folder of other settings."""
        self.folder, self.plan = folder, plan
        for calls in plan.contenders.values():
            for call in calls:
                Dictionary(1, plan.base.d_sae, call)  # says what does not fit
        shared = plan.base.subject, plan.base.site
        self.validation = Context(*shared, n_games=plan.games, seed=2, split="validation")
        self.test = Context(*shared, n_games=plan.games, seed=1)
        files.claim(folder / "bench.json", {"base": to_dict(plan.base), "rates": plan.rates, "games": plan.games})

    def run_of(self, trial: Trial) -> Run:
        return Run(self.folder / "runs" / trial.folder)

    def found(self) -> dict[Trial, Scores]:
        """The validation scores of all that the plan foresees and that was tried, here or in an earlier session."""
        found: dict[Trial, Scores] = {}
        while True:  # what is foreseen depends on what was found
            foreseen = [trial for _, trials in self.plan.stages(found) for trial in trials if trial not in found]
            paths = {trial: self.run_of(trial).folder / "validation.json" for trial in foreseen}
            more = {trial: files.read_json(path) for trial, path in paths.items() if path.exists()}
            if not more:
                return found
            found |= more

    def explore(self, on_news: Callable[[News], None], on_report: OnReport = lambda report: None) -> None:
        """Train and score until the plan is carried out or its time is up; each method is tried once in any case."""
        began, each = time.monotonic(), 0.0
        while True:
            found = self.found()
            ahead = [(i, *stage) for i, stage in enumerate(self.plan.stages(found)) if not set(stage[1]) <= set(found)]
            if not ahead:
                return
            number, title, trials = ahead[0]
            left = [trial for trial in trials if trial not in found]
            now = left[: _LATER if number else _FIRST]
            needed = each * (len(now) + _TEST_SHARE * self._unscored([*found, *now]))
            if number > 0 and time.monotonic() - began + needed > 60 * self.plan.minutes:
                return
            on_news(News(title, len(trials) - len(left), len(trials), now, found))
            at = time.monotonic()
            self._try(now, on_report, {} if found else self._shuffled())
            each = max(each, (time.monotonic() - at) / len(now))

    def _unscored(self, trials: Sequence[Trial]) -> int:
        """How many of these are to be scored on test games yet: of each call and seed the one with the best rate."""
        scored = [trial for trial in trials if (self.run_of(trial).folder / "test.json").exists()]
        return len({(trial.call, trial.seed) for trial in trials} - {(trial.call, trial.seed) for trial in scored})

    def _try(self, trials: Sequence[Trial], on_report: OnReport, beside: Mapping[Path, RunConfig]) -> None:
        """Train and score some trials, and train what comes `beside` them. One whose loss is not finite is kept as a
        failure, and the others go on."""
        failed: dict[Trial, str] = {}
        try:
            self._train(trials, on_report, beside)
        except FloatingPointError:
            for trial in trials:
                try:
                    self._train([trial], on_report, {})
                except FloatingPointError as error:
                    failed[trial] = str(error)
        for trial, error in failed.items():
            files.write_json(self.run_of(trial).folder / "validation.json", {"failed": error})
        _ = self.validation.halves  # made once, before several ask for them
        trained = [trial for trial in trials if trial not in failed]
        side_by_side([partial(self._validate, trial) for trial in self._densest_first(trained)])

    def _train(self, trials: Sequence[Trial], on_report: OnReport, beside: Mapping[Path, RunConfig]) -> None:
        jobs = {self.run_of(trial).folder: self.plan.config(trial) for trial in trials}
        runs.train({**jobs, **beside}, on_report)

    def _shuffled(self) -> dict[Path, RunConfig]:
        """By its folder the run on the subject with its weights shuffled: what an earlier session began, or by the
        first call."""
        run = Run(self.folder / "runs" / "shuffled-subject")
        if (run.folder / "config.json").exists():
            return {run.folder: run.config}
        call = next(iter(self.plan.contenders.values()))[0]
        return {run.folder: control_of(self.plan.config(Trial(call, self.plan.rates[0], 0)))}

    def _densest_first(self, trials: Sequence[Trial]) -> list[Trial]:
        """In the order in which scoring them in turns leaves no core waiting for one at the end."""
        return sorted(trials, key=lambda trial: -self.run_of(trial).metrics()[-1]["l0"])

    def _validate(self, trial: Trial) -> None:
        run = self.run_of(trial)
        scores = truth_scores(run.dictionary(), self.validation).scores
        last = {name: run.metrics()[-1][name] for name in ("fvu", "l0", "dead", "core_seconds")}
        files.write_json(run.folder / "validation.json", defined(scores) | {"training": last})

    def score(self, trials: Sequence[Trial]) -> dict[Trial, Scores]:
        """Each trial on the test games: scores of its "activations" and "pre-activations"."""
        paths = {trial: self.run_of(trial).folder / "test.json" for trial in trials}
        missing = self._densest_first([trial for trial, path in paths.items() if not path.exists()])
        self.test.prepare()
        # What the controls need takes one thread long: better now than when nothing else is left to do.
        beside = [] if self._kept_controls.exists() else self._controls.preparations
        side_by_side([*beside, *(partial(self._test, trial) for trial in missing)])
        return {trial: files.read_json(path) for trial, path in paths.items()}

    def _test(self, trial: Trial) -> None:
        run = self.run_of(trial)
        dictionary = run.dictionary()
        own, pre = own_scores(dictionary, self.test).activations, pre_activation_scores(dictionary, self.test)
        files.write_json(run.folder / "test.json", {"activations": defined(own), "pre-activations": defined(pre)})

    def controls(self) -> list[Scores]:
        """What stands beside the methods, on the test games: name, readout, scores; kept in controls.json."""
        if not self._kept_controls.exists():
            rows = [{"name": n, "readout": r, "scores": defined(s)} for n, r, s in self._controls.rows]
            files.write_json(self._kept_controls, rows)
        return files.read_json(self._kept_controls)

    @property
    def _kept_controls(self) -> Path:
        return self.folder / "controls.json"

    @cached_property
    def _controls(self) -> Controls:
        (shuffled,) = runs.train(self._shuffled())
        return Controls(self.test, shuffled)
