"""A folder in which a training goes on: what it was begun with, its checkpoint, and a log with a line a step."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

from unweave import files
from unweave.config import from_dict
from unweave.subject.pretrain import Pretraining, Progress, checkpoint, same_settings


@runtime_checkable
class Training(Protocol):
    """All that decides a training: a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def how(self) -> Pretraining: ...

    @property
    def command(self) -> str:
        """What to type to make the same model again."""
        ...


T = TypeVar("T")


def claim(folder: Path, config: Training, shape: Mapping[str, Any]) -> None:
    """Write down what the training in `folder` is begun with; if that is there already, it must be the same.

    shape: of the model, as `pretrain` takes it. Raises ValueError if the folder belongs to a training with other
    settings, or holds something else.
    """
    if (folder / "checkpoint.safetensors").exists():
        same_settings(checkpoint(folder)[1], config.how, shape, folder)
    elif not (folder / "config.json").exists() and not files.vacant(folder):
        raise ValueError(f"{folder} exists and holds no training: choose another folder")
    if not (folder / "config.json").exists():
        files.write_json(folder / "config.json", asdict(config))
    elif (there := settings(type(config), folder)) != config:
        raise ValueError(
            f"{folder} belongs to another training, `{there.command}`: continue that one, or choose another folder"
        )


def settings(kind: type[T], folder: Path) -> T:
    """What the training in `folder` was begun with. Raises FileNotFoundError, or ValueError for a damaged file."""
    return from_dict(kind, files.read_json(folder / "config.json"))


def logged(steps: Iterator[Progress], folder: Path) -> Iterator[Progress]:
    """The steps of `pretrain`, each with a line in `log.jsonl`: step, loss (nats), seconds of training so far."""
    seconds: float | None = None
    try:
        for news in steps:
            if seconds is None:  # only now is it known from which step this continues
                seconds = _rewind(folder / "log.jsonl", news.step)
            seconds += news.seconds
            with open(folder / "log.jsonl", "a", encoding="utf-8") as log:
                log.write(json.dumps({"step": news.step, "loss": news.loss, "seconds": round(seconds, 3)}) + "\n")
            yield news
    finally:
        steps.close()  # type: ignore[attr-defined]  (a generator: closing it writes the checkpoint)


def log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a training's log; what a crash left half-written at its end does not count."""
    path, rows = folder / "log.jsonl", []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def finished(folder: Path, how: Pretraining) -> dict[str, Any]:
    """The tensors of the last checkpoint. Raises ValueError if the training has steps to go."""
    tensors, header = checkpoint(folder)
    if header["step"] < how.steps:
        raise ValueError(f"the training in {folder} has done {header['step']} of {how.steps} steps: finish it first")
    return tensors


def _rewind(path: Path, step: int) -> float:
    """Take from a log the steps that will be done again, `step` the first of them; the seconds of those that stay."""
    kept = [row for row in log(path.parent) if row["step"] < step]
    files.write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
    return kept[-1]["seconds"] if kept else 0.0
