"""A dictionary's own scores, and its strongest examples.

Shapes: N positions of a half, D width, F features, T examples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unweave.dictionary import Dictionary
from unweave.dictionary.codes import Codes, sparse
from unweave.evaluation.context import Context, Half
from unweave.evaluation.fidelity import BATCH, Fidelity
from unweave.evaluation.readout import Dense, SparseColumns
from unweave.evaluation.truth import TruthScores, classify

# The strongest examples of each feature that are kept for showing.
_TOP = 12


@dataclass(frozen=True)
class OwnScores:
    """activations: every metric of what fires; truth: what of them is about the board.

    density, max: `[F]`, of half B; top: `top_game`, `top_ply [F, T] int32` and `top_value [F, T] float32`, the
    strongest positions of half B, -1 where there are fewer than T.
    """

    activations: dict[str, float]
    truth: TruthScores
    density: Tensor
    max: Tensor
    top: dict[str, Tensor]


@torch.no_grad()
def own_scores(dictionary: Dictionary, context: Context) -> OwnScores:
    """Every metric of a dictionary's activations at the context's site."""
    a, b = context.halves
    fidelity, x = Fidelity(context, dictionary.d_sae), b.vectors[context.site]

    def measure(codes: Codes, part: slice) -> None:
        fidelity.update(codes, dictionary.decode(codes, x[part]))

    chosen_on = _activations(dictionary, a.vectors[context.site])
    scored_on = _activations(dictionary, x, measure)
    truth = context.score(chosen_on, scored_on)
    return OwnScores(
        activations=truth.scores | fidelity.result(),
        truth=truth,
        density=fidelity.sparsity.density,
        max=fidelity.sparsity.max,
        top=_strongest(scored_on, b),
    )


@torch.no_grad()
def truth_scores(dictionary: Dictionary, context: Context) -> TruthScores:
    """Only what its activations say of the board."""
    return context.score(*(_activations(dictionary, half.vectors[context.site]) for half in context.halves))


@torch.no_grad()
def pre_activation_scores(dictionary: Dictionary, context: Context) -> dict[str, float]:
    """The metrics that can be asked of pre-activations, which say of what does not fire how near it is to it."""
    a, b = context.halves
    on_a, on_b = (_pre_activations(dictionary, half.vectors[context.site]) for half in (a, b))
    return classify(on_a, a.truth, on_b, b.truth).scores


def _activations(d: Dictionary, x: Tensor, seen: Callable[[Codes, slice], None] | None = None) -> SparseColumns:
    """The codes of `x [N, D]`, feature by feature; those of each part are shown to `seen`."""
    parts = []
    for start in range(0, len(x), BATCH):
        part = slice(start, start + BATCH)
        codes = d.encode(x[part])
        if seen is not None:
            seen(codes, part)
        parts.append(sparse(codes))
    counts = torch.cat([part.offsets.diff() for part in parts])
    offsets = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    features, values = (torch.cat([getattr(part, name) for part in parts]) for name in ("features", "values"))
    return SparseColumns.from_rows(offsets.numpy(), features.numpy(), values.numpy(), d.d_sae)


def _pre_activations(d: Dictionary, x: Tensor) -> Dense:
    normalised = d.input(x)

    def block(start: int, stop: int) -> np.ndarray:
        return d.pre_normalised(normalised, torch.arange(start, stop)).numpy()

    return Dense(len(x), d.d_sae, torch.no_grad()(block))


def _strongest(columns: SparseColumns, half: Half) -> dict[str, Tensor]:
    """The T largest entries of each column, and where they are."""
    rows = torch.full((columns.width, _TOP), -1, dtype=torch.int64)
    values = torch.full((columns.width, _TOP), -1.0)
    for feature in range(columns.width):
        part = slice(columns.offsets[feature], columns.offsets[feature + 1])
        own = columns.values[part]
        least = np.partition(own, len(own) - _TOP)[len(own) - _TOP] if len(own) > _TOP else 0
        likely = (own >= least).nonzero()[0]
        order = likely[np.argsort(-own[likely], kind="stable")][:_TOP]
        values[feature, : len(order)] = torch.from_numpy(own[order])
        rows[feature, : len(order)] = torch.from_numpy(columns.rows[part][order].astype(np.int64))
    there = rows >= 0
    game, ply = (torch.where(there, where[rows], -1).int() for where in (half.game, half.ply))
    return {"top_game": game, "top_ply": ply, "top_value": values}
