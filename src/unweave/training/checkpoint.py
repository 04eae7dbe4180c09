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
    """Weights, what the optimiser remembers and firing statistics; `about` must hold what is needed to find the place
    in the stream."""
    files.write_tensors(path, _tensors(trainer), {"step": trainer.step, "about": about})


def restore(trainer: Trainer, path: Path) -> dict[str, Any]:
    """Bring a fresh trainer to where `save` left one, and return its `about`.

    Raises ValueError for a file that is damaged or of other shapes.
    """
    tensors, header = files.read_tensors(path)
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
    held |= {f"optimiser.{name}": tensor for name, tensor in trainer.optimiser.state().items()}
    return held | {"silent": trainer.silent}
