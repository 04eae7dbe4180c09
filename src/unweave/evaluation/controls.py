"""The controls: what the scores of a dictionary are worth. Each is scored exactly as a dictionary is.

What fires is what is above 0. A control that has no decoder of its own gets the best linear one for it, fitted to half
A: nobody could rebuild the activations from it better without bending them.

Shapes: N positions of a half, D width, F features.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from unweave.activations.corpus import of_games
from unweave.activations.harvest import harvest
from unweave.config import RunConfig, override
from unweave.dictionary import Dictionary
from unweave.evaluation.context import Context, Half
from unweave.evaluation.decoder import fit as fit_decoder
from unweave.evaluation.fidelity import BATCH, Fidelity
from unweave.evaluation.ground_truth import BoardLabels
from unweave.evaluation.own import own_scores, pre_activation_scores
from unweave.evaluation.probes import Probe
from unweave.evaluation.probes import fit as fit_probes
from unweave.evaluation.readout import Dense
from unweave.evaluation.truth import TruthScores
from unweave.othello import games
from unweave.runs import Run
from unweave.threads import side_by_side

# Training games from which probes and principal components are fitted, for each held-out game.
_FITTING = 2

T = TypeVar("T")
Row = tuple[str, str, dict[str, float]]
"""A control's name, what is read of it, and its scores."""


def control_of(config: RunConfig) -> RunConfig:
    """The config of the same run on the same subject with its weights shuffled, of which no store holds anything."""
    return override(config, {"subject": f"control(of={config.subject!r}, seed=0)", "data.store": ""})


class Controls:
    """The controls of a subject and a site; `shuffled` is a run on the subject with its weights shuffled."""

    def __init__(self, context: Context, shuffled: Run) -> None:
        self.context, self.run = context, shuffled
        if shuffled.config.subject != control_of(override(shuffled.config, {"subject": context.call})).subject:
            raise ValueError(f"{shuffled.folder} is a run on {shuffled.config.subject}, not on {context.call} shuffled")

    @cached_property
    def rows(self) -> list[Row]:
        """Every control, the ceiling first."""
        self.prepare()
        side_by_side(self.tasks)
        return [task() for task in self.tasks]

    def prepare(self) -> None:
        """Make what the tasks share: once, before several threads ask."""
        side_by_side(self.preparations)

    @property
    def preparations(self) -> list[Callable[[], object]]:
        """What makes it, one thread each."""
        return [self.context.prepare, lambda: self._fitted, self._shuffled.prepare]

    @cached_property
    def tasks(self) -> list[Callable[[], Row]]:
        """What makes each row, when first called."""
        site = self.context.site
        tasks = [
            lambda: ("linear probe", "logits", self.probe.scores | self._rebuilt(*self._logits)),
            lambda: ("shuffled subject", "activations", self._of_shuffled(own_scores).activations),
            lambda: ("shuffled subject", "pre-activations", self._of_shuffled(pre_activation_scores)),
            lambda: (f"neurons {self.context.neurons}", "activations", self._score(self._neurons)),
            lambda: ("residual dimensions", "both signs", self._score(lambda h: signed(h.vectors[site].numpy()))),
            lambda: ("PCA", "both signs", self._score(self._components())),
            lambda: ("position alone", "up, down and each", self._score(lambda h: raw(_clock(h.ply)))),
            lambda: ("always on", "constant", self._score(lambda h: raw(np.ones((len(h.ply), 1), np.float32)))),
        ]
        return [cache(task) for task in tasks]

    @cached_property
    def probe(self) -> TruthScores:
        """Linear probes, trained with labels: the ceiling of what can be read off the site along directions."""
        return self.context.score(*self._logits)

    @cached_property
    def _logits(self) -> tuple[Dense, Dense]:
        return self._on_halves(lambda half: self._fitted.readout(half.vectors[self.context.site]))

    @cached_property
    def _fitted(self) -> Probe:
        return fit_probes(*self._fitting)

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

    @cached_property
    def _shuffled(self) -> Context:
        config = self.run.config
        return Context(config.subject, config.site, config.target, like=self.context)

    def _of_shuffled(self, scores: Callable[[Dictionary, Context], T]) -> T:
        return scores(self.run.dictionary(), self._shuffled)

    def _neurons(self, half: Half) -> Dense:
        """Read when they are scored: they are many, and nothing else needs them."""
        site = self.context.neurons
        return raw(harvest(self.context.subject, of_games(half.moves), [site]).vectors[site].numpy())

    def _on_halves(self, readout: Callable[[Half], Dense]) -> tuple[Dense, Dense]:
        a, b = self.context.halves
        return readout(a), readout(b)

    def _score(self, readout: Callable[[Half], Dense]) -> dict[str, float]:
        a, b = self._on_halves(readout)
        return self.context.score(a, b).scores | self._rebuilt(a, b)

    def _rebuilt(self, a: Dense, b: Dense) -> dict[str, float]:
        """How sparse a readout is, and what is left of the activations by it with the best linear decoder."""
        codes, target = _fires(b), self.context.halves[0].vectors[self.context.target]
        decoder, fidelity = fit_decoder(_fires(a), target), Fidelity(self.context, b.width)
        for start in range(0, b.n, BATCH):
            part = codes(start, start + BATCH)
            fidelity.update(part, decoder.decode(part))
        return fidelity.result()


def _fires(readout: Dense) -> Callable[[int, int], Tensor]:
    """What a readout has above 0, some positions at a time, as codes `[B, F]`."""
    values = torch.from_numpy(readout.block(0, readout.width))
    return lambda start, stop: values[start:stop].clamp(min=0)


def _clock(ply: Tensor) -> np.ndarray:
    """`[N, 62]`: the moves made, those that were to come in a full game, and one feature for each number of moves; all
    at least 0, so that they can fire."""
    played = ply + 1
    each = torch.nn.functional.one_hot(ply, games.PLIES)
    return torch.cat([played[:, None], games.PLIES - ply[:, None], each], 1).float().numpy()


def raw(x: np.ndarray) -> Dense:
    """Each column of `x [N, F]` as it is."""
    return Dense(len(x), x.shape[1], lambda start, stop: x[:, start:stop])


def signed(x: np.ndarray) -> Dense:
    """Each column of `x [N, F]`, and then each with its sign turned: 2 F features, as either end may mean something."""
    both = np.concatenate([x, -x], axis=1)
    return Dense(len(x), both.shape[1], lambda start, stop: both[:, start:stop], mirrored=True)
