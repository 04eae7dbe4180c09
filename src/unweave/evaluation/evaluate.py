"""Scoring a run: every metric of its dictionary beside the same of every control, into the run's folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache, partial
from typing import Any

import torch

from unweave import files, runs
from unweave.evaluation.context import Context
from unweave.evaluation.controls import Controls, control_of
from unweave.evaluation.definitions import DEFINITIONS
from unweave.evaluation.own import OwnScores, own_scores, pre_activation_scores
from unweave.runs import Report, Run
from unweave.threads import side_by_side

VERSION = 1


def train_control(run: Run, on_report: Callable[[Report], None] = lambda report: None) -> Run:
    """The control of a run, in its folder under `control`; trained there if it is not there yet."""
    return runs.train({run.folder / "control": control_of(run.config)}, on_report)[0]


def evaluate(run: Run, controls: Controls | None = None, *, n_games: int = 2000, seed: int = 1) -> dict[str, Any]:
    """Score `run`, write evaluation.json and evaluation.safetensors into its folder, and return what the first holds.

    Args: n_games, seed: how many held-out games, and which; controls: what stands beside the dictionary, when several
    runs of one subject and site share it (n_games and seed are then its own); made for this run alone when None.
    Raises FileNotFoundError or ValueError for a run that is not trained or damaged, ValueError for controls of another
    subject or site.
    """
    config, dictionary = run.config, run.dictionary()
    controls = controls or Controls(
        Context(config.subject, config.site, config.target, n_games=n_games, seed=seed), train_control(run)
    )
    context = controls.context
    if not context.fits(config):
        raise ValueError(
            f"{run.folder} is of {config.site} of {config.subject}, not of {context.site} of {context.call}"
            + (f", or to {config.target or config.site}, not to {context.target}" if config.target else "")
        )
    activations = cache(partial(own_scores, dictionary, context))
    pre_activations = cache(partial(pre_activation_scores, dictionary, context))
    controls.prepare()
    side_by_side([activations, pre_activations, *controls.tasks])
    own = activations()
    rows = [
        row("dictionary", "activations", own.activations),
        row("dictionary", "pre-activations", pre_activations()),
        *(row(*control, is_control=True) for control in controls.rows),
    ]
    found = {
        "version": VERSION,
        "run": run.name,
        "subject": config.subject,
        "site": context.site,
        "target": context.target,
        "method": config.method,
        "d_sae": dictionary.d_sae,
        "games": context.games,
        "rows": rows,
        "metrics": {key: asdict(definition) for key, definition in DEFINITIONS.items()},
    }
    files.write_tensors(run.folder / "evaluation.safetensors", _arrays(own, controls))
    files.write_json(run.folder / "evaluation.json", found)
    return found


def evaluate_all(trained: Sequence[Run], controls: Controls) -> list[dict[str, Any]]:
    """Score several runs beside the same controls; as `evaluate` does each."""
    _ = controls.rows  # made once, before several ask for them
    return side_by_side([partial(evaluate, run, controls) for run in trained])


def row(name: str, readout: str, scores: Mapping[str, float], *, is_control: bool = False) -> dict[str, Any]:
    """A row of the table; what is undefined is null."""
    return {"name": name, "readout": readout, "is_control": is_control, "scores": defined(scores)}


def defined(scores: Mapping[str, float]) -> dict[str, float | None]:
    """The scores as JSON can have them: null where a metric has no meaning."""
    return {key: None if math.isnan(value) else value for key, value in scores.items()}


def _arrays(own: OwnScores, controls: Controls) -> dict[str, torch.Tensor]:
    truth = own.truth
    return {
        "moves": controls.context.halves[1].moves,
        "density": own.density.float(),
        "max": own.max.float(),
        "auroc": torch.from_numpy(truth.auroc).float(),
        "auroc_within": torch.from_numpy(truth.auroc_within).float(),
        "probe_auroc": torch.from_numpy(controls.probe.auroc.diagonal().copy()).float(),
        "best_feature": torch.from_numpy(truth.best_feature),
        "label_of": torch.from_numpy(truth.label_of),
        **own.top,
    }
