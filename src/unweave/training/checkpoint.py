"""A training's whole state in one file, so that a run that is killed goes on as if it never was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unweave import files
from unweave.dictionary.export import check_shapes
from unweave.training.loop import Trainer


def save(trainer: Trainer, path: Path, about: dict[str, Any]) -> None:
    """Weights, Adam's moments and firing statistics; `about` must hold what is needed to find the stream's place."""
    files.write_tensors(path, _tensors(trainer), {"step": trainer.step, "about": about})


def restore(trainer: Trainer, path: Path) -> dict[str, Any]:
    """Bring a fresh trainer to where `save` left one, and return its `about`.

    Raises ValueError for a file that is damaged or of other shapes.
    """
    tensors, header = files.read_tensors(path)
    adam = trainer.optimiser.adam
    for group in adam.param_groups:  # Adam makes its state at the first step; make it now, to be filled
        for p in group["params"]:
            adam.state[p] = {"step": torch.zeros(()), "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
    held = _tensors(trainer)
    check_shapes(path, tensors, held)
    with torch.no_grad():
        for name, tensor in held.items():
            tensor.copy_(tensors[name])
    trainer.step = header["step"]
    return header["about"]


def _tensors(trainer: Trainer) -> dict[str, Tensor]:
    """Every tensor of the state, by name; the tensors themselves, not copies."""
    held = {f"dictionary.{name}": tensor for name, tensor in trainer.dictionary.state_dict().items()}
    for name, p in trainer.dictionary.named_parameters():
        held |= {f"adam.{name}.{key}": tensor for key, tensor in trainer.optimiser.adam.state[p].items()}
    return held | {"silent": trainer.silent}
