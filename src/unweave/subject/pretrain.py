"""Training a model of ours: Muon for the matrices, AdamW for the rest, warm-up, a flat stretch, then down to nothing.

Generic over the model, which maps token ids to logits, and over the data: a source gives, for a step, token ids and
the next token after each, or its distribution. Shapes: B sequences, S positions, V alphabet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unweave import files
from unweave.precision import has_bfloat16
from unweave.schedule import rate
from unweave.subject.muon import Muon

Batches = Callable[[int], Iterator[tuple[Tensor, Tensor]]]
"""From a step on, endless (inputs `[B, S] int64`, targets): `[B, S] int64` ids, of which IGNORED do not count, or
`[B, S, V]` distributions, of which those that are all zero do not."""

IGNORED = -100


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """How to train: `lr` is the peak for both optimisers (Muon's is scaled to AdamW's), `decay` the share of the steps
    in which it falls to zero, `gradient_norm` where the gradient is clipped, `micro_batch` how many sequences go
    through the model at a time."""

    steps: int = 3000
    lr: float = 3e-3
    weight_decay: float = 0.01
    warmup: int = 100
    decay: float = 0.5
    gradient_norm: float = 1.0
    micro_batch: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "micro_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not self.lr > 0:
            raise ValueError(f"lr must be above 0, not {self.lr}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, not {self.seed}")
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay is a share of the steps, from 0 to 1, not {self.decay}")


@dataclass(frozen=True)
class Progress:
    """One step's news: `step` steps are done, `loss` in nats was the last one's, which took `seconds`."""

    step: int
    loss: float
    seconds: float


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the targets that count (see `Batches`) of -sum p log q, in nats; 0 if none does."""
    if targets.ndim == 2:
        each = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none")
    else:
        each = -(targets * logits.float().log_softmax(-1)).sum(-1)
    return each.sum() / _counted(targets).clamp(min=1)


def _counted(targets: Tensor) -> Tensor:
    """How many targets count."""
    return (targets != IGNORED).sum() if targets.ndim == 2 else targets.sum(-1).gt(0).sum()


def optimisers(model: nn.Module, matrices: list[nn.Parameter], how: Pretraining) -> list[torch.optim.Optimizer]:
    """Muon over `matrices`, those of the blocks; AdamW over the rest: embeddings, head, biases, norms."""
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        Muon(matrices, lr=how.lr, weight_decay=how.weight_decay),
        torch.optim.AdamW(rest, lr=how.lr, betas=(0.9, 0.95), weight_decay=how.weight_decay),
    ]


def pretrain(
    model: nn.Module,
    matrices: list[nn.Parameter],
    batches: Batches,
    how: Pretraining,
    folder: Path,
    *,
    shape: Mapping[str, Any],
    checkpoint_every: int = 50,
    at_step: Callable[[int], object] = lambda _step: None,
) -> Iterator[Progress]:
    """Train `model` in place, yielding after each step; a checkpoint in `folder` is continued when there is one.

    matrices: those that Muon trains; shape: what the model was built from, as JSON has it; at_step: called when a step
    is done and before any checkpoint of it, so that what it writes is there when the training goes on from that one.
    Closing the iterator between two steps writes a checkpoint; being killed loses at most `checkpoint_every` steps.
    On the CPU a continued run equals one that was never stopped, bit for bit. Raises ValueError if the checkpoint in
    `folder` belongs to other settings or is damaged, FloatingPointError if the loss is not finite.
    """
    optims = optimisers(model, matrices, how)
    settings = {"pretraining": asdict(how), "model": dict(shape)}
    step = _restore(model, optims, how, shape, folder)
    source, half = batches(step), has_bfloat16(next(model.parameters()).device)
    while step < how.steps:
        began = time.perf_counter()
        loss = _backward(model, *next(source), how.micro_batch, half)
        if not loss.isfinite():
            raise FloatingPointError(f"the loss is {loss.item()} at step {step}: lower the learning rate, now {how.lr}")
        torch.nn.utils.clip_grad_norm_(model.parameters(), how.gradient_norm)
        for optim in optims:
            for group in optim.param_groups:
                group["lr"] = how.lr * rate(step, how.steps, how.warmup, how.decay)
            optim.step()
            optim.zero_grad()
        step += 1
        at_step(step)
        due = step % checkpoint_every == 0 or step == how.steps
        if due:
            _save(model, optims, {"step": step, **settings}, folder)
        try:
            yield Progress(step, loss.item(), time.perf_counter() - began)
        except GeneratorExit:
            if not due:
                _save(model, optims, {"step": step, **settings}, folder)
            raise


def checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a training that is under way in `folder`, and its header: step, pretraining, model.

    Raises FileNotFoundError if there is none, ValueError if it is damaged or of another kind.
    """
    path = folder / "checkpoint.safetensors"
    tensors, header = files.read_tensors(path)
    if not {"step", "pretraining", "model"} <= header.keys():
        raise ValueError(f"{path} is no checkpoint of a pretraining: its header does not say of which step")
    return tensors, header


def same_settings(header: Mapping[str, Any], how: Pretraining, shape: Mapping[str, Any], folder: Path) -> None:
    """Raises ValueError unless a checkpoint's header is that of a training by `how` of a model of that shape."""
    theirs = {name: header[name] for name in ("pretraining", "model")}
    if differ := files.differences(theirs, {"pretraining": asdict(how), "model": shape}):
        raise ValueError(
            f"{folder} holds a training with other settings ({differ}): continue it with those, "
            "or choose another folder"
        )


def weights(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The model's own among a checkpoint's tensors."""
    return {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}


def _backward(model: nn.Module, inputs: Tensor, targets: Tensor, micro_batch: int, half: bool) -> Tensor:
    """Add the gradient of the whole batch's mean loss, in parts of `micro_batch`; that loss."""
    total = _counted(targets)
    loss = torch.zeros((), device=inputs.device)
    for x, y in zip(inputs.split(micro_batch), targets.split(micro_batch), strict=True):
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=half):
            logits = model(x)
        part = cross_entropy(logits, y) * (_counted(y) / total)
        part.backward()
        loss += part.detach()
    return loss


def _save(model: nn.Module, optims: Iterable[torch.optim.Optimizer], header: Mapping[str, Any], folder: Path) -> None:
    tensors = {f"model.{name}": value for name, value in model.named_parameters()}  # tied ones once
    for i, optim in enumerate(optims):
        for index, state in optim.state_dict()["state"].items():
            tensors |= {f"optim.{i}.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    files.write_tensors(folder / "checkpoint.safetensors", tensors, header)


@torch.no_grad()
def _restore(
    model: nn.Module, optims: Iterable[torch.optim.Optimizer], how: Pretraining, shape: Mapping[str, Any], folder: Path
) -> int:
    if not (folder / "checkpoint.safetensors").exists():
        return 0
    tensors, header = checkpoint(folder)
    same_settings(header, how, shape, folder)
    held = weights(tensors)
    for name, parameter in model.named_parameters():
        parameter.copy_(held[name])
    for i, optim in enumerate(optims):
        whole = optim.state_dict()
        for name, tensor in tensors.items():
            if name.startswith(f"optim.{i}."):
                index, key = name.split(".", 3)[2:]
                whole["state"].setdefault(int(index), {})[key] = tensor
        optim.load_state_dict(whole)
    return header["step"]
