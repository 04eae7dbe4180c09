"""One step of the optimiser, and a decoder whose rows stay at norm 1. Shapes: F features, D width."""

from __future__ import annotations

import torch
from torch import Tensor

from unweave.config import TrainingConfig
from unweave.dictionary.core import Dictionary
from unweave.schedule import rate
from unweave.training.optimisers import OPTIMISERS


class Optimiser:
    """Over all of a dictionary's parameters.

    With `unit_norm`, the part of a decoder row's gradient along the row is removed before the step, and the row is
    brought back to norm 1 after it (Bricken et al. 2023, App. "Advice for training").
    """

    def __init__(self, dictionary: Dictionary, config: TrainingConfig) -> None:
        """Raises ValueError for an optimiser that there is not."""
        self.dictionary, self.config = dictionary, config
        self.inner = OPTIMISERS.build(config.optimiser)(dictionary.parameters(), config.lr)

    @torch.no_grad()
    def step(self, step: int) -> None:
        """Apply the gradients of training step `step` (from 0), and clear them."""
        c, W = self.config, self.dictionary.W_dec
        if c.unit_norm and W.grad is not None:
            W.grad -= (W.grad * W).sum(1, keepdim=True) * W
        if c.gradient_norm:
            torch.nn.utils.clip_grad_norm_(self.dictionary.parameters(), c.gradient_norm)
        for group in self.inner.param_groups:
            group["lr"] = c.lr * rate(step, c.steps, c.warmup, c.decay, c.shape)
        self.inner.step()
        self.inner.zero_grad()
        self._normalise()

    @torch.no_grad()
    def finish(self) -> None:
        """After the last step: where an optimiser keeps other weights than it trains, those."""
        if hasattr(self.inner, "finish"):
            self.inner.finish()  # type: ignore[operator]
            self._normalise()

    def _normalise(self) -> None:
        W = self.dictionary.W_dec
        if self.config.unit_norm:
            W /= W.norm(dim=1, keepdim=True)

    @torch.no_grad()
    def forget(self, features: Tensor) -> None:
        """Make what is remembered of the weights of `features [n]` what it is of weights that never moved."""
        d = self.dictionary
        of_features = {d.W_dec: features, **dict.fromkeys(d.coder.parameters(), (..., features))}
        for parameter, at in of_features.items():
            for name, kept in self.inner.state[parameter].items():
                if kept.shape == parameter.shape:
                    kept[at] = parameter[at] if name in ("x", "z") else 0

    def state(self) -> dict[str, Tensor]:
        """Every tensor that it remembers, by name; the tensors themselves. Made now if the first step is to come."""
        held = {}
        for name, p in self.dictionary.named_parameters():
            if not self.inner.state[p]:  # torch's Adam makes its own at the first step
                moments = {"exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
                self.inner.state[p] = {"step": torch.zeros(()), **moments}
            held |= {f"{name}.{key}": tensor for key, tensor in self.inner.state[p].items()}
        return held
