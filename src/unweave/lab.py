"""The lab: what features and subject do on a game or a text of one's own. From JSON to JSON: docs/view-format.md.

Shapes: S positions, F features, V alphabet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unweave.dictionary import Dictionary
from unweave.dictionary.codes import dense
from unweave.intervention import Change, Intervention
from unweave.othello import games, labels, notation, tokens
from unweave.rows import Rows
from unweave.runs import Run
from unweave.subject import joined, load
from unweave.subject.base import ReadsText, Subject

_TOP, _MOST = 10, 100  # features or tokens that are named unless asked, and at most
_GENERATED, _SWEPT = 200, 50  # at most


@dataclass(frozen=True)
class Input:
    """One row of what a subject reads. shown: what a page shows of it: tokens, of a game squares; pieces: what each is
    called; legal: of a game, by position where the next move may lie."""

    rows: Rows
    shown: list[int]
    pieces: list[str]
    legal: list[list[int]] | None

    @property
    def about(self) -> dict[str, Any]:
        return {
            "kind": "text" if self.legal is None else "games",
            "tokens": self.shown,
            "pieces": self.pieces,
            **({} if self.legal is None else {"legal": self.legal}),
        }


class Lab:
    """A run's dictionary in its subject."""

    def __init__(self, run: Run) -> None:
        """Raises what loading dictionary and subject does."""
        self.config = run.config
        self.dictionary: Dictionary = run.dictionary()
        self.subject: Subject = load(self.config.subject)
        self.intervention = Intervention(self.subject, self.dictionary, self.config.site, self.config.target)

    @torch.no_grad()
    def activations(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Which features are active where. Raises ValueError for what cannot be read, and unknown features."""
        given, top = self._input(asked), _number(asked, "top", _TOP, _MOST)
        features = _list(asked.get("features", []), int, "features")
        if wrong := [f for f in features if not 0 <= f < self.dictionary.d_sae]:
            raise ValueError(f"there is no feature {wrong[0]}: this dictionary has 0 to {self.dictionary.d_sae - 1}")
        measured, site = given.rows.learn[0], self.intervention.site
        x = joined.read(self.subject, given.rows.tokens, [site])[site][0][measured]
        codes, pre = dense(self.dictionary.encode(x)), self.dictionary.pre(x)[:, features]
        values, ids = codes.topk(min(top, codes.shape[1]), dim=1)
        named = [
            [[id, _short(value)] for id, value in zip(*row, strict=True) if value > 0]
            for row in zip(ids.tolist(), values.tolist(), strict=True)
        ]
        return {
            **given.about,
            "measured": measured.tolist(),
            "l0": _spread((codes > 0).sum(1).tolist(), measured, 0),
            "top": _spread(named, measured, []),
            "features": [
                {
                    "id": feature,
                    "values": _spread(_all_short(codes[:, feature]), measured, 0),
                    "pre": _spread(_all_short(pre[:, i]), measured, None),
                }
                for i, feature in enumerate(features)
            ],
        }

    @torch.no_grad()
    def run(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What the subject predicts, at every position. Raises ValueError for what cannot be read."""
        given, top = self._input(asked), _number(asked, "top", _TOP, _MOST)
        predicted = self.subject.run(given.rows.tokens).float().log_softmax(-1)[0]
        return {**given.about, "next": self._next(predicted, top)}

    def steer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The same before and after features are changed. Raises ValueError for what cannot be."""
        given, top = self._input(asked), _number(asked, "top", _TOP, _MOST)
        changes = [_change(each) for each in _list(asked.get("edits"), dict, "edits")]
        at = _where(asked.get("at", "all"), len(given.shown))
        found = self.intervention.run(given.rows, changes, at)
        before, after = (
            {"next": self._next(each[0], top), "loss": _losses(each[0], given.rows.tokens[0])}
            for each in (found.before, found.after)
        )
        if isinstance(self.subject, ReadsText) and (n := _number(asked, "generate", 0, _GENERATED)):
            before["text"], after["text"] = (self._continued(given, each, n, at, asked) for each in ([], changes))
        answer = {
            **given.about,
            "before": before,
            "after": after,
            "kl": _all_short(found.kl[0]),
            "edited": [
                {
                    "feature": change.feature,
                    "before": _all_short(found.codes_before[0, :, i]),
                    "after": _all_short(found.codes_after[0, :, i]),
                }
                for i, change in enumerate(changes)
            ],
        }
        if values := _list(asked.get("sweep", []), float, "sweep"):
            if len(values) > _SWEPT:
                raise ValueError(f"a sweep has at most {_SWEPT} values, not {len(values)}")
            swept = self.intervention.sweep(given.rows, changes, values, at)
            answer["sweep"] = [
                {"value": value, "kl": _short(each.kl[0, -1].item()), "next": self._next(each.after[0, -1:], top)[0]}
                for value, each in zip(values, swept, strict=True)
            ]
        return answer

    def _continued(
        self, given: Input, changes: Sequence[Change], n: int, at: Tensor | None, asked: dict[str, Any]
    ) -> str:
        assert isinstance(self.subject, ReadsText)
        of = self.subject.tokenizer
        temperature, seed = asked.get("temperature", 0), asked.get("seed", 0)
        if type(temperature) not in (int, float) or type(seed) is not int:
            raise ValueError("temperature and seed are numbers")
        made = self.intervention.generate(
            given.rows, changes, n, at=at, temperature=float(temperature), seed=seed, stop=of.eos
        )
        return of.decode(made)

    def _input(self, asked: dict[str, Any]) -> Input:
        """The row that was asked about. Raises ValueError for anything but what the subject reads."""
        if isinstance(self.subject, ReadsText):
            if "tokens" in asked:
                return self._tokens(self.subject, _list(asked["tokens"], int, "tokens"))
            return self._text(self.subject, asked.get("text"))
        if "moves" in asked:
            return self._game([int(move) for move in _list(asked["moves"], int, "moves")])
        game = asked.get("game")
        if not isinstance(game, str):
            raise ValueError('this subject reads games: give one, as in "game": "d3 c5 f6"')
        joined_up = "".join(game.split())
        return self._game([notation.index(joined_up[i : i + 2]) for i in range(0, len(joined_up), 2)])

    def _game(self, squares: list[int]) -> Input:
        squares = squares[: self.subject.n_positions]
        if not squares:
            raise ValueError("a game needs a move at least")
        if wrong := [square for square in squares if not 0 <= square < 64]:
            raise ValueError(f"there is no square {wrong[0]}: they run from 0 (a1) to 63 (h8)")
        moves = torch.tensor([squares], dtype=torch.int8)
        games.check(moves, lambda game: "this game")
        ids = tokens.encode(moves)
        there = torch.ones_like(ids, dtype=torch.bool)
        legal = [at.nonzero()[:, 0].tolist() for at in labels.label(moves).legal[0]]
        return Input(Rows(ids, there, there), squares, [notation.name(square) for square in squares], legal)

    def _text(self, subject: ReadsText, text: Any) -> Input:
        if not isinstance(text, str) or not text:
            raise ValueError('this subject reads text: give some, as in "text": "The cat"')
        of = subject.tokenizer
        start = of.bos if of.bos is not None else of.eos
        before = list(of.prefix) or ([] if start is None else [start])
        return self._tokens(subject, before + of.encode([text])[0])

    def _tokens(self, subject: ReadsText, ids: list[int]) -> Input:
        of, size = subject.tokenizer, subject.alphabet.size
        if not 0 < len(ids) <= subject.n_positions:
            raise ValueError(f"this text has {len(ids)} tokens: the subject takes 1 to {subject.n_positions}")
        if wrong := [id for id in ids if not 0 <= id < size]:
            raise ValueError(f"there is no token {wrong[0]}: they run from 0 to {size - 1}")
        row = torch.tensor([ids])
        there = torch.ones_like(row, dtype=torch.bool)
        learn = there & ~torch.isin(row, torch.tensor(of.specials, dtype=torch.int64))
        learn[:, 0] = False
        return Input(
            Rows(row, there, there if self.config.data.specials else learn),
            ids,
            [subject.alphabet.name(id) for id in ids],
            None,
        )

    def _next(self, log_probs: Tensor, top: int) -> list[list[Any]]:
        """The next token's probabilities at each position, `[S, V]` of logarithms: as a page shows them."""
        probabilities = log_probs.exp()
        if not isinstance(self.subject, ReadsText):
            known = dict(zip(tokens.SQUARES, range(1, tokens.SIZE), strict=True))
            return [
                [_short(row[known[square]]) if square in known else None for square in range(64)]
                for row in probabilities.tolist()
            ]
        values, ids = probabilities.topk(min(top, probabilities.shape[1]), dim=1)
        return [
            [[id, self.subject.alphabet.name(id), _short(p)] for id, p in zip(*row, strict=True)]
            for row in zip(ids.tolist(), values.tolist(), strict=True)
        ]


class Labs:
    """The labs of several runs; the last that was asked about is kept."""

    def __init__(self) -> None:
        self._last: tuple[tuple[Path, int], Lab] | None = None

    def __call__(self, run: Path, verb: str, asked: dict[str, Any]) -> dict[str, Any]:
        """What the lab of a run's folder answers. Raises what it raises."""
        trained = run / "sae.safetensors"
        key = run, trained.stat().st_mtime_ns if trained.exists() else 0
        if self._last is None or self._last[0] != key:
            self._last = key, Lab(Run(run))
        verbs: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "activations": self._last[1].activations,
            "run": self._last[1].run,
            "steer": self._last[1].steer,
        }
        return verbs[verb](asked)


