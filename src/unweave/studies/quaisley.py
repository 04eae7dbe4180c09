"""Report 001 (Quaisley 2024, "Alternative sparsity methods for sparse autoencoders with OthelloGPT"), done anew.

Its setting: 1,024 features at the residual stream after layer 3, 100,000 games, four epochs, Adam at 1e-3, Huben's
reconstruction loss (the norm of the error, not squared, divided by the width), activations as they are. Its seven
methods and none at all, once with its coefficients and once with the best for our subject of a few around them, chosen
on validation games after a tenth of the training; and the questions that it leaves open.

What differs: the subject (ours has 6 layers of width 256, its own 8 of 512), decoder rows of norm 1 (Huben's code
normalises the matrix along its other axis), four passes over each stretch of games instead of four over all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unweave import files, runs
from unweave.config import RunConfig, override
from unweave.dictionary import Dictionary
from unweave.dictionary.codes import sparse
from unweave.evaluation.context import Context
from unweave.evaluation.evaluate import defined
from unweave.evaluation.fidelity import BATCH
from unweave.evaluation.own import own_scores, truth_scores
from unweave.registry import parse
from unweave.runs import Report, Run
from unweave.threads import side_by_side

EPOCHS = 4
POSITIONS = 59


@dataclass(frozen=True)
class Entry:
    """A row of the report: its method with its coefficients, those around them that are tried here, and its figures.

    classifiers: distinct pairs with AUROC above .9; fvu: unexplained variance; active: the share of features that are
    above what it calls active, `above`; dead: the share that never are. None where it does not say.
    """

    call: str
    around: tuple[str, ...]
    classifiers: int | None
    fvu: float | None = None
    active: float | None = None
    dead: float | None = None
    above: float = 0.0


def _times(name: str, argument: str, value: float, *factors: float, **others: float | int) -> tuple[str, ...]:
    """Calls of a method with one argument at several multiples of a value."""
    rest = "".join(f", {other}={setting!r}" for other, setting in others.items())
    return tuple(f"{name}({argument}={float(f'{value * factor:.6g}')!r}{rest})" for factor in factors)


_PENALTY = (0.1, 0.3, 1.0, 3.0, 10.0)
_L1 = 0.077 / 1024  # its L1 norm is divided by the number of features, ours is a sum

ENTRIES = (
    Entry("none", ("none",), 1),
    Entry(f"relu(l1={_L1:.6g})", _times("relu", "l1", _L1, *_PENALTY), 29),
    Entry(
        "smoothed_l0(alpha=0.7, delta=10.0)",
        (*_times("smoothed_l0", "alpha", 0.7, *_PENALTY, delta=10.0), "smoothed_l0(alpha=0.7, delta=3.0)"),
        *(38, 0.079, 0.326),
        above=1.0,
    ),
    Entry(
        "freshmans_dream(alpha=1.2)", _times("freshmans_dream", "alpha", 1.2, *_PENALTY, 30.0, 100.0), 21, 0.077, 0.257
    ),
    Entry(
        "without_topk(alpha=0.1, k=64)",
        (*_times("without_topk", "alpha", 0.1, *_PENALTY, k=64), "without_topk(alpha=0.1, k=32)"),
        *(28, 0.123, 0.121),
    ),
    Entry(
        "leaky_topk(k=70, epsilon=0.5, relative=False)",
        (
            *_times("leaky_topk", "epsilon", 0.5, *_PENALTY, k=70, relative=False),
            *_times("leaky_topk", "epsilon", 0.1, 0.3, 1.0, 3.0, k=70, relative=True),
        ),
        *(45, 0.132, None, 0.0),
    ),
    Entry("topk(k=85)", ("topk(k=85)", "topk(k=64)", "topk(k=48)", "topk(k=32)"), 34, 0.132, None, 0.151),
    Entry(
        "dimension_reduction(epsilon=0.01, p=0.15, knee=10)",
        (
            *_times("dimension_reduction", "epsilon", 0.01, *_PENALTY, p=0.15, knee=10),
            *_times("dimension_reduction", "p", 0.49, 0.5, 1.0, epsilon=0.01, knee=0),
        ),
        *(43, 0.185, 0.038),
        above=0.01,
    ),
)
"""The k of without-top-k is ours: the report does not give one."""

_ABOVE = sorted({entry.above for entry in ENTRIES})

QUESTIONS = {
    "TopK as in the report, encoder independent of the decoder": ("topk(k=85)", {}),
    "TopK with the encoder as the decoder's transpose": ("topk(k=85)", {"start": "transpose()"}),
    "Multi-TopK": ("multi_topk(k=70)", {}),
    "Leaky top-k as in the report": ("leaky_topk(k=70, epsilon=0.5, relative=False)", {}),
    "Leaky top-k, a tenth of each leaks": ("leaky_topk(k=70, epsilon=0.1, relative=True)", {}),
    "Leaky top-k with a deeper encoder": (
        "leaky_topk(k=70, epsilon=0.1, relative=True)",
        {"encoder": "deep(width=1024)"},
    ),
    "TopK with a deeper encoder": ("topk(k=85)", {"encoder": "deep(width=1024)"}),
}
"""What the report and its comments leave open: does the transposed start remove dead features? Is leaky top-k like
Multi-TopK? Is its code progressive beyond k? Does a deeper encoder help?"""


@dataclass(frozen=True, kw_only=True)
class Study:
    """folder: where its runs go; games: training games of an epoch; held_out: of validation and of test, each."""

    folder: Path
    subject: str = "othello()"
    site: str = "resid_post.3"
    d_sae: int = 1024
    games: int = 100_000
    held_out: int = 2000
    seed: int = 0

    def config(self, call: str, games: int, settings: Mapping[str, str] | None = None) -> RunConfig:
        """The report's setting, on so many games."""
        batch = 1024
        base = RunConfig(
            subject=self.subject,
            site=self.site,
            method=_sorted(call),
            d_sae=self.d_sae,
            objective="unsquared(by_width=True)",
            start="independent()",
            normalise="none",
            b_dec="zero",
            revive="none()",
            seed=self.seed,
        )
        training = {"steps": max(1, games * POSITIONS * EPOCHS // batch), "batch": batch, "lr": 1e-3}
        named = {f"training.{name}": value for name, value in (training | {"warmup": 0, "decay": 0.0}).items()}
        data = {"data.passes": EPOCHS, "data.sequences": min(2048, max(64, games))}
        return override(base, {**named, **data, **(settings or {})})


OnStage = Callable[[str, int], None]
"""Told what begins, and how many steps each of its trainings takes."""


def carry_out(
    study: Study, on_stage: OnStage = lambda *_: None, on_report: Callable[[Report], None] = lambda report: None
) -> dict[str, Any]:
    """Tune on validation games, train, score on test games; what study.json in its folder then holds.

    Begun again it goes on where it was. Raises ValueError for a folder of a study with other settings.
    """
    settings = {field: getattr(study, field) for field in ("subject", "site", "d_sae", "games", "held_out", "seed")}
    files.claim(study.folder / "settings.json", settings)
    tuned = _tune(study, on_stage, on_report)

    def folder(call: str, settings: Mapping[str, str] | None = None) -> Path:
        return study.folder / "runs" / _name(call, settings)

    calls = [call for entry in ENTRIES for call in (entry.call, tuned[entry.call])]
    jobs = {folder(call): study.config(call, study.games) for call in calls}  # the report's may be the best as well
    jobs |= {folder(*asked): study.config(asked[0], study.games, asked[1]) for asked in QUESTIONS.values()}
    steps = next(iter(jobs.values())).training.steps
    on_stage(f"training {len(jobs)} dictionaries", steps)
    _train(jobs, _FIGURES, on_report)
    context = Context(study.subject, study.site, n_games=study.held_out, seed=1)
    context.prepare()
    scored = dict(zip(jobs, side_by_side([partial(_figures, path, context) for path in jobs]), strict=True))

    def figures(call: str, settings: Mapping[str, str] | None = None, above: float = 0.0) -> dict[str, Any]:
        made = scored[folder(call, settings)]
        return {"call": call, "settings": dict(settings or {}), **made, "active": made["active"][f"{above:g}"]}

    found = {
        "version": 1,
        "games": study.games,
        "steps": steps,
        "held_out": context.games,
        "rows": [
            {
                "method": parse(entry.call)[0],
                "report": {n: getattr(entry, n) for n in ("classifiers", "fvu", "active", "dead", "above")},
                "its": figures(entry.call, above=entry.above),
                "ours": figures(tuned[entry.call], above=entry.above),
            }
            for entry in ENTRIES
        ],
        "questions": [{"title": title, **figures(*asked)} for title, asked in QUESTIONS.items()],
    }
    files.write_json(study.folder / "study.json", found)
    return found


def _tune(study: Study, on_stage: OnStage, on_report: Callable[[Report], None]) -> dict[str, str]:
    """By each entry's call, the best around it on validation games, after a tenth of the training."""
    jobs = {
        study.folder / "tuning" / _name(call): study.config(call, max(1, study.games // 10))
        for entry in ENTRIES
        for call in entry.around
    }
    on_stage(f"tuning coefficients: {len(jobs)} of them", next(iter(jobs.values())).training.steps)
    _train(jobs, _COUNT, on_report)
    context = Context(study.subject, study.site, n_games=study.held_out, seed=2, split="validation")
    _ = context.halves  # made once, before several ask for it
    pairs = side_by_side([partial(_pairs, path, context) for path in jobs])
    count = dict(zip((path.name for path in jobs), pairs, strict=True))
    return {entry.call: max(entry.around, key=lambda call: count[_name(call)]) for entry in ENTRIES}


_COUNT, _FIGURES = "validation.json", "study.json"  # what is kept of a run beside it


def _train(jobs: Mapping[Path, RunConfig], kept: str, on_report: Callable[[Report], None], at_once: int = 10) -> None:
    """Those whose figures are `kept` need no weights any more: a study goes on from its figures alone."""
    paths = [path for path in jobs if not (path / kept).exists()]
    for start in range(0, len(paths), at_once):
        runs.train({path: jobs[path] for path in paths[start : start + at_once]}, on_report)


def _name(call: str, settings: Mapping[str, str] | None = None) -> str:
    """A folder for a run of a method with other settings than the report's."""
    name, arguments = parse(call)
    own = sorted(arguments.items())
    return "-".join([name, *(f"{key}={value}" for key, value in [*own, *(settings or {}).items()])])


def _sorted(call: str) -> str:
    """The same call, however its arguments were ordered: what is asked for twice is trained once."""
    name, arguments = parse(call)
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in sorted(arguments.items()))})" if arguments else name


def _kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a file holds; made and written first, where it is not there."""
    if not path.exists():
        files.write_json(path, make())
    return files.read_json(path)


def _pairs(path: Path, context: Context) -> float:
    """How many distinct pairs a trained run's features classify."""

    def count() -> dict[str, Any]:
        return {"pairs/1": truth_scores(Run(path).dictionary(), context).scores["pairs/1"]}

    return _kept(path / _COUNT, count)["pairs/1"]


def _figures(path: Path, context: Context) -> dict[str, Any]:
    """The report's figures of a trained run."""

    def measure() -> dict[str, Any]:
        dictionary = Run(path).dictionary()
        scores = defined(own_scores(dictionary, context).activations)
        vectors = context.halves[1].vectors[context.site][:20_000]
        return {
            "classifiers": scores["pairs/1"],
            "within": scores["pairs_within/1"],
            "fvu": scores["fvu/1"],
            "active": active(dictionary, vectors, _ABOVE),
            "dead": scores["dead/1"],
            "progressive": progressive(dictionary, vectors),
        }

    return _kept(path / _FIGURES, measure)


@torch.no_grad()
def active(dictionary: Dictionary, x: Tensor, above: Sequence[float]) -> dict[str, float]:
    """The share of the codes of `x [N, D]` that are above each bound, in the units of the codes, by the bound."""
    codes = [sparse(dictionary.encode(part)).values for part in x.split(BATCH)]
    size = len(x) * dictionary.d_sae
    return {f"{bound:g}": sum(int((values > bound).sum()) for values in codes) / size for bound in above}


@torch.no_grad()
def progressive(dictionary: Dictionary, x: Tensor, ks: Sequence[int] = (16, 32, 64, 128, 256)) -> dict[str, float]:
    """FVU of `x [N, D]` when the k largest rectified pre-activations alone are decoded, by k: a code is progressive if
    more of them, also more than it was trained with, are better (Gao et al. 2024, Sect. 5.3)."""
    centred = x - x.mean(0)
    found = {}
    for k in ks:
        if k <= dictionary.d_sae:
            error = 0.0
            for part in x.split(BATCH):
                top = dictionary.pre(part).relu().topk(k, dim=1)
                codes = torch.zeros(len(part), dictionary.d_sae).scatter(1, top.indices, top.values)
                error += float((dictionary.decode(codes, part) - part).square().sum())
            found[str(k)] = error / float(centred.square().sum())
    return found
