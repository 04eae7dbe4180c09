"""Linear probes: what can be read off activations along directions when labels are known. The ceiling of the scores.

One softmax over empty, mine and theirs for each square, one logistic regression for each legal square, trained together
(Nanda et al. 2023, arXiv 2309.00941, Sect. 3). Shapes: N positions, D width, L = 252 labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from torch.nn import functional as F

from unweave.evaluation.ground_truth import LEGAL, N_LABELS, PAIRS, BoardLabels
from unweave.evaluation.readout import Dense
from unweave.training.optimisers import Adam

# On whitened inputs all directions are learned at one pace, so that few steps are enough: seconds at D = 256.
_STEPS, _BATCH, _LR = 1200, 512, 2e-2
# Directions with less than this share of the largest variance are not blown up to the size of the others.
_FLOOR = 1e-6


@dataclass(frozen=True)
class Probe:
    """weight: `[D, 252]`; bias: `[252]`, in the order of `ground_truth.LABEL_NAMES`."""

    weight: Tensor
    bias: Tensor

    def scores(self, x: Tensor) -> Tensor:
        """`[N, 252]` for `x [N, D]`: the log odds of each label, above 0 where it is likelier than not."""
        logits = torch.addmm(self.bias, x, self.weight)
        state = logits[:, PAIRS].unflatten(1, (3, 64))
        odds = state - torch.logaddexp(state.roll(1, 1), state.roll(2, 1))
        return torch.cat([odds.flatten(1), logits[:, LEGAL]], 1)

    def readout(self, x: Tensor) -> Dense:
        """The log odds at `x [N, D]`, with one feature a label."""
        scores = self.scores(x).numpy()
        return Dense(len(scores), N_LABELS, lambda start, stop: scores[:, start:stop])


def fit(x: Tensor, labels: BoardLabels, seed: int = 0) -> Probe:
    """Probes trained on `x [N, D]` by Adam on whitened inputs, `seed` deciding the order.

    Raises ValueError when the lengths differ, or for NaN or infinite activations.
    """
    if len(x) != len(labels):
        raise ValueError(f"there are {len(x)} activations and {len(labels)} labels")
    if not x.isfinite().all():
        raise ValueError("the activations to train probes on have NaN or infinite values")
    mean, whiten = _whitening(x)
    state, legal = torch.from_numpy(labels.board + 2).long() % 3, torch.from_numpy(labels.matrix[:, LEGAL]).float()
    weight, bias = torch.zeros(x.shape[1], N_LABELS, requires_grad=True), torch.zeros(N_LABELS, requires_grad=True)
    adam = Adam([weight, bias], _LR)
    for step, rows in enumerate(islice(_batches(len(x), seed), _STEPS)):
        logits = torch.addmm(bias, (x[rows] - mean) @ whiten, weight)
        loss = F.cross_entropy(logits[:, PAIRS].unflatten(1, (3, 64)), state[rows], reduction="sum")
        loss += F.binary_cross_entropy_with_logits(logits[:, LEGAL], legal[rows], reduction="sum")
        adam.zero_grad()
        (loss / len(rows)).backward()
        adam.lr = _LR * (1 - step / _STEPS)
        adam.step()
    with torch.no_grad():
        folded = whiten @ weight
        return Probe(folded, bias - mean @ folded)


def _batches(n: int, seed: int) -> Iterator[Tensor]:
    """Endlessly, the rows of range(n) in an order decided by `seed`, another one each time around."""
    order = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(n, generator=order).split(_BATCH)


def _whitening(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean `[D]` of `x [N, D]`, and the matrix `[D, D]` that makes its principal components equally large."""
    mean = x.double().mean(0)
    centred = x.double() - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(x))
    scale = (values.clamp(min=0) + _FLOOR * values[-1].clamp(min=1e-12)).rsqrt()
    return mean.float(), (vectors * scale).float()
