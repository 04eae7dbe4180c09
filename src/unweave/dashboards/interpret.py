"""What a language model calls the features, and how well it can tell from the name alone where each is active.

The model sees examples and writes a label (Bills et al. 2023, "Language models can explain neurons in language
models"); then it sees the label and other places, at half of which the feature is active, and says at which: detection
(Paulo et al. 2024, arXiv 2410.13928), here of one marked position each. The score is balanced accuracy, 0.5 by chance.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch

from unweave import files
from unweave.dashboards.reading import View
from unweave.othello import labels, notation

Ask = Callable[[str], str]
"""A language model: from what it is told to what it answers."""

SHOWN, ASKED = 12, 8
"""How many examples the model sees at most, and at how many places of each kind it is asked."""

_BEFORE, _AFTER = 32, 6  # tokens of a text around the marked one
_LONGEST = 200  # characters of a label
_SAVE_EVERY = 20  # features

_NAMING = """A feature of a neural network is active at some {places}. Below are examples of where it is; the {place} \
it is about is marked <<so>>, and the number says how strongly it is active there.

{examples}

What do they have in common? Answer with one short phrase, of at most 20 words, and nothing else."""

_DETECTING = """A feature of a neural network is described so: {label}

At which of these is it active, at the marked <<{place}>>?

{examples}

Answer with the numbers of those alone, such as 1, 4, 5, or with none."""


@dataclass(frozen=True)
class Place:
    """A position as the model sees it, and whether the feature is active there."""

    row: int
    at: int
    text: str
    active: bool


@dataclass(frozen=True)
class Named:
    """text: what the model calls a feature. score: how well it then tells where that is active; None where there were
    no two kinds of places to tell apart."""

    feature: int
    text: str
    score: float | None


def interpret(
    view: View,
    features: Iterable[int],
    ask: Ask,
    by: str,
    *,
    again: bool = False,
    parallel: int = 4,
    on_feature: Callable[[Named, int, int], None] = lambda named, done, of: None,
) -> list[Named]:
    """Label features and enter that into the view's labels.json; those that `by` has labelled before are left out.

    Args: by: the model's name, as pages show it; again: label those anew that have a label; parallel: how many are
    asked about at once; on_feature: told of each, with how many are done of how many.
    Raises ValueError for a feature that there is not, and what `ask` raises; what is done by then is kept.
    """
    if by == "rule":
        raise ValueError('a model cannot be called "rule": that is what names labels made from an evaluation')
    held = files.read_json(view.folder / "labels.json")["labels"]
    known = set() if again else {each["feature"] for each in held if each["by"] == by}
    todo = [f for f in dict.fromkeys(features) if f not in known and view.block(f)["active"]]
    found: list[Named] = []
    with ExitStack() as stack:
        stack.enter_context(files.held(view.folder))
        stack.callback(lambda: _enter(view, found, by))
        pool = stack.enter_context(ThreadPoolExecutor(parallel))
        stack.callback(pool.shutdown, cancel_futures=True)
        for named in pool.map(lambda feature: name(view, feature, ask), todo):
            found.append(named)
            on_feature(named, len(found), len(todo))
            if len(found) % _SAVE_EVERY == 0:
                _enter(view, found, by)
    return found


def name(view: View, feature: int, ask: Ask) -> Named:
    """Ask a model for a feature's label, and how well it then tells where the feature is active."""
    words = {"places": "positions", "place": "move"} if view.kind == "games" else {"places": "tokens", "place": "token"}
    examples = "\n".join(f"{value:.3g}: {place.text}" for place, value in shown(view, feature))
    answer = ask(_NAMING.format(examples=examples, **words))
    label = " ".join(answer.split())[:_LONGEST].strip("\"' ")
    if not label:
        raise ValueError(f"the model gave feature {feature} an empty label")
    asked = questions(view, feature)
    if len({place.active for place in asked}) < 2:
        return Named(feature, label, None)
    listed = "\n".join(f"{i}: {place.text}" for i, place in enumerate(asked, 1))
    answer = ask(_DETECTING.format(label=label, examples=listed, place=words["place"]))
    said = {int(number) for number in re.findall(r"\d+", answer)}
    return Named(feature, label, balanced_accuracy([i in said for i in range(1, len(asked) + 1)], asked))


