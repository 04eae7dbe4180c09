"""A sparsity method of one's own, tried on vectors that are sums of a few known directions: does it find them again?

The method: codes = relu(pre - by), a threshold that is also taken off what passes it.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from unweave.config import RunConfig, TrainingConfig
from unweave.dictionary.core import Activation, Linear, Method, method
from unweave.dictionary.terms import error, l1
from unweave.training.loop import Trainer


class Threshold(Activation):
    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, pre: Tensor) -> Tensor:
        return (pre - self.by).relu()

    def rescale_(self, factor: float) -> None:
        self.by *= factor


@method
def thresholded(by: float = 0.1, weight: float = 1.0) -> Method:
    """codes = relu(pre - by); squared error + weight * sum of the codes."""
    losses, penalties = {"error": (1.0, error)}, {"l1": (weight, l1)}
    return Method(source="this example", coder=lambda W: Linear(W, Threshold(by)), losses=losses, penalties=penalties)


def sums(directions: Tensor, batch: int) -> Iterator[Tensor]:
    """Batches in which each direction takes part in 1 of 20 vectors, with a length from 0.5 to 1.5."""
    while True:
        shape = batch, len(directions)
        yield ((torch.rand(shape) < 0.05) * (0.5 + torch.rand(shape))) @ directions


def main(steps: int = 2000) -> float:
    directions = torch.nn.functional.normalize(torch.randn(64, 32, generator=torch.Generator().manual_seed(0)), dim=1)
    config = RunConfig(method="thresholded()", d_sae=64, training=TrainingConfig(steps=steps, batch=256))
    trainer, data = Trainer(config, d_in=32), sums(directions, config.training.batch)
    trainer.fit_(next(data))
    while not trainer.done:
        trainer.update(next(data))
    nearest = (directions @ trainer.dictionary.W_dec.T).max(dim=1).values
    return nearest.mean().item()


if __name__ == "__main__":
    print(f"mean cosine of a true direction with the feature nearest to it: {main():.3f}")
