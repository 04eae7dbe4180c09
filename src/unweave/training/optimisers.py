"""Which optimiser updates a dictionary: a value that stands beside the method.

None of them is a `torch.optim.Optimizer`: that loads torch's compiler, which takes two seconds and 140 MB and has
nothing to do here. The arithmetic of Adam is torch's own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.optim.adam import adam as adam_step
from torch.optim.adamw import adamw as adamw_step

from unweave.registry import Registry


class Rule(ABC):
    """How parameters follow their gradients. lr: may be set anew before each step; state: of each parameter what is
    remembered, by name, of its shape or a scalar."""

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        self.parameters, self.lr = list(parameters), lr
        self.state = {p: self.remembered(p.detach()) for p in self.parameters}

    @abstractmethod
    def remembered(self, p: Tensor) -> dict[str, Tensor]:
        """The state of a parameter that has not moved yet."""

    @abstractmethod
    def step(self) -> None:
        """Apply the gradients; a parameter without one stays."""

    def zero_grad(self) -> None:
        for p in self.parameters:
            p.grad = None

    def kept(self, p: Tensor) -> Tensor:
        """What is left of a parameter after the last step."""
        return p

    @torch.no_grad()
    def finish(self) -> None:
        """After the last step: leave in the parameters what is kept of them."""
        for p in self.parameters:
            p.copy_(self.kept(p))

    @property
    def moving(self) -> list[tuple[Tensor, Tensor, dict[str, Tensor]]]:
        """The parameters that have a gradient, with it and their state."""
        return [(p, p.grad, self.state[p]) for p in self.parameters if p.grad is not None]


Build = Callable[[Iterable[Tensor], float], Rule]
"""From parameters and a learning rate to an optimiser."""

OPTIMISERS: Registry[Build] = Registry("optimiser")


@OPTIMISERS.register
def adam(beta1: float = 0.9, beta2: float = 0.999) -> Build:
    """Adam (Kingma & Ba 2015, arXiv 1412.6980)."""
    return lambda parameters, lr: Adam(parameters, lr, beta1, beta2)


@OPTIMISERS.register
def adamw(beta1: float = 0.9, beta2: float = 0.999, weight_decay: float = 0.01) -> Build:
    """AdamW: weight decay apart from the gradient (Loshchilov & Hutter 2019, arXiv 1711.05101)."""
    return lambda parameters, lr: Adam(parameters, lr, beta1, beta2, weight_decay)


@OPTIMISERS.register
def signum(momentum: float = 0.9) -> Build:
    """The sign of the gradient's running mean (Bernstein et al. 2018, arXiv 1802.04434, Algorithm 2)."""
    return lambda parameters, lr: _Signum(parameters, lr, momentum)


@OPTIMISERS.register
def schedule_free_signum(momentum: float = 0.95) -> Build:
    """Steps along the sign of the gradient, taken between where the steps have led and their average, which is what is
    kept in the end (Defazio et al. 2024, arXiv 2405.15682, eqs. 3-5): instead of a decay, so use training.decay=0.

    With training.decoder_norm="unit" the decoder's rows have norm 1 where gradients are taken and at the end, not in
    between. The average of a feature that was resampled goes on as slowly as all others'.
    """
    return lambda parameters, lr: _ScheduleFreeSignum(parameters, lr, momentum)


class Adam(Rule):
    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        beta1: float = 0.9,
        beta2: float = 0.999,
        weight_decay: float | None = None,
    ) -> None:
        """weight_decay: apart from the gradient, as in AdamW; None: Adam."""
        super().__init__(parameters, lr)
        self.beta1, self.beta2, self.weight_decay = beta1, beta2, weight_decay

    def remembered(self, p: Tensor) -> dict[str, Tensor]:
        moments = {"exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
        return {"step": torch.zeros((), dtype=torch.float32, device=p.device), **moments}

    @torch.no_grad()
    def step(self) -> None:
        moving = self.moving
        first, second, steps = ([state[of] for *_, state in moving] for of in ("exp_avg", "exp_avg_sq", "step"))
        apply, decay = (adam_step, 0.0) if self.weight_decay is None else (adamw_step, self.weight_decay)
        apply(
            [p for p, *_ in moving],
            [gradient for _, gradient, _ in moving],
            first,
            second,
            [],
            steps,
            fused=True,
            amsgrad=False,
            beta1=self.beta1,
            beta2=self.beta2,
            lr=self.lr,
            weight_decay=decay,
            eps=1e-8,
            maximize=False,
        )


class _Signum(Rule):
    def __init__(self, parameters: Iterable[Tensor], lr: float, momentum: float) -> None:
        super().__init__(parameters, lr)
        self.momentum = momentum

    def remembered(self, p: Tensor) -> dict[str, Tensor]:
        return {"momentum": torch.zeros_like(p)}

    @torch.no_grad()
    def step(self) -> None:
        for p, gradient, state in self.moving:
            p.sub_(state["momentum"].lerp_(gradient, 1 - self.momentum).sign(), alpha=self.lr)


class _ScheduleFreeSignum(Rule):
    """Parameters are where gradients are taken, y; the state keeps z, where the steps led, and x, the average."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, momentum: float) -> None:
        super().__init__(parameters, lr)
        self.momentum = momentum

    def remembered(self, p: Tensor) -> dict[str, Tensor]:
        return {"z": p.clone(), "x": p.clone(), "weight": torch.zeros(())}

    @torch.no_grad()
    def step(self) -> None:
        for p, gradient, state in self.moving:
            z, x, weight = (state[name] for name in ("z", "x", "weight"))
            z.sub_(gradient.sign(), alpha=self.lr)
            weight += self.lr**2
            x.lerp_(z, (self.lr**2 / weight).item())
            p.copy_(z.lerp(x, self.momentum))

    def kept(self, p: Tensor) -> Tensor:
        return self.state[p]["x"]
