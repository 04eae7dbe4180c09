"""Training a GPT of our own: Muon for the matrices, AdamW for the rest, warm-up, a flat stretch, then down to nothing.

Generic over the data: a source gives, for a step, token ids and the distribution of the next token after each.
Shapes: B sequences, S positions, V alphabet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unweave import files
from unweave.config import from_dict
from unweave.schedule import rate
from unweave.subject.gpt import GPT, GPTConfig
from unweave.subject.muon import Muon

Batches = Callable[[int], Iterator[tuple[Tensor, Tensor]]]
"""From a step on, endless (inputs `[B, S] int64`, targets `[B, S, V]` distributions; rows of zeros do not count)."""


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
    """Mean over the rows of `targets [B, S, V]` that are not all zero of -sum p log q, in nats."""
    each = -(targets * logits.float().log_softmax(-1)).sum(-1)
    return each.sum() / targets.sum(-1).gt(0).sum().clamp(min=1)


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is fast on a device: without units for it, a processor is slower with it than with float32."""
    if device.type == "cpu":  # the question has no public name in torch, so it may have none at all
        return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def optimisers(model: GPT, how: Pretraining) -> list[torch.optim.Optimizer]:
    """Muon over the blocks' matrices; AdamW over embeddings, head, biases and LayerNorms."""
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    return [
        Muon(matrices, lr=how.lr, weight_decay=how.weight_decay),
        torch.optim.AdamW(rest, lr=how.lr, betas=(0.9, 0.95), weight_decay=how.weight_decay),
    ]


def pretrain(
    model: GPT, batches: Batches, how: Pretraining, folder: Path, *, checkpoint_every: int = 50
) -> Iterator[Progress]:
    """Train `model` in place, yielding after each step; a checkpoint in `folder` is continued when there is one.

    Closing the iterator between two steps writes a checkpoint; being killed loses at most `checkpoint_every` steps.
    On the CPU a continued run equals one that was never stopped, bit for bit. Raises ValueError if the checkpoint in
    `folder` belongs to other settings or is damaged, FloatingPointError if the loss is not finite.
    """
    optims = optimisers(model, how)
    step = _restore(model, optims, how, folder)
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
        due = step % checkpoint_every == 0 or step == how.steps
        if due:
            _save(model, optims, how, folder, step)
        try:
            yield Progress(step, loss.item(), time.perf_counter() - began)
        except GeneratorExit:
            if not due:
                _save(model, optims, how, folder, step)
            raise


def checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a training that is under way in `folder`, and its header: step, pretraining, gpt.

    Raises FileNotFoundError if there is none, ValueError if it is damaged or of another kind.
    """
    path = folder / "checkpoint.safetensors"
    tensors, header = files.read_tensors(path)
    if not {"step", "pretraining", "gpt"} <= header.keys():
        raise ValueError(f"{path} is no checkpoint of a pretraining: its header does not say of which step")
    return tensors, header


def same_settings(header: dict[str, Any], gpt: GPTConfig, how: Pretraining, folder: Path) -> None:
    """Raises ValueError unless a checkpoint's header is that of a training of `gpt` by `how`."""
    if from_dict(GPTConfig, header["gpt"]) != gpt or from_dict(Pretraining, header["pretraining"]) != how:
        raise ValueError(
            f"{folder} holds a training with other settings ({header['gpt']}, {header['pretraining']}): "
            "continue it with those, or choose another folder"
        )


def weights(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The model's own among a checkpoint's tensors."""
    return {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}


def _backward(model: GPT, inputs: Tensor, targets: Tensor, micro_batch: int, half: bool) -> Tensor:
    """Add the gradient of the whole batch's mean loss, in parts of `micro_batch`; that loss."""
    total = targets.sum(-1).gt(0).sum()
    loss = torch.zeros((), device=inputs.device)
    for x, y in zip(inputs.split(micro_batch), targets.split(micro_batch), strict=True):
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=half):
            logits = model(x)
        part = cross_entropy(logits, y) * (y.sum(-1).gt(0).sum() / total)
        part.backward()
        loss += part.detach()
    return loss


def _save(model: GPT, optims: list[torch.optim.Optimizer], how: Pretraining, folder: Path, step: int) -> None:
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for i, optim in enumerate(optims):
        for index, state in optim.state_dict()["state"].items():
            tensors |= {f"optim.{i}.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    header = {"step": step, "pretraining": asdict(how), "gpt": asdict(model.config)}
    files.write_tensors(folder / "checkpoint.safetensors", tensors, header)


def _restore(model: GPT, optims: list[torch.optim.Optimizer], how: Pretraining, folder: Path) -> int:
    if not (folder / "checkpoint.safetensors").exists():
        return 0
    tensors, header = checkpoint(folder)
    same_settings(header, model.config, how, folder)
    model.load_state_dict(weights(tensors))
    for i, optim in enumerate(optims):
        whole = optim.state_dict()
        for name, tensor in tensors.items():
            if name.startswith(f"optim.{i}."):
                index, key = name.split(".", 3)[2:]
                whole["state"].setdefault(int(index), {})[key] = tensor
        optim.load_state_dict(whole)
    return header["step"]
