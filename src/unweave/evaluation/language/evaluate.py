"""Scoring runs on text: every metric of each dictionary beside the same of dictionaries that learned nothing, alone and
spliced in together, into the runs' folders."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor

from unweave import files
from unweave.activations.corpus import Split
from unweave.dictionary import Dictionary
from unweave.evaluation.controls import control_of
from unweave.evaluation.evaluate import defined, row
from unweave.evaluation.language.definitions import DEFINITIONS
from unweave.evaluation.language.group import Group
from unweave.runs import Run

VERSION = 1

# A token's mean over fewer predictions than this says little of it.
_OFTEN = 10
_SHOWN = 20


def evaluate(
    runs: Sequence[Run], *, n_rows: int = 256, seed: int = 1, split: Split = "test", baselines: bool = True
) -> dict[str, Any]:
    """Score runs of one subject on held-out rows of its text; write evaluation.json and evaluation.safetensors into
    each run's folder, and return what the first hold as "runs", and the scores of all spliced in "together": None for a
    single run, for a subject that predicts no next token, and where two runs write the same site.

    Args: n_rows, seed, split: how many held-out rows, and which; all there are if there are fewer. baselines: whether
    beside each dictionary stand itself before training and principal components; what a run's folder has under
    `control`, a dictionary of the subject with its weights shuffled, is scored as well, if it is trained.
    Raises FileNotFoundError or ValueError for a run that is not trained or damaged, ValueError for runs of several
    subjects or texts.
    """
    if not runs:
        raise ValueError("name at least one run to score")
    dictionaries = [run.dictionary() for run in runs]
    group = Group([run.config for run in runs], n_rows=n_rows, seed=seed, split=split)
    scored = _Scores(group, dictionaries, baselines=baselines)
    shuffled = _shuffled(runs, n_rows=n_rows, seed=seed, split=split)
    found = []
    for i, run in enumerate(runs):
        arrays = scored.arrays(i)
        rows = [*scored.rows(i), *([row(*shuffled[i], is_control=True)] if i in shuffled else [])]
        hurt = _hurt(group, arrays) if group.predicts else []
        found.append(_about(run.name, group, i, rows) | {"hurt": hurt})
        files.write_tensors(run.folder / "evaluation.safetensors", arrays)
        files.write_json(run.folder / "evaluation.json", found[-1])
    return {"runs": found, "together": scored.together([run.name for run in runs])}


class _Scores:
    """Every number of a group's dictionaries and of what stands beside them."""

    def __init__(self, group: Group, dictionaries: Sequence[Dictionary], *, baselines: bool) -> None:
        self.group = group
        kinds = [[group.home(dictionary) for dictionary in dictionaries]]
        if baselines:
            kinds += [group.untrained(), group.components(kinds[0])]
        self.kinds = kinds
        self.rebuilt, self.where = group.rebuild(kinds)
        n, self.whole = len(dictionaries), []
        self.alone: list[list[dict[str, float]]] = [[{} for _ in range(n)] for _ in kinds]
        if group.predicts:
            written = [site for _, target in group.places for site in target.split("+")]
            together = n > 1 and len(set(written)) == len(written)
            self.alone, self.whole = group.splice(kinds, self.where, together=together)

    def rows(self, i: int) -> list[dict[str, Any]]:
        """The table of run i."""
        return _table(
            [self.scores(kind, i) for kind in range(len(self.kinds))], f"PCA of {self.kinds[-1][i].d_sae // 2}"
        )

    def scores(self, kind: int, i: int) -> dict[str, float]:
        return self.rebuilt[kind][i].result() | self.alone[kind][i]

    def arrays(self, i: int) -> dict[str, Tensor]:
        return self.rebuilt[0][i].features() | self.where[i].arrays()

    def together(self, names: Sequence[str]) -> dict[str, Any] | None:
        """The table of all spliced in together."""
        if not self.whole:
            return None
        rows = _table(self.whole, "PCA")
        places = [
            {"run": name, "site": site, "target": target}
            for name, (site, target) in zip(names, self.group.places, strict=True)
        ]
        about = {
            "version": VERSION,
            "subject": self.group.configs[0].subject,
            "runs": places,
            "text": _text(self.group),
        }
        return about | {"rows": rows, "metrics": _metrics(rows)}


def _table(scores: Sequence[Mapping[str, float]], components: str) -> list[dict[str, Any]]:
    """The rows of a dictionary and of what stands beside it, in the order of `_Scores.kinds`."""
    names = (("dictionary", "activations"), ("untrained", "activations"), (components, "both signs"))
    return [row(*name, each, is_control=i > 0) for i, (name, each) in enumerate(zip(names, scores, strict=False))]


def _shuffled(runs: Sequence[Run], **which: Any) -> dict[int, tuple[str, str, dict[str, float]]]:
    """By run's index the scores of its control, where there is one: on the same rows, of the subject with its weights
    shuffled. Raises ValueError for a control of another config."""
    there = {i: Run(run.folder / "control") for i, run in enumerate(runs)}
    there = {i: control for i, control in there.items() if control.trained}
    for i, control in there.items():
        if control.config != control_of(runs[i].config):
            raise ValueError(f"{control.folder} is no control of {runs[i].folder}: delete it, or train it anew")
    if not there:
        return {}
    group = Group([control.config for control in there.values()], **which)
    scored = _Scores(group, [control.dictionary() for control in there.values()], baselines=False)
    return {i: ("shuffled subject", "activations", scored.scores(0, at)) for at, i in enumerate(there)}


def _about(name: str, group: Group, i: int, rows: list[dict[str, Any]]) -> dict[str, Any]:
    config, (site, target) = group.configs[i], group.places[i]
    return {
        "version": VERSION,
        "run": name,
        "subject": config.subject,
        "site": site,
        "target": target,
        "method": config.method,
        "d_sae": config.d_sae,
        "text": _text(group),
        "rows": rows,
        "metrics": _metrics(rows),
    }


def _text(group: Group) -> dict[str, Any]:
    """Which rows these are. positions: how many vectors are rebuilt; predictions: how many are counted."""
    data, rows = group.configs[0].data, group.rows
    return {
        "source": data.text,
        "split": group.split,
        "seed": group.seed,
        "rows": len(rows),
        "context": data.context,
        "packed": data.packed,
        "specials": data.specials,
        "positions": int(rows.learn.sum()),
        "predictions": int(rows.there[:, 1:].sum()) if group.predicts else 0,
    }


def _metrics(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What the scores of a table mean."""
    asked = {key for each in rows for key in each["scores"]}
    return {key: asdict(definition) for key, definition in DEFINITIONS.items() if key in asked}


def _hurt(group: Group, arrays: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """The frequent tokens after which the dictionary costs the subject most: how many nats on average."""
    increase = (arrays["token_ce_spliced"] - arrays["token_ce"]).where(arrays["token_counted"] >= _OFTEN, -math.inf)
    worst = increase.argsort(descending=True, stable=True)[:_SHOWN].tolist()
    return [
        {
            "token": token,
            "name": group.tokenizer.piece(token),
            "count": int(arrays["token_counted"][token]),
            **defined({"ce_increase": float(increase[token]), "fvu": float(arrays["token_fvu"][token])}),
        }
        for token in worst
        if increase[token] > -math.inf
    ]
