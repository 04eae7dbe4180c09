"""The files of a run, read and checked before anything is drawn from them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from unweave import files

LABELS = 252
"""Mine, theirs and empty of 64 squares each, then 60 legal squares."""


@dataclass(frozen=True)
class Reading:
    """What the files of one run say.

    config: the settings in config.json; evaluation: of evaluation.json; tensors: of evaluation.safetensors;
    steps: the lines of metrics.jsonl.
    """

    config: dict[str, Any]
    evaluation: dict[str, Any]
    tensors: dict[str, Tensor]
    steps: list[dict[str, Any]]

    @property
    def name(self) -> str:
        return str(self.evaluation["run"])

    @property
    def seconds(self) -> float | int | None:
        """How long training took, None where it was not recorded."""
        return next((step["seconds"] for step in reversed(self.steps) if step.get("seconds") is not None), None)

    def score(self, metric: str, readout: str = "activations") -> float | int | None:
        """The dictionary's own score, or None where it has none."""
        for row in self.evaluation["rows"]:
            if not row["is_control"] and row["readout"] == readout:
                return row["scores"].get(metric)
        return None


def read(folder: Path) -> Reading:
    """The reading of a run's folder.

    Raises FileNotFoundError when the folder or one of its files is missing, ValueError when a file is damaged.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no run folder {folder}")
    if not (folder / "evaluation.json").is_file() or not (folder / "evaluation.safetensors").is_file():
        raise FileNotFoundError(f"the run {folder} has no evaluation yet: write one with `unweave evaluate {folder}`")
    evaluation = read_evaluation(folder / "evaluation.json")
    path = folder / "evaluation.safetensors"
    tensors, _ = files.read_tensors(path)
    _check(tensors, path)
    return Reading(_read_config(folder / "config.json"), evaluation, tensors, read_steps(folder / "metrics.jsonl"))


def read_evaluation(path: Path) -> dict[str, Any]:
    """An evaluation.json. Raises FileNotFoundError or ValueError in one sentence."""
    evaluation = files.read_json(path)
    if isinstance(evaluation, dict) and "text" in evaluation:
        raise ValueError(
            f"{path.parent} is of a subject that reads text: the page shows boards of Othello, and it has none"
        )
    needed = ("run", "subject", "site", "method", "games", "rows", "metrics")
    missing = [key for key in needed if key not in evaluation] if isinstance(evaluation, dict) else list(needed)
    if missing:
        raise ValueError(f"{path} is no evaluation: it lacks {', '.join(missing)}; evaluate the run again")
    return evaluation


def _read_config(path: Path) -> dict[str, Any]:
    held = files.read_json(path)
    if not isinstance(held, dict) or not isinstance(held.get("config"), dict):
        raise ValueError(f'{path} is no configuration of a run: it has no settings under "config"')
    return held["config"]


def read_steps(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl, [] when there is none. A last line that was cut off while writing is left out."""
    if not path.is_file():
        return []
    lines, steps = path.read_text(encoding="utf-8").splitlines(), []
    for at, line in enumerate(lines, 1):
        try:
            steps.append(json.loads(line))
        except json.JSONDecodeError as error:
            if at < len(lines):
                raise ValueError(f"{path} is damaged at line {at}: {error}") from None
    return steps


def _check(tensors: dict[str, Tensor], path: Path) -> None:
    needed: dict[str, Sequence[str]] = {
        "moves": ("games", "60"),
        "density": ("features",),
        "auroc": ("features", str(LABELS)),
        "auroc_within": ("features", str(LABELS)),
        "probe_auroc": (str(LABELS),),
        "best_feature": (str(LABELS),),
        "label_of": ("features",),
        "top_game": ("features", "examples"),
        "top_ply": ("features", "examples"),
        "top_value": ("features", "examples"),
        "max": ("features",),
    }
    sizes: dict[str, int] = {}
    for name, shape in needed.items():
        if name not in tensors:
            raise ValueError(f"{path} lacks the tensor {name}; evaluate the run again")
        actual = tuple(tensors[name].shape)
        expected = tuple(int(size) if size.isdigit() else sizes.get(size, -1) for size in shape)
        if len(actual) != len(expected) or any(e not in (-1, a) for e, a in zip(expected, actual, strict=True)):
            raise ValueError(f"{path}: {name} has shape {actual}, which does not fit the rest; evaluate the run again")
        sizes.update({size: a for size, a in zip(shape, actual, strict=True) if not size.isdigit()})
