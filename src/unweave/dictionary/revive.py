"""Bringing dead features back: a value that stands beside the method. Shapes: B batch, D width, F features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from unweave.dictionary.core import AfterStep, Step, Term
from unweave.dictionary.objective import centred_norm
from unweave.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Revival:
    """Losses and after-steps beside the method's; after: the vectors without firing that make a feature dead."""

    source: str
    after: int
    losses: Mapping[str, tuple[float, Term]] = field(default_factory=dict)
    after_step: tuple[AfterStep, ...] = field(default=())


REVIVALS: Registry[Revival] = Registry("revival")


def _dead(step: Step, after: int) -> Tensor:
    """`[n] int64`: the features that have been silent for more than `after` vectors."""
    return (step.silent > after).nonzero().squeeze(-1)


@REVIVALS.register
def none(after: int = 100_000) -> Revival:
    """Nothing is done; features silent for `after` vectors are counted as dead all the same."""
    return Revival(source="-", after=after)


@REVIVALS.register
def auxk(k: int = 64, weight: float = 1 / 32, after: int = 100_000) -> Revival:
    """Dead features reconstruct what the living ones missed, k of them at a time, through encoder and decoder.

    weight * || e - e_hat ||^2 (whatever the objective is), e = target - x_hat held fixed, e_hat the k largest dead
    pre-activations decoded without b_dec (Gao et al. 2024, arXiv 2406.04093, App. A.2; there `after` is 10 million
    tokens of a far longer run, k near D / 2, and the published code divides by the squared residual). The
    pre-activations are not rectified, though they are in that code: a feature that is negative everywhere would get no
    gradient and stay dead.
    """

    def missed(step: Step) -> Tensor:
        dead = _dead(step, after)
        if len(dead) == 0:
            return step.x_hat.new_zeros(())
        top = step.pre(dead).topk(min(k, len(dead)), dim=-1)
        codes = torch.zeros(len(step.x), len(dead), dtype=top.values.dtype, device=top.values.device).scatter(
            -1, top.indices, top.values
        )
        error = (step.target - step.x_hat).detach()
        return (codes @ step.dictionary.W_dec[dead] - error).pow(2).sum(-1).mean()

    return Revival(source="Gao et al. 2024, arXiv 2406.04093, App. A.2", after=after, losses={"auxk": (weight, missed)})


def _ghosts(step: Step, dead: Tensor) -> tuple[Tensor, Tensor]:
    """What dead features reconstruct with exp(pre) for codes, made half as long as the residual, and the residual held
    fixed: both `[B, D]`."""
    residual = (step.target - step.x_hat).detach()
    ghost = step.pre(dead).exp() @ step.dictionary.W_dec[dead]
    length = residual.norm(dim=-1, keepdim=True) / (2 * ghost.norm(dim=-1, keepdim=True) + 1e-6)
    return ghost * length.detach(), residual


@REVIVALS.register
def ghost(after: int = 100_000) -> Revival:
    """Dead features reconstruct half of the residual with exp(pre) for codes; the squared error of that, made as large
    as the reconstruction's own squared error, whatever the objective is.

    exp has a gradient everywhere, so that the encoder learns too (Jermyn & Templeton 2024, transformer-circuits.pub,
    January update, "Ghost Grads").
    """

    def haunt(step: Step) -> Tensor:
        dead = _dead(step, after)
        if len(dead) == 0:
            return step.x_hat.new_zeros(())
        made, residual = _ghosts(step, dead)
        error = (made - residual).pow(2).sum(-1).mean()
        return error * (residual.pow(2).sum(-1).mean() / (error + 1e-6)).detach()

    source = "Jermyn & Templeton 2024, transformer-circuits.pub, January update"
    return Revival(source=source, after=after, losses={"ghost": (1.0, haunt)})


@REVIVALS.register
def ghost_elementwise(after: int = 100_000) -> Revival:
    """`ghost` as OpenMOSS's code has it: errors are divided by the length of the centred residual (the reconstruction's
    by that of the centred input), and made as large as the reconstruction's entry by entry; mean over batch and D.

    In that code the reconstruction's error is the same mean, objective="by_centred_norm()"; beside a sum over D this is
    a whisper. A feature is dead there after 5,000 batches of 4,096 vectors.
    """

    def haunt(step: Step) -> Tensor:
        dead = _dead(step, after)
        if len(dead) == 0:
            return step.x_hat.new_zeros(())
        made, residual = _ghosts(step, dead)
        error = (made - residual).pow(2) / centred_norm(residual)
        own = residual.pow(2) / centred_norm(step.target)
        return (error * (own / (error + 1e-6)).detach()).mean()

    source = "OpenMOSS 2024, report 003; code OpenMOSS/gpt2-dictionary @ 7382893"
    return Revival(source=source, after=after, losses={"ghost": (1.0, haunt)})


@REVIVALS.register
def resample(every: int = 500, times: int = 4, size: float = 0.2, after: int = 100_000) -> Revival:
    """After each of the first `times` stretches of `every` steps, dead features begin anew as inputs that are badly
    reconstructed.

    Inputs of the batch are drawn with probability in proportion to their squared loss. A feature's decoder row becomes
    the unit direction of its input from b_dec, its encoder the same, `size` times as long as the average of the others
    and without bias; the optimiser forgets it. The paper draws from 819,200 inputs, before b_dec is taken off (Bricken
    et al. 2023, App. "Neuron resampling").
    """
    if not (every >= 1 and times >= 1 and size > 0):
        raise ValueError(
            f"resample: every and times must be at least 1 and size above 0, "
            f"not every={every}, times={times}, size={size}"
        )

    def anew(step: Step) -> None:
        done, dead = step.number + 1, _dead(step, after)
        if len(dead) == 0 or done % every or done > every * times:
            return
        d = step.dictionary
        loss = (step.x_hat - step.target).pow(2).sum(-1).double()
        drawn = torch.multinomial(loss.square().cpu(), len(dead), replacement=True, generator=step.generator())
        drawn = drawn.to(loss.device)
        d.W_dec[dead] = F.normalize(step.target[drawn] - d.b_dec, dim=1)
        d.coder.restart_(dead, F.normalize(step.x[drawn] - d.origin, dim=1), size)
        step.forget(dead)
        step.silent[dead] = 0

    source = "Bricken et al. 2023, transformer-circuits.pub/2023/monosemantic-features, App."
    return Revival(source=source, after=after, after_step=(anew,))


@REVIVALS.register
def pre_activation(weight: float = 3e-6, after: int = 100_000) -> Revival:
    """weight * the sum over F of relu(threshold - pre) ||d||: whatever is silent is drawn towards its threshold.

    In the paper inputs have a mean squared norm of D, as after normalise="scale" (Conerly et al. 2025,
    transformer-circuits.pub/2025/january-update, "pre-act loss").
    """

    def below(step: Step) -> Tensor:
        threshold = getattr(getattr(step.dictionary.coder, "activation", None), "threshold", 0.0)
        return ((threshold - step.pre()).relu() @ step.dictionary.W_dec.norm(dim=1)).mean()

    source = "Conerly et al. 2025, transformer-circuits.pub/2025/january-update"
    return Revival(source=source, after=after, losses={"pre_activation": (weight, below)})
