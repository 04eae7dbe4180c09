"""Training an OthelloGPT in a folder: games without end, the checkpoint, a log, and at the end the model with its card.

Shapes: B games, S = 59 positions, V = 61 tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from unweave import files
from unweave.config import from_dict
from unweave.othello import games, labels, tokens
from unweave.subject import disk
from unweave.subject.gpt import GPT, GPTConfig
from unweave.subject.othello import ALPHABET
from unweave.subject.pretrain import Batches, Pretraining, Progress, checkpoint, pretrain, same_settings

Targets = Literal["exact", "sampled"]


@dataclass(frozen=True, kw_only=True)
class OthelloTraining:
    """All that decides an OthelloGPT. batch: games a step, all of them new.
    targets: "exact", the distribution of the next move under uniform play; "sampled", the move that was played.
    start: a folder or file with the weights to start from, as `disk.save` writes it; "" for fresh ones."""

    gpt: GPTConfig = field(default_factory=GPTConfig)
    how: Pretraining = field(default_factory=Pretraining)
    batch: int = 128
    targets: str = "exact"
    start: str = ""

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, not {self.batch}")
        if self.targets not in ("exact", "sampled"):
            raise ValueError(f"targets are exact or sampled, not {self.targets!r}")

    @property
    def command(self) -> str:
        """What to type to make the same model again."""
        gpt, how = self.gpt, self.how
        return (
            f"unweave pretrain othello --steps {how.steps} --lr {how.lr:g} --decay {how.decay:g} "
            f"--batch {self.batch} --layers {gpt.n_layers} --width {gpt.d_model} --heads {gpt.n_heads} "
            f"--seed {how.seed} --targets {self.targets}" + (f" --start {self.start}" if self.start else "")
        )


def targets(moves: Tensor, kind: Targets | str) -> Tensor:
    """What should be predicted after each move but the last of `moves [B, 60]`: distributions `[B, 59, V]`, zeros
    where the game is over."""
    if kind == "exact":
        return labels.next_move_distribution(moves)[:, :-1]
    following = tokens.encode(moves)[:, 1:]
    return F.one_hot(following, tokens.SIZE).float() * (following != tokens.PAD).unsqueeze(-1)


def batches(config: OthelloTraining, device: torch.device | str = "cpu") -> Batches:
    """The source of `pretrain`: training games from the run's seed."""

    def source(step: int) -> Iterator[tuple[Tensor, Tensor]]:
        for moves in games.stream("train", config.how.seed, batch=config.batch, skip=step, device=device):
            yield tokens.encode(moves[:, :-1]), targets(moves, config.targets)

    return source


def pretrain_othello(
    folder: Path, config: OthelloTraining, device: torch.device | str = "cpu", *, checkpoint_every: int = 50
) -> Iterator[Progress]:
    """Train in `folder`, or continue there, yielding after each step; see `pretrain` for what stopping costs.

    Each step adds a line to `log.jsonl`: step, loss (nats) and the seconds of training so far. Raises what
    `pretrain` does, ValueError if `folder` belongs to a training with other settings or is in use, or the weights to
    start from are of another shape, FileNotFoundError if those are not there.
    """
    model = _initial(config, folder).to(device)  # first, so that a mistake in `start` leaves no folder claimed
    with files.held(folder):
        _claim(folder, config)
        yield from _train(model, folder, config, device, checkpoint_every)


def _train(
    model: GPT, folder: Path, config: OthelloTraining, device: torch.device | str, checkpoint_every: int
) -> Iterator[Progress]:
    steps = pretrain(model, batches(config, device), config.how, folder, checkpoint_every=checkpoint_every)
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


def _initial(config: OthelloTraining, folder: Path) -> GPT:
    torch.manual_seed(config.how.seed)
    model = GPT(config.gpt, ALPHABET)
    if config.start and not (folder / "checkpoint.safetensors").exists():  # else they are in the checkpoint
        start = disk.saved(config.start)
        if start.config != config.gpt:
            raise ValueError(f"{config.start} holds a model of another shape ({start.config}) than {config.gpt}")
        model.load_state_dict(start.state_dict())
    return model


def settings(folder: Path) -> OthelloTraining:
    """What the training in `folder` was begun with. Raises FileNotFoundError, or ValueError for a damaged file."""
    return from_dict(OthelloTraining, files.read_json(folder / "config.json"))


def log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a training's log; what a crash left half-written at its end does not count."""
    path, rows = folder / "log.jsonl", []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _rewind(path: Path, step: int) -> float:
    """Take from a log the steps that will be done again, `step` the first of them; the seconds of those that stay."""
    kept = [row for row in log(path.parent) if row["step"] < step]
    files.write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
    return kept[-1]["seconds"] if kept else 0.0


def _claim(folder: Path, config: OthelloTraining) -> None:
    if (folder / "checkpoint.safetensors").exists():
        same_settings(checkpoint(folder)[1], config.gpt, config.how, folder)
    elif not (folder / "config.json").exists() and not files.vacant(folder):
        raise ValueError(f"{folder} exists and holds no training: choose another folder")
    if not (folder / "config.json").exists():
        files.write_json(folder / "config.json", asdict(config))
    elif (there := settings(folder)) != config:
        raise ValueError(
            f"{folder} belongs to another training, `{there.command}`: continue that one, or choose another folder"
        )
