"""The controls: what the scores of a dictionary are worth. Each is scored exactly as a dictionary is.

Shapes: N positions of a half, D width, F features.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from unweave.config import RunConfig, override
from unweave.evaluation.context import Context, Half
from unweave.evaluation.ground_truth import BoardLabels
from unweave.evaluation.own import own_scores
from unweave.evaluation.probes import fit as fit_probes
from unweave.evaluation.readout import Dense
from unweave.evaluation.threads import side_by_side
from unweave.evaluation.truth import TruthScores
from unweave.othello import games
from unweave.runs import Run

# Training games from which probes and principal components are fitted, for each held-out game.
_FITTING = 2

Row = tuple[str, str, dict[str, float]]
"""A control's name, what is read of it, and its scores."""


def control_of(config: RunConfig) -> RunConfig:
    """The config of the same run on the same subject with its weights shuffled."""
    return override(config, {"subject": f"control(of={config.subject!r}, seed=0)"})


class Controls:
    """The controls of a subject and a site; `shuffled` is a run on the subject with its weights shuffled."""

    def __init__(self, context: Context, shuffled: Run) -> None:
        self.context, self.run = context, shuffled
        if shuffled.config.subject != control_of(override(shuffled.config, {"subject": context.call})).subject:
            raise ValueError(f"{shuffled.folder} is a run on {shuffled.config.subject}, not on {context.call} shuffled")

    @cached_property
    def rows(self) -> list[Row]:
        """Every control, the ceiling first; the one that takes longest comes next, so that no core waits for it."""
        neurons, site = self.context.neurons, self.context.site
        _ = self.context.halves, self._fitting  # made once, before several ask for them
        return side_by_side(
            [
                lambda: ("linear probe", "logits", self.probe.scores),
                lambda: ("shuffled subject", "activations", self._shuffled()),
                lambda: (f"neurons {neurons}", "activations", self._score(lambda h: raw(h.vectors[neurons].numpy()))),
                lambda: ("residual dimensions", "both signs", self._score(lambda h: signed(h.vectors[site].numpy()))),
                lambda: ("PCA", "both signs", self._score(self._components())),
                lambda: ("position alone", "up and down", self._score(lambda h: raw(_clock(h.ply)))),
                lambda: ("always on", "constant", self._score(lambda h: raw(np.ones((len(h.ply), 1), np.float32)))),
            ]
        )

    @cached_property
    def probe(self) -> TruthScores:
        """Linear probes, trained with labels: the ceiling of what can be read off the site along directions."""
        probe = fit_probes(*self._fitting)
        return self._truth(lambda half: probe.readout(half.vectors[self.context.site]))

    @cached_property
    def _fitting(self) -> tuple[Tensor, BoardLabels]:
        """Activations `[N, D]` of training games, and what is true there."""
        moves = games.sample("train", _FITTING * self.context.n_games, self.context.seed)
        half = self.context.half(moves, [self.context.site])
        return half.vectors[self.context.site], half.truth

    def _components(self) -> Callable[[Half], Dense]:
        """The principal components of training activations, each in both directions."""
        x = self._fitting[0].double()
        mean = x.mean(0)
        directions = torch.linalg.eigh((x - mean).T @ (x - mean)).eigenvectors.float()
        return lambda half: signed(((half.vectors[self.context.site] - mean.float()) @ directions).numpy())

    def _shuffled(self) -> dict[str, float]:
        config = self.run.config
        n, seed, split = self.context.n_games, self.context.seed, self.context.split
        of = Context(config.subject, config.site, config.target, n_games=n, seed=seed, split=split)
        return own_scores(self.run.dictionary(), of).activations

    def _truth(self, readout: Callable[[Half], Dense]) -> TruthScores:
        return self.context.score(*(readout(half) for half in self.context.halves))

    def _score(self, readout: Callable[[Half], Dense]) -> dict[str, float]:
        return self._truth(readout).scores


def _clock(ply: Tensor) -> np.ndarray:
    """`[N, 2]`: the moves made, and those that were to come in a full game; both above 0, so that both can fire."""
    return torch.stack([ply + 1, games.PLIES - ply], 1).float().numpy()


def raw(x: np.ndarray) -> Dense:
    """Each column of `x [N, F]` as it is."""
    return Dense(len(x), x.shape[1], lambda start, stop: x[:, start:stop])


def signed(x: np.ndarray) -> Dense:
    """Each column of `x [N, F]`, and then each with its sign turned: 2 F features, as either end may mean something."""
    both = np.concatenate([x, -x], axis=1)
    return Dense(len(x), both.shape[1], lambda start, stop: both[:, start:stop], mirrored=True)
