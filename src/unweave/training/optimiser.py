"""One step of the optimiser, and how long a decoder's rows may be. Shapes: F features, D width."""

from __future__ import annotations

import torch
from torch import Tensor

from unweave.config import TrainingConfig
from unweave.dictionary.core import Dictionary
from unweave.schedule import rate
from unweave.training.optimisers import OPTIMISERS

_ROWS = 1024  # of a decoder at a time: few enough to stay in the processor's cache


class Optimiser:
    """Over all of a dictionary's parameters that are trained.

    With decoder_norm="unit", the part of a decoder row's gradient along the row is removed before the step, and the row
    is brought back to norm 1 after it (Bricken et al. 2023, App. "Advice for training"); with "bounded", as report 003
    has it, only rows that have grown longer than 1 are.
    """

    def __init__(self, dictionary: Dictionary, config: TrainingConfig) -> None:
        """Raises ValueError for an optimiser that there is not."""
        self.dictionary, self.config = dictionary, config
        self.trained = {name: p for name, p in dictionary.named_parameters() if p.requires_grad}
        self.inner = OPTIMISERS.build(config.optimiser)(self.trained.values(), config.lr)

    @torch.no_grad()
    def step(self, step: int) -> None:
        """Apply the gradients of training step `step` (from 0), and clear them."""
        c, W = self.config, self.dictionary.W_dec
        if c.decoder_norm == "unit" and W.grad is not None:
            for gradient, rows in zip(W.grad.split(_ROWS), W.split(_ROWS), strict=True):
                gradient.addcmul_((gradient * rows).sum(1, keepdim=True), rows, value=-1)
        if c.gradient_norm:
            torch.nn.utils.clip_grad_norm_(self.trained.values(), c.gradient_norm)
        self.inner.lr = c.lr * rate(step, c.steps, c.warmup, c.decay, c.shape, c.lr_end)
        self.inner.step()
        self.inner.zero_grad()
        self._normalise()

    @torch.no_grad()
    def finish(self) -> None:
        """After the last step: where an optimiser keeps other weights than it trains, those."""
        self.inner.finish()
        self._normalise()

    def _normalise(self) -> None:
        W, kept = self.dictionary.W_dec, self.config.decoder_norm
        if kept == "unit":
            W /= W.norm(dim=1, keepdim=True)
        elif kept == "bounded":
            W /= W.norm(dim=1, keepdim=True).clamp(min=1)

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
        """Every tensor that it remembers, by name; the tensors themselves."""
        return {
            f"{name}.{key}": tensor for name, p in self.trained.items() for key, tensor in self.inner.state[p].items()
        }
