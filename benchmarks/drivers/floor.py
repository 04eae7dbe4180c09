"""What a step is measured against: the encoder's product alone, and codes of a density that stays where it is put."""

from __future__ import annotations

import statistics
import time

import torch
from torch import Tensor

from unweave.training.loop import Trainer


def product_ms(x: Tensor, n: int, rounds: int = 7) -> float:
    """Milliseconds of this thread for `x [B, D]` times weights `[D, n]`, which no exact step goes below: the median.
    The result has memory of its own, as it has in a step."""
    weights, out, took = torch.randn(x.shape[1], n), torch.empty(len(x), n), []
    for _ in range(rounds + 2):  # the first two warm up
        began = time.thread_time()
        torch.mm(x, weights, out=out)
        took.append(time.thread_time() - began)
    return 1000 * statistics.median(took[2:])


@torch.no_grad()
def hold_density(trainer: Trainer, x: Tensor, density: float) -> None:
    """Move the encoder's bias until that share of the pre-activations of `x [B, D]` is above what lets them pass. With
    next to no learning rate it stays there."""
    d = trainer.dictionary
    threshold = getattr(getattr(d.coder, "activation", None), "threshold", torch.zeros(()))
    over = (d.pre(x[:256]) - threshold).flatten()
    biases = dict(d.coder.named_parameters())
    bias = biases["b_gate" if "b_gate" in biases else "b_enc"]
    bias -= over.kthvalue(round((1 - density) * len(over))).values
