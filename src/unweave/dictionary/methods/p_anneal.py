"""p-annealing: the penalty is the sum of f^p, with p falling from 1, where it can be optimised, towards 0, the count.

Shapes: B batch, F features, Q batches that are remembered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import Function

from unweave.dictionary.codes import Codes, mapped, row_sum
from unweave.dictionary.core import AfterStep, Coder, Linear, Method, Step, Term, method
from unweave.dictionary.methods.gated import FIXED, Gated, gate_error, gates
from unweave.dictionary.methods.relu import ReLU
from unweave.dictionary.terms import error


class _Power(Function):
    """f^p of codes, p above 0. Where a code is 0 it has no gradient, which for p < 1 were infinite."""

    @staticmethod
    def forward(ctx: Any, f: Tensor, p: float) -> Tensor:
        powers = f.pow(p)
        ctx.save_for_backward(f, powers)
        ctx.p = p
        return powers

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        f, powers = ctx.saved_tensors
        return grads[0] * powers.mul(ctx.p).div_(f.clamp(min=torch.finfo(f.dtype).tiny)), None


def power_sum(f: Codes, p: float) -> Tensor:
    """The sum over F of f^p for `f [B, F]`, mean over the batch: a scalar."""
    return row_sum(mapped(f, lambda f: _Power.apply(f, p))).mean()


class Anneal(nn.Module):
    """Where the annealing is. stage: 0 before it; scale: what the weight is multiplied by; sums: `[2, Q]`, the last
    batches' sums of f^p with this p and the next; seen: how many of them there are."""

    stage: Tensor
    scale: Tensor
    sums: Tensor
    seen: Tensor

    def __init__(self, p_end: float, start: float, stages: int, memory: int = 10) -> None:
        super().__init__()
        self.p_end, self.start, self.stages = p_end, start, stages
        self.register_buffer("stage", torch.zeros((), dtype=torch.int64))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("sums", torch.zeros(2, memory))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def p(self, stage: int) -> float:
        return 1 + (self.p_end - 1) * min(stage, self.stages) / self.stages

    def stage_after(self, progress: float) -> int:
        """The stage that follows a step of that progress."""
        share = (progress - self.start) / (1 - self.start)
        return min(self.stages, int(share * self.stages) + 1) if share >= 0 else 0

    def penalty(self, f: Codes) -> Tensor:
        """scale * sum over F of f^p."""
        return self.scale * power_sum(f, self.p(int(self.stage)))

    @torch.no_grad()
    def after(self, f: Codes, number: int, steps: int) -> None:
        """Remember this batch, if it is among the last of a stage; at the end of one go to the next p, with a weight
        that leaves the penalty as large as it was over the last batches (eq. 14)."""
        stage, memory = int(self.stage), self.sums.shape[1]
        if self.stage_after((number + memory - 1) / steps) <= stage:
            return
        at = int(self.seen) % memory
        self.sums[0, at] = power_sum(f, self.p(stage))
        self.sums[1, at] = power_sum(f, self.p(stage + 1))
        self.seen += 1
        while self.stage < self.stage_after(number / steps):
            now, then = self.sums.sum(1)
            if then > 0:
                self.scale *= now / then
            self.stage += 1
            self.sums.zero_()
            self.seen.zero_()


def _annealed(step: Step) -> Anneal:
    made = step.dictionary.coder.get_submodule("anneal")
    assert isinstance(made, Anneal)
    return made


def _check(name: str, p_end: float, start: float, stages: int) -> None:
    if not (0 < p_end <= 1 and 0 <= start < 1 and stages >= 1):
        raise ValueError(
            f"{name}: p_end must be above 0 and at most 1, start a share of the steps below 1 and stages at least 1, "
            f"not p_end={p_end}, start={start}, stages={stages}"
        )


def _terms(f: Callable[[Step], Codes]) -> tuple[Term, AfterStep]:
    """The penalty and the after-step for the activations `f(step) [B, F]`."""

    def penalty(step: Step) -> Tensor:
        return _annealed(step).penalty(f(step))

    def after(step: Step) -> None:
        _annealed(step).after(f(step), step.number, step.steps)

    return penalty, after


@method
def p_anneal(weight: float = 1.0, p_end: float = 0.2, start: float = 0.27, stages: int = 10) -> Method:
    """codes = relu(pre); error + weight * scale * sum over F of f^p.

    p is 1 up to the share `start` of the steps, then falls in equal stages, the first at once, to p_end before the last
    of them; at each, scale is multiplied so that the penalty stays as large as it was over the last 10 batches. The
    weights in the paper's code for Othello, .025 to .05, belong to objective="unsquared()". For decoder rows of norm 1.
    """
    _check("p_anneal", p_end, start, stages)
    penalty, after = _terms(lambda step: step.codes)

    def coder(W_dec: Tensor) -> Coder:
        made = Linear(W_dec, ReLU())
        made.add_module("anneal", Anneal(p_end, start, stages))
        return made

    return Method(
        source="Karvonen et al. 2024, arXiv 2408.00113, Sect. 4.3 (eqs. 13-14)",
        coder=coder,
        losses={"error": (1.0, error)},
        penalties={"power_sum": (weight, penalty)},
        after_step=(after,),
    )


@method
def gated_p_anneal(weight: float = 1.0, p_end: float = 0.2, start: float = 0.27, stages: int = 10) -> Method:
    """`gated` with the annealed sum of relu(gate)^p in place of the L1 norm of the gates."""
    _check("gated_p_anneal", p_end, start, stages)
    penalty, after = _terms(gates)

    def coder(W_dec: Tensor) -> Coder:
        made = Gated(W_dec)
        made.add_module("anneal", Anneal(p_end, start, stages))
        return made

    return Method(
        source="Karvonen et al. 2024, arXiv 2408.00113, Sect. 4.3",
        coder=coder,
        losses={"error": (1.0, error), "gate_error": (1.0, gate_error)},
        penalties={"power_sum": (weight, penalty)},
        after_step=(after,),
        own_gradient=FIXED,
    )
