"""What is done to inputs before they are coded. One shift and one scale, so that it folds into the weights at export.

Shapes: N vectors of a sample, B batch, D width.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

Kind = Literal["none", "scale", "centre"]


class Normalisation(nn.Module):
    """x -> (x - mean) * scale. Starts as the identity."""

    mean: Tensor
    scale: Tensor

    def __init__(self, d_in: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(d_in))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) * self.scale

    def undo(self, x: Tensor) -> Tensor:
        return x / self.scale + self.mean

    @torch.no_grad()
    def fit_(self, sample: Tensor, kind: str) -> None:
        """From `sample [N, D]`: "scale" makes the mean squared norm D, "centre" takes off the mean first.

        Raises ValueError for another kind, or a sample that does not vary.
        """
        if kind not in get_args(Kind):
            raise ValueError(f"no normalisation is called {kind!r}: choose one of {', '.join(get_args(Kind))}")
        if kind == "none":
            return
        if kind == "centre":
            self.mean.copy_(sample.mean(0))
        power = (sample - self.mean).pow(2).sum(-1).mean()
        if not power > 0:
            raise ValueError("the activations at this site do not vary: there is nothing to take apart")
        self.scale.copy_((sample.shape[1] / power).sqrt())
