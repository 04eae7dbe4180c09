"""Adam, and a decoder whose rows stay at norm 1. Shapes: F features, D width."""

from __future__ import annotations

import torch
from torch import Tensor

from unweave.config import TrainingConfig
from unweave.dictionary.core import Dictionary
from unweave.schedule import rate


class Optimiser:
    """Adam (Kingma & Ba 2015, arXiv 1412.6980) over all of a dictionary's parameters.

    With `unit_norm`, the part of a decoder row's gradient along the row is removed before the step, and the row is
    brought back to norm 1 after it (Bricken et al. 2023, App. "Advice for training").
    """

    def __init__(self, dictionary: Dictionary, config: TrainingConfig) -> None:
        self.dictionary, self.config = dictionary, config
        self.adam = torch.optim.Adam(dictionary.parameters(), config.lr, (config.beta1, config.beta2), fused=True)

    def step(self, step: int) -> None:
        """Apply the gradients of training step `step` (from 0), and clear them."""
        c, W = self.config, self.dictionary.W_dec
        with torch.no_grad():
            if c.unit_norm and W.grad is not None:
                W.grad -= (W.grad * W).sum(1, keepdim=True) * W
            if c.gradient_norm:
                torch.nn.utils.clip_grad_norm_(self.dictionary.parameters(), c.gradient_norm)
            for group in self.adam.param_groups:
                group["lr"] = c.lr * rate(step, c.steps, c.warmup, c.decay)
            self.adam.step()
            self.adam.zero_grad()
            if c.unit_norm:
                W /= W.norm(dim=1, keepdim=True)

    @torch.no_grad()
    def forget(self, features: Tensor) -> None:
        """Clear the moments of all weights of `features [n]`: they belong to what the features were before."""
        d = self.dictionary
        of_features = {d.W_dec: features, **dict.fromkeys(d.coder.parameters(), (..., features))}
        for parameter, at in of_features.items():
            for moment in ("exp_avg", "exp_avg_sq"):
                if parameter in self.adam.state:  # not if nothing has trained it yet
                    self.adam.state[parameter][moment][at] = 0
