"""Training an OthelloGPT in a folder: games without end, the checkpoint, a log, and at the end the model with its card.

Shapes: B games, S = 59 positions, V = 61 tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from unweave import files
from unweave.othello import games, labels, tokens
from unweave.subject import disk
from unweave.subject.gpt import GPT, GPTConfig
from unweave.subject.othello import ALPHABET
from unweave.subject.pretrain import Batches, Pretraining, Progress, pretrain
from unweave.subject.training_folder import claim, logged

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
    shape = asdict(config.gpt)
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    with files.held(folder):
        claim(folder, config, shape)
        source = batches(config, device)
        steps = pretrain(model, matrices, source, config.how, folder, shape=shape, checkpoint_every=checkpoint_every)
        yield from logged(steps, folder)


def _initial(config: OthelloTraining, folder: Path) -> GPT:
    torch.manual_seed(config.how.seed)
    model = GPT(config.gpt, ALPHABET)
    if config.start and not (folder / "checkpoint.safetensors").exists():  # else they are in the checkpoint
        start = disk.saved(config.start)
        if start.config != config.gpt:
            raise ValueError(f"{config.start} holds a model of another shape ({start.config}) than {config.gpt}")
        model.load_state_dict(start.state_dict())
    return model
