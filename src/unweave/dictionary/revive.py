"""Bringing dead features back: a value that stands beside the method. Shapes: B batch, D width, F features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unweave.dictionary.core import AfterStep, Step, Term
from unweave.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Revival:
    """Losses and after-steps beside the method's; after: the vectors without firing that make a feature dead."""

    source: str
    after: int
    losses: Mapping[str, tuple[float, Term]] = field(default_factory=dict)
    after_step: tuple[AfterStep, ...] = field(default=())


REVIVALS: Registry[Revival] = Registry("revival")


@REVIVALS.register
def none(after: int = 100_000) -> Revival:
    """Nothing is done; features silent for `after` vectors are counted as dead all the same."""
    return Revival(source="-", after=after)


@REVIVALS.register
def auxk(k: int = 64, weight: float = 1 / 32, after: int = 100_000) -> Revival:
    """Dead features reconstruct what the living ones missed, k of them at a time, through encoder and decoder.

    weight * || e - e_hat ||^2, e = target - x_hat held fixed, e_hat the k largest dead pre-activations decoded without
    b_dec (Gao et al. 2024, arXiv 2406.04093, App. A.2; there `after` is 10 million tokens of a far longer run). The
    pre-activations are not rectified: a feature that is negative everywhere would get no gradient and stay dead.
    """

    def missed(step: Step) -> Tensor:
        dead = (step.silent > after).nonzero().squeeze(-1)
        if len(dead) == 0:
            return step.x_hat.new_zeros(())
        top = step.pre(dead).topk(min(k, len(dead)), dim=-1)
        codes = torch.zeros(len(step.x), len(dead), dtype=top.values.dtype, device=top.values.device).scatter(
            -1, top.indices, top.values
        )
        error = (step.target - step.x_hat).detach()
        return (codes @ step.dictionary.W_dec[dead] - error).pow(2).sum(-1).mean()

    return Revival(source="Gao et al. 2024, arXiv 2406.04093, App. A.2", after=after, losses={"auxk": (weight, missed)})