def _change(asked: dict[str, Any]) -> Change:
    feature, by, value = asked.get("feature"), asked.get("by"), asked.get("value", 0)
    if type(feature) is not int or not isinstance(by, str) or type(value) not in (int, float):
        raise ValueError('an edit has a feature, by and a value, as in {"feature": 12, "by": "clamp", "value": 3}')
    return Change(feature, by, float(value))


def _where(asked: Any, length: int) -> Tensor | None:
    """`[1, S] bool`, None for everywhere."""
    if asked == "all":
        return None
    positions = [length - 1] if asked == "last" else _list(asked, int, "at")
    if wrong := [at for at in positions if not 0 <= at < length]:
        raise ValueError(f"there is no position {wrong[0]}: this row has 0 to {length - 1}")
    where = torch.zeros(1, length, dtype=torch.bool)
    where[0, positions] = True
    return where


def _losses(log_probs: Tensor, tokens: Tensor) -> list[float | None]:
    """How surprising the token after each position is, in nats; None after the last. log_probs: `[S, V]`."""
    told = log_probs[:-1].gather(1, tokens[1:, None])[:, 0]
    return [*_all_short(-told), None]


def _number(asked: dict[str, Any], name: str, default: int, most: int) -> int:
    value = asked.get(name, default)
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{name} is a number from 0 to {most}, not {value!r}")
    return value


def _list(value: Any, kind: type, name: str) -> list[Any]:
    kinds = (int, float) if kind is float else (kind,)
    if not isinstance(value, list) or any(type(each) not in kinds for each in value):
        raise ValueError(f"{name} should be a list of {'edits' if kind is dict else 'numbers'}")
    return [float(each) for each in value] if kind is float else value


def _spread(values: list[Any], measured: Tensor, missing: Any) -> list[Any]:
    """The values of the measured positions among those that are not, `[S]`."""
    left = iter(values)
    return [next(left) if here else missing for here in measured.tolist()]


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def _all_short(values: Tensor) -> list[float]:
    return [_short(value) for value in values.tolist()]
