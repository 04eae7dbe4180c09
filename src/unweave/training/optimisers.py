"""Which optimiser updates a dictionary: a value that stands beside the method."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from unweave.registry import Registry

Build = Callable[[Iterable[Tensor], float], torch.optim.Optimizer]
"""From parameters and a learning rate to an optimiser. What it keeps of a parameter has its shape, or is a scalar."""

OPTIMISERS: Registry[Build] = Registry("optimiser")


@OPTIMISERS.register
def adam(beta1: float = 0.9, beta2: float = 0.999) -> Build:
    """Adam (Kingma & Ba 2015, arXiv 1412.6980)."""
    return lambda parameters, lr: torch.optim.Adam(parameters, lr, (beta1, beta2), fused=True)


@OPTIMISERS.register
def adamw(beta1: float = 0.9, beta2: float = 0.999, weight_decay: float = 0.01) -> Build:
    """AdamW: weight decay apart from the gradient (Loshchilov & Hutter 2019, arXiv 1711.05101)."""
    return lambda parameters, lr: torch.optim.AdamW(
        parameters, lr, (beta1, beta2), weight_decay=weight_decay, fused=True
    )


@OPTIMISERS.register
def signum(momentum: float = 0.9) -> Build:
    """The sign of the gradient's running mean (Bernstein et al. 2018, arXiv 1802.04434, Algorithm 2)."""
    return lambda parameters, lr: _Signum(parameters, {"lr": lr, "momentum": momentum})


@OPTIMISERS.register
def schedule_free_signum(momentum: float = 0.95) -> Build:
    """Steps along the sign of the gradient, taken between where the steps have led and their average, which is what is
    kept in the end (Defazio et al. 2024, arXiv 2405.15682, eqs. 3-5): instead of a decay, so use training.decay=0.

    With training.decoder_norm="unit" the decoder's rows have norm 1 where gradients are taken and at the end, not in
    between. The average of a feature that was resampled goes on as slowly as all others'.
    """
    return lambda parameters, lr: _ScheduleFreeSignum(parameters, {"lr": lr, "momentum": momentum})


class _Signum(torch.optim.Optimizer):
    def __init__(self, parameters: Iterable[Tensor], defaults: dict[str, Any]) -> None:
        super().__init__(parameters, defaults)
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["momentum"] = torch.zeros_like(p)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    m = self.state[p]["momentum"].lerp_(p.grad, 1 - group["momentum"])
                    p.sub_(m.sign(), alpha=group["lr"])


class _ScheduleFreeSignum(torch.optim.Optimizer):
    """Parameters are where gradients are taken, y; the state keeps z, where the steps led, and x, the average."""

    def __init__(self, parameters: Iterable[Tensor], defaults: dict[str, Any]) -> None:
        super().__init__(parameters, defaults)
        for group in self.param_groups:
            for p in group["params"]:
                same = p.detach().clone(), p.detach().clone()
                self.state[p] |= {"z": same[0], "x": same[1], "weight": torch.zeros(())}

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            lr = group["lr"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                z, x, weight = (self.state[p][name] for name in ("z", "x", "weight"))
                z.sub_(p.grad.sign(), alpha=lr)
                weight += lr**2
                x.lerp_(z, (lr**2 / weight).item())
                p.copy_(z.lerp(x, group["momentum"]))

    @torch.no_grad()
    def finish(self) -> None:
        """Leave the average in the parameters."""
        for p, state in self.state.items():
            p.copy_(state["x"])
