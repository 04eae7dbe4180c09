"""The block of each feature: all that its page shows. Shapes: F features, C of a chunk, V tokens."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from unweave.dashboards import boards
from unweave.dashboards.collect import Collected
from unweave.dashboards.effects import Effects
from unweave.dashboards.examples import Entries, all_rounded, choose, rounded
from unweave.dashboards.held import HeldOut
from unweave.dashboards.kinds import KINDS
from unweave.dashboards.neighbours import BLOCK, Directions, neighbours
from unweave.dashboards.survey import Survey, chunks, places, token_counts
from unweave.othello.tokens import SQUARES

PER_OCTAVE = 4
_QUANTILES = np.linspace(0, 1, 11)
_TOKENS, _LOGITS, _PARTS = 20, 10, 40


@dataclass(frozen=True)
class Truth:
    """Of an evaluation: auroc, within: `[F, 252]`; label: `[F] int64`, -1 for none."""

    auroc: np.ndarray
    within: np.ndarray
    label: np.ndarray


@dataclass(frozen=True)
class Pages:
    """All that blocks are made from.

    mirrors: the features whose boards are this one's mirrored, and how much; kinds: of a text's tokens, `[V]`.
    """

    collected: Collected
    held: HeldOut
    survey: Survey
    directions: Directions
    W_dec: Tensor
    effects: Effects | None
    truth: Truth | None
    mirrors: tuple[np.ndarray, np.ndarray] | None
    kinds: np.ndarray | None

    def blocks(self, start: int, stop: int) -> Iterator[bytes]:
        """The gzipped blocks of the features from start to stop."""
        columns, near = self.collected.columns(start, stop), self.collected.near(start, stop)
        at = places(columns, self.held)
        near_by = neighbours(self.directions, self.collected, self.survey.active, start, stop)
        token_totals = kind_totals = None
        if self.held.kind == "text":
            token_totals = np.bincount(self.held.tokens)
            kind_totals = self._by_kind(np.arange(len(token_totals)), token_totals)
        for own, (about, (effect, logits)) in enumerate(zip(near_by, self._logits(start, stop), strict=True)):
            entries = slice(*columns.offsets[own : own + 2])
            of = Entries(start + own, columns.rows[entries], columns.values[entries], near[1][own], near[0][own])
            block = self._common(of) | {"at": at[own].tolist(), "neighbours": about, "logits": logits}
            if token_totals is None or kind_totals is None:
                block |= self._on_board(start + own)
            else:
                ids, counts = token_counts(columns, own, self.held)
                block["tokens"] = np.stack([ids, counts, token_totals[ids]], 1)[:_TOKENS].tolist()
                block["kinds"] = np.stack([self._by_kind(ids, counts), kind_totals], 1).tolist()
                if effect is not None:
                    self._follow(block["examples"], effect)
            text = json.dumps(block, separators=(",", ":"), allow_nan=False)
            yield gzip.compress(text.encode(), 6, mtime=0)

    def _common(self, of: Entries) -> dict[str, Any]:
        """What a block has whatever the subject reads."""
        examples, groups = choose(of, self.held)
        return {
            "id": of.feature,
            "active": len(of.rows),
            "positions": len(self.held),
            "max": rounded(of.values.max(initial=0)),
            "bins": bins(of.values),
            "quantiles": all_rounded(np.quantile(of.values, _QUANTILES)) if len(of.values) else [],
            "examples": examples,
            "groups": groups,
        }

    def _by_kind(self, ids: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """How many tokens of each kind there are, where there are so many of each id."""
        assert self.kinds is not None
        return np.bincount(self.kinds[ids], counts, len(KINDS)).astype(np.int64)

    def _follow(self, examples: list[dict[str, Any]], effect: np.ndarray) -> None:
        """Enter what the feature adds, wherever it is active in an example's row, to the logit of the token that comes
        next; None where none does. effect: `[V]`, of one unit of it."""
        ids, there = self.held.rows.tokens.numpy(), self.held.rows.there.numpy()
        for example in examples:
            row, last = example["row"], int(there[example["row"]].sum()) - 1
            example["next"] = [
                rounded(value * effect[ids[row, at + 1]]) if at < last else None for at, value in example["row_values"]
            ]

    def _on_board(self, feature: int) -> dict[str, Any]:
        survey = self.survey
        assert survey.board is not None
        assert survey.last is not None
        assert survey.next is not None
        assert self.mirrors is not None
        parts = zip(("mine", "theirs", "empty"), survey.board[feature].reshape(3, 64), strict=True)
        best, cosine = (each[feature].tolist() for each in self.mirrors)
        return {
            "board": {name: all_rounded(part) for name, part in parts},
            "last": survey.last[feature].tolist(),
            "next": survey.next[feature].tolist(),
            "mirrors": [
                [index, id, rounded(like)] for index, (id, like) in enumerate(zip(best, cosine, strict=True)) if id >= 0
            ],
            "truth": None if self.truth is None else _truth(self.truth, feature),
        }

    def _logits(self, start: int, stop: int) -> Iterator[tuple[np.ndarray | None, dict[str, Any] | None]]:
        """The effects of each feature, `[V]`, and what its block has of them."""
        if self.effects is None:
            yield from [(None, None)] * (stop - start)
            return
        for a, b in chunks(stop - start, BLOCK):
            made = self.effects.of(self.W_dec[start + a : start + b])
            for of in made:
                spread = {"sd": rounded(of.std(correction=0).item())}
                if self.held.kind == "games":
                    values: list[float | None] = [None] * 64
                    for square, value in zip(SQUARES, all_rounded(of.numpy()), strict=True):
                        values[square] = value
                    yield of.numpy(), {"values": values, **spread}
                else:
                    ends = {"top": _extreme(of, True), "bottom": _extreme(of, False)}
                    yield of.numpy(), {**ends, "histogram": _histogram(of.numpy()), **spread}


def bins(values: np.ndarray) -> dict[str, Any] | None:
    """How many activations above 0 lie in each quarter of an octave, from the first that has one; None for none."""
    if not len(values):
        return None
    mantissa, octave = np.frexp(values.astype(np.float64))  # values = mantissa 2^octave, mantissa from 0.5 on
    edges = 0.5 * 2 ** (np.arange(PER_OCTAVE) / PER_OCTAVE)
    index = (octave - 1) * PER_OCTAVE + np.searchsorted(edges, mantissa, side="right") - 1
    return {"first": int(index.min()), "counts": np.bincount(index - index.min()).tolist()}


def spread_of_effects(effects: Effects, W_dec: Tensor) -> np.ndarray:
    """`[F] float32`: the standard deviation of each feature's effects over the tokens."""
    parts = [effects.of(W_dec[a:b]).std(1, correction=0).float().numpy() for a, b in chunks(len(W_dec), BLOCK)]
    return np.concatenate(parts)


def _histogram(values: np.ndarray) -> dict[str, Any]:
    """How many values lie in each of equal parts between the least and the most."""
    counts, edges = np.histogram(values, _PARTS)
    return {"low": rounded(edges[0].item()), "high": rounded(edges[-1].item()), "counts": counts.tolist()}


def _extreme(of: Tensor, largest: bool) -> list[list[int | float]]:
    values, ids = of.topk(min(_LOGITS, len(of)), largest=largest)
    return [list(pair) for pair in zip(ids.tolist(), all_rounded(values.numpy()), strict=True)]


def _truth(truth: Truth, feature: int) -> dict[str, Any]:
    label = int(truth.label[feature])
    scores = {
        name: [None if score != score else score for score in all_rounded(of[feature])]
        for name, of in (("auroc", truth.auroc), ("within", truth.within))
    }
    return {"label": label, "text": boards.in_words(label) if label >= 0 else "", **scores}
