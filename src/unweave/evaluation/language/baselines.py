"""What stands beside a dictionary on text: dictionaries that learned nothing, scored exactly as it is.

Shapes: N vectors, D width, K components.
"""

from __future__ import annotations

import torch
from torch import Tensor

from unweave.activations.corpus import Corpus
from unweave.activations.harvest import harvest
from unweave.activations.live import SAMPLE
from unweave.config import RunConfig
from unweave.dictionary import Dictionary
from unweave.subject.base import Subject
from unweave.training.loop import Trainer


def untrained(config: RunConfig, subject: Subject, corpus: Corpus) -> Dictionary:
    """The dictionary of a run before its first step."""
    sites = [site for site in (config.site, config.target) if site]
    found = harvest(subject, corpus.sample("train", SAMPLE, config.data.seed), sites).vectors
    x, y = found[config.site], found.get(config.target)
    trainer = Trainer(config, x.shape[1], None if y is None else y.shape[1])
    trainer.fit_(x, y)
    return trainer.dictionary.eval()


class Moments:
    """Means and covariances of what a dictionary reads and of what it rebuilds, batch by batch, in float64: Chan, Golub
    & LeVeque 1983's update, since sums about zero would cancel where the mean is large."""

    def __init__(self, d_in: int, d_out: int) -> None:
        self.n = 0
        self.x, self.y = torch.zeros(d_in, dtype=torch.float64), torch.zeros(d_out, dtype=torch.float64)
        self.xx, self.xy = self.x.new_zeros(d_in, d_in), self.x.new_zeros(d_in, d_out)

    def update(self, x: Tensor, y: Tensor) -> None:
        """Add `x [N, D]` and `y [N, D']`, row by row from the same positions."""
        if not len(x):
            return
        x, y = x.double(), y.double()
        mean_x, mean_y, n = x.mean(0), y.mean(0), len(x)
        shift_x, shift_y, weight = mean_x - self.x, mean_y - self.y, self.n * n / (self.n + n)
        self.xx += (x - mean_x).T @ (x - mean_x) + weight * shift_x.outer(shift_x)
        self.xy += (x - mean_x).T @ (y - mean_y) + weight * shift_x.outer(shift_y)
        self.n += n
        self.x += shift_x * (n / self.n)
        self.y += shift_y * (n / self.n)

    def components(self, k: int, *, transcodes: bool) -> Dictionary:
        """A dictionary of the K principal components of x, each in both directions, so that K of its features are
        active in every input; it writes the best linear prediction of y, which for y = x is PCA's own.

        With fewer dimensions than K, all of them.
        """
        variance, directions = torch.linalg.eigh(self.xx)
        variance, directions = variance[-k:], directions[:, -k:]
        varies = (variance > 1e-12 * variance[-1]).double()  # what does not vary says nothing of y
        W_enc, W_dec = directions, varies[:, None] * (directions.T @ self.xy) / variance.clamp(min=1e-300)[:, None]
        made = Dictionary(len(self.x), 2 * len(variance), "relu()", d_out=len(self.y) if transcodes else None)
        weights = {"coder.W_enc": torch.cat([W_enc, -W_enc], 1), "W_dec": torch.cat([W_dec, -W_dec]), "b_dec": self.y}
        if transcodes:  # otherwise it reads from b_dec on
            weights["coder.b_enc"] = -(self.x @ weights["coder.W_enc"])
        made.load_state_dict(made.state_dict() | weights)
        return made.eval()
