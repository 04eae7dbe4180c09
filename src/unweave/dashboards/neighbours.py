"""Features that point where another does, or fire when it does.

Shapes: F features, C of a chunk, D width, N positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import no_type_check

import numpy as np
import torch
from numba import njit
from torch import Tensor

from unweave.dashboards.collect import Collected
from unweave.dashboards.examples import all_rounded, rounded
from unweave.dashboards.survey import chunks
from unweave.dictionary import Dictionary

SHOWN = 8
EXPECTED = 20
"""Features that independence would have together less often than that say nothing when they are not."""

BLOCK = 64
"""Rows of a product that are made at a time, so that no number depends on how many features are in memory."""


@dataclass(frozen=True)
class Directions:
    """decoder: `[F, D]`, rows of length 1 (0 for one of length 0); encoder: the same of what is read, `[F, D']`, None
    where there is no encoder of its own."""

    decoder: Tensor
    encoder: Tensor | None

    @classmethod
    def of(cls, dictionary: Dictionary) -> Directions:
        W_enc = getattr(dictionary.coder, "W_enc", None)
        return cls(_unit(dictionary.W_dec), None if W_enc is None else _unit(W_enc.T))

    @property
    def agreement(self) -> np.ndarray:
        """`[F] float32`: the cosine of what is read and what is written, NaN where they cannot be compared."""
        if self.encoder is None or self.encoder.shape != self.decoder.shape:
            return np.full(len(self.decoder), np.nan, np.float32)
        return (self.encoder * self.decoder).sum(1).numpy()

    def cosines(self, of: Tensor, start: int, stop: int) -> Tensor:
        """`[C, F]`: of some rows with all. The rows themselves have -inf."""
        parts = [of[a:b] @ of.T for a, b in ((a + start, b + start) for a, b in chunks(stop - start, BLOCK))]
        made = torch.cat(parts)
        own = torch.arange(stop - start)
        made[own, own + start] = -torch.inf
        return made

    def nearest(self) -> np.ndarray:
        """`[F] float32`: the largest cosine to another row of the decoder, NaN where there is none."""
        if len(self.decoder) == 1:
            return np.full(1, np.nan, np.float32)
        parts = [self.cosines(self.decoder, a, b).amax(1) for a, b in chunks(len(self.decoder), BLOCK)]
        return torch.cat(parts).numpy()

    def packed(self) -> np.ndarray:
        """`[F, D] int8`: the decoder's rows, each at the length at which its largest entry is 127."""
        largest = self.decoder.abs().amax(1, keepdim=True).clamp(min=1e-12)
        return (self.decoder / largest * 127).round().to(torch.int8).numpy()

    def map(self) -> np.ndarray:
        """`[F, 2] float32`: the decoder's rows along their first two principal axes. Of each axis the direction is such
        that its largest entry is positive."""
        away = self.decoder.double() - self.decoder.double().mean(0)
        _, axes = torch.linalg.eigh(away.T @ away)
        axes = axes[:, [-1, -2]] if axes.shape[1] > 1 else axes[:, [-1, -1]]
        largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
        return (away @ (axes * largest.sign())).float().numpy()


def together(collected: Collected, start: int, stop: int) -> np.ndarray:
    """`[C, F] int32`: at how many positions each of some features is active, and each of all."""
    counts = np.zeros((stop - start, collected.d_sae), np.int32)
    for offsets, features in collected.codes():
        _together(offsets, features, start, stop, counts)
    return counts


def neighbours(
    directions: Directions, collected: Collected, active: np.ndarray, start: int, stop: int
) -> Iterator[dict[str, list[list[int | float]]]]:
    """The neighbours of each feature from start to stop, as blocks have them. active: `[F]`, at how many positions."""
    decoder = directions.cosines(directions.decoder, start, stop)
    encoder = None if directions.encoder is None else directions.cosines(directions.encoder, start, stop)
    both = together(collected, start, stop)
    for own in range(stop - start):
        opposite = torch.where(decoder[own].isinf(), torch.inf, decoder[own])
        yield {
            "decoder": _ranked(decoder[own]),
            "encoder": [] if encoder is None else _ranked(encoder[own]),
            "opposite": [[id, -cosine] for id, cosine in _ranked(-opposite)],
            **_co_active(both[own], start + own, active, collected.n),
        }


def _ranked(cosines: Tensor) -> list[list[int | float]]:
    """The largest first, without the feature itself."""
    values, ids = cosines.topk(min(SHOWN, len(cosines) - 1))
    return [list(pair) for pair in zip(ids.tolist(), all_rounded(values.numpy()), strict=True)]


def _co_active(both: np.ndarray, own: int, active: np.ndarray, n: int) -> dict[str, list[list[int | float]]]:
    """Those that are active with a feature most, by the cosine of the two columns of zeros and ones, and least, by
    lift; `both [F]`: how often."""
    alive = (active > 0) & (np.arange(len(active)) != own)
    if not active[own] or not alive.any():
        return {"together": [], "apart": []}
    expected = active[own] * active.astype(np.float64) / n
    with np.errstate(divide="ignore", invalid="ignore"):
        likeness = np.where(alive & (both > 0), both / np.sqrt(active.astype(np.float64)), 0)
        lift = both / expected
    most = np.argsort(-likeness, kind="stable")[:SHOWN]
    rare = np.where(alive & (expected >= EXPECTED) & (lift < 1), lift, np.inf)
    least = np.argsort(rare, kind="stable")[:SHOWN]
    return {
        name: [[int(id), int(both[id]), rounded(lift[id])] for id in ids]
        for name, ids in (("together", most[likeness[most] > 0]), ("apart", least[np.isfinite(rare[least])]))
    }


def _unit(rows: Tensor) -> Tensor:
    return rows.detach() / rows.detach().norm(dim=1, keepdim=True).clamp(min=1e-12)


@njit(cache=True, nogil=True)
@no_type_check
def _together(offsets, features, start, stop, counts):
    for row in range(len(offsets) - 1):
        for own in range(offsets[row], offsets[row + 1]):
            if start <= features[own] < stop:
                of = counts[features[own] - start]
                for other in range(offsets[row], offsets[row + 1]):
                    of[features[other]] += 1
