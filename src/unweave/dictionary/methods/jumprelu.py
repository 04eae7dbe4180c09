"""JumpReLU: each feature has a threshold of its own, which learns how many inputs it lets pass.

Neither codes nor their number change smoothly with a threshold: its gradient is an estimate, from the inputs that lie
within half a bandwidth of it. Shapes: B batch, F features.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import Function

from unweave.dictionary.codes import Encoded
from unweave.dictionary.core import Coder, Linear, Method, Pointwise, Step, Term, method
from unweave.dictionary.kernels.jump import given_back, near, passed
from unweave.dictionary.kernels.select import Above
from unweave.dictionary.terms import error, saturating


class _Jump(Function):
    """pre [pre > theta]; the gradient for theta is -(theta / bandwidth) [|pre - theta| < bandwidth / 2] (eq. 11)."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, theta: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(pre, theta)
        ctx.bandwidth = bandwidth
        return passed(pre, theta)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (g,), (pre, theta) = grads, ctx.saved_tensors
        dpre, dnear = given_back(g, pre, theta, ctx.bandwidth / 2)
        return dpre, -theta / ctx.bandwidth * dnear, None


class _Count(Function):
    """The sum of [pre > theta]; its gradient for theta is that of -(1 / bandwidth) [|pre - theta| < bandwidth / 2] (eq.
    12), for pre 0."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, theta: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(pre, theta)
        ctx.bandwidth = bandwidth
        return (pre > theta).sum().to(pre.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (g,), (pre, theta) = grads, ctx.saved_tensors
        return None, near(pre, theta, ctx.bandwidth / 2) * (-g / ctx.bandwidth), None


class JumpReLU(Pointwise):
    threshold: Tensor

    def __init__(self, n: int, threshold: float, bandwidth: float) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.full((n,), threshold))
        self.bandwidth = bandwidth

    @property
    def choice(self) -> Above:
        """Below, a pre-activation moves no threshold either; a little lower, so that rounding leaves none out."""
        return Above(self.threshold.detach() - 0.501 * self.bandwidth)

    def values(self, pre: Tensor, features: Tensor | None = None) -> Tensor:
        return _Jump.apply(pre, self._thresholds(features), self.bandwidth)

    def count(self, pre: Tensor, features: Tensor | None = None) -> Tensor:
        """How many of all `pre [B, F]`, or of `pre [n]` of the features `[n]`, are above their thresholds: a scalar,
        differentiable in the thresholds only."""
        return _Count.apply(pre.detach(), self._thresholds(features), self.bandwidth)

    def _thresholds(self, features: Tensor | None) -> Tensor:
        return self.threshold if features is None else self.threshold.index_select(0, features)

    @torch.no_grad()
    def rescale_(self, factor: float) -> None:
        self.threshold *= factor


def activation(step: Step) -> JumpReLU:
    coder = step.dictionary.coder
    assert isinstance(coder, Linear)
    assert isinstance(coder.activation, JumpReLU)
    return coder.activation


def active(step: Step) -> Tensor:
    """The mean number of active features."""
    jump, codes = activation(step), step.codes
    total = jump.count(codes.pre, codes.features) if isinstance(codes, Encoded) else jump.count(step.pre())
    return total / len(step.x)


def keep_positive(step: Step) -> None:
    """A threshold below 0 would let negative pre-activations pass."""
    activation(step).threshold.clamp_(min=0)


def _method(
    name: str, source: str, threshold: float, bandwidth: float, penalties: dict[str, tuple[float, Term]]
) -> Method:
    if not (threshold > 0 and bandwidth > 0):
        raise ValueError(
            f"{name}: threshold and bandwidth must be above 0, not threshold={threshold}, bandwidth={bandwidth}"
        )

    def coder(W_dec: Tensor) -> Coder:
        return Linear(W_dec, JumpReLU(len(W_dec), threshold, bandwidth))

    return Method(
        source=source,
        coder=coder,
        losses={"error": (1.0, error)},
        penalties=penalties,
        after_step=(keep_positive,),
        own_gradient=("coder.activation.threshold",),
    )


@method
def jumprelu(l0: float = 0.5, bandwidth: float = 0.1, threshold: float = 0.1) -> Method:
    """codes = pre [pre > theta]; error + l0 * the number of active features.

    threshold: theta at the start. threshold and bandwidth are in the units of the inputs after normalisation (the
    paper's .001 belongs to a mean squared norm of 1, so .001 sqrt(D) here). The paper trains with
    training.penalty_warmup, and learns the logarithm of theta, which is here learnt itself and kept from below 0.
    """
    source = "Rajamanoharan et al. 2024, arXiv 2407.14435, eqs. 9-12"
    return _method("jumprelu", source, threshold, bandwidth, {"l0": (l0, active)})


@method
def jumprelu_target(l0: float = 32.0, weight: float = 10.0, bandwidth: float = 0.1, threshold: float = 0.1) -> Method:
    """JumpReLU; error + weight * (n / l0 - 1)^2, n the mean number of active features: as many as were asked for."""
    if not l0 > 0:
        raise ValueError(f"jumprelu_target: l0 is how many features should be active, so above 0, not {l0}")

    def off_target(step: Step) -> Tensor:
        return (active(step) / l0 - 1).square()

    source = "Rajamanoharan et al. 2024, arXiv 2407.14435, App.; saprmarks/dictionary_learning, jumprelu.py"
    return _method("jumprelu_target", source, threshold, bandwidth, {"off_target": (weight, off_target)})


@method
def jumprelu_tanh(l0: float = 1.0, c: float = 4.0, bandwidth: float = 2.0, threshold: float = 0.1) -> Method:
    """JumpReLU; error + l0 * sum of tanh(c f ||d||), whose gradient reaches the encoder as well as the thresholds.

    Made to go with revive="pre_activation()", training.decoder_norm="free" and training.penalty_warmup=1; the paper's
    l0 is 10 to 20. The thresholds themselves are learnt, where the paper learns their logarithms; its first weights and
    biases, which have 10,000 features fire, are not taken over.
    """

    source = "Conerly et al. 2025, transformer-circuits.pub/2025/january-update"
    return _method("jumprelu_tanh", source, threshold, bandwidth, {"tanh": (l0, saturating(c))})