def shown(view: View, feature: int) -> list[tuple[Place, float]]:
    """The examples that a label is made from, with the activations: half the strongest, half from all intervals."""
    groups = view.feature(feature).examples
    chosen = {(e.row, e.at): e.value for e in groups["top"][: SHOWN // 2]}
    for example in groups["interval"]:
        if len(chosen) < SHOWN and example.value > 0:
            chosen.setdefault((example.row, example.at), example.value)
    return [(_place(view, *at, active=True), value) for at, value in chosen.items()]


def questions(view: View, feature: int) -> list[Place]:
    """Places that `shown` has not shown, in a random order of the feature's own: as many where it is active as where
    it is not, of the same rows, so that a row's topic alone tells nothing."""
    block, draw = view.block(feature), random.Random(feature)
    seen = {(place.row, place.at) for place, _ in shown(view, feature)}
    on = {e["row"]: {at for at, _ in e["row_values"]} for e in block["examples"]}
    measured = {row: {at for at, kind in enumerate(view.measured[row].tolist()) if kind == 1} for row in on}
    random_ones = next(group["examples"] for group in block["groups"] if group["name"] == "random")
    first = [(block["examples"][i]["row"], block["examples"][i]["at"]) for i in random_ones]
    others = [(row, at) for row in sorted(on) for at in sorted(on[row])]
    draw.shuffle(others)
    active = list(dict.fromkeys(place for place in [*first, *others] if place not in seen))[:ASKED]
    quiet = [(row, at) for row in sorted(on) for at in sorted(measured[row] - on[row])]
    draw.shuffle(quiet)
    rows = {row for row, _ in active}
    quiet.sort(key=lambda place: place[0] not in rows)
    asked = [_place(view, *at, active=True) for at in active]
    asked += [_place(view, *at, active=False) for at in quiet[: len(active)]]
    draw.shuffle(asked)
    return asked


def balanced_accuracy(said: Sequence[bool], asked: Sequence[Place]) -> float:
    """The mean of how many of the active places, and how many of the others, were told right."""
    right = {kind: [s == kind for s, p in zip(said, asked, strict=True) if p.active == kind] for kind in (True, False)}
    return sum(sum(each) / len(each) for each in right.values()) / 2


def _place(view: View, row: int, at: int, *, active: bool) -> Place:
    return Place(row, at, (_of_game if view.kind == "games" else _of_text)(view, row, at), active)


def _of_text(view: View, row: int, at: int) -> str:
    """Some tokens around the marked one."""
    ids, there = view.rows[row].tolist(), view.measured[row] > 0
    pieces = [view.pieces[id] for id in ids[: int(there.sum())]]
    before, after = "".join(pieces[max(0, at - _BEFORE) : at]), "".join(pieces[at + 1 : at + 1 + _AFTER])
    return f"{before}<<{pieces[at]}>>{after}".replace("\n", "\\n")


def _of_game(view: View, row: int, at: int) -> str:
    """The moves up to the marked one, and the board that it leaves as whoever is next sees it."""
    moves = torch.from_numpy(view.rows[row][: at + 1].astype("int8"))[None]
    board = labels.label(moves).board[0, at]
    mine, theirs = (" ".join(_squares(board, side)) for side in (1, 2))
    *before, last = (notation.name(square) for square in moves[0].tolist())
    return f"{' '.join([*before, f'<<{last}>>'])} (mine: {mine}; theirs: {theirs})"


def _squares(board: Any, side: int) -> Iterator[str]:
    return (notation.name(square) for square, disc in enumerate(board.tolist()) if disc == side)


def _enter(view: View, found: Sequence[Named], by: str) -> None:
    """Into labels.json, in the place of what the same model said of the same features before."""
    path, new = view.folder / "labels.json", {each.feature for each in found}
    kept = [e for e in files.read_json(path)["labels"] if e["by"] != by or e["feature"] not in new]
    made = [
        {"feature": e.feature, "text": e.text, "by": by, "score": e.score, "metric": "detection"}
        for e in sorted(found, key=lambda e: e.feature)
    ]
    files.write_json(path, {"labels": [*kept, *made]})
