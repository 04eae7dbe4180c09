"""The features of a dictionary that say most about the board, and the positions where they are most active."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from unweave.cards import board
from unweave.cards.markup import Markup, join, tag
from unweave.othello import labels, notation
from unweave.othello.tokens import SQUARES
from unweave.view.read import Reading
from unweave.view.table import MISSING

STATES = ("mine", "theirs", "empty")


def state_and_square(label: int) -> tuple[str, int]:
    """The state and the square of a label 0..251: mine, theirs, empty of 64 squares each, then the 60 legal squares."""
    if label < 192:
        return STATES[label // 64], label % 64
    return "legal", SQUARES[label - 192]


def in_words(label: int) -> str:
    """What a label says: 0 -> "a1 is mine", 192 -> "a1 is legal"."""
    state, square = state_and_square(label)
    return f"{notation.name(square)} is {state}"


@dataclass(frozen=True)
class Example:
    """A position where a feature is active: the game's index, the ply (0 is after the first move), the activation."""

    game: int
    ply: int
    value: float


@dataclass(frozen=True)
class Feature:
    """A feature, the label it was given on one half of the games, and its scores for that label on the other."""

    index: int
    label: int
    auroc: float
    auroc_within: float
    density: float
    largest: float
    examples: tuple[Example, ...]


def best(reading: Reading, n: int = 10, boards: int = 6) -> list[Feature]:
    """The best features of each kind: in turn the one of highest within-position AUROC for its own label that is left
    of those for mine, theirs, empty and legal, at most one for each square, until there are n; the best first.

    Each with its `boards` strongest positions, at most one from each game. Features that never fired are left out.
    """
    tensors = reading.tensors
    label_of = tensors["label_of"]
    rows = torch.arange(len(label_of))
    known = label_of.clamp(min=0)
    pooled, within = tensors["auroc"][rows, known], tensors["auroc_within"][rows, known]
    alive = (label_of >= 0) & (tensors["density"] > 0) & ~pooled.isnan()
    rank = torch.where(alive, within.nan_to_num(0) + 1e-6 * pooled.nan_to_num(0), -1)
    ranked = [f for f in rank.argsort(descending=True, stable=True).tolist() if rank[f] >= 0]
    chosen = _in_turn([(feature, *state_and_square(int(known[feature]))) for feature in ranked], n)
    return [
        Feature(
            feature,
            int(label_of[feature]),
            float(pooled[feature]),
            float(within[feature]),
            float(tensors["density"][feature]),
            float(tensors["max"][feature]),
            tuple(_examples(reading, feature)[:boards]),
        )
        for feature in sorted(chosen, key=lambda feature: -float(rank[feature]))
    ]


def _in_turn(ranked: Sequence[tuple[int, str, int]], n: int) -> list[int]:
    """At most n of (feature, state, square), the best left of each state in turn, no square twice."""
    chosen: list[int] = []
    squares: set[int] = set()
    while True:
        picked = {}
        for feature, state, square in ranked:
            if state not in picked and square not in squares and len(chosen) < n:
                picked[state] = feature
                squares.add(square)
                chosen.append(feature)
        if not picked:
            return chosen


def _examples(reading: Reading, feature: int) -> list[Example]:
    """A feature's recorded positions, strongest first, the strongest of each game only."""
    columns = (reading.tensors[name][feature].tolist() for name in ("top_game", "top_ply", "top_value"))
    seen: dict[int, Example] = {}
    for game, ply, value in zip(*columns, strict=True):
        if game >= 0 and game not in seen:
            seen[game] = Example(int(game), int(ply), float(value))
    return list(seen.values())


def cards(features: Sequence[Feature], reading: Reading) -> list[Markup]:
    """One card a feature: its label in words, its scores, its boards."""
    games = sorted({example.game for feature in features for example in feature.examples})
    truth = labels.label(reading.tensors["moves"][games])
    row_of = {game: row for row, game in enumerate(games)}
    return [_card(feature, truth, row_of) for feature in features]


def _card(feature: Feature, truth: labels.Labels, row_of: dict[int, int]) -> Markup:
    drawn = [_example(feature, example, truth, row_of[example.game]) for example in feature.examples]
    figures = (
        ("AUROC", _three(feature.auroc)),
        ("within position", _three(feature.auroc_within)),
        ("active at", f"{100 * feature.density:.2g} %" if feature.density < 0.1 else f"{100 * feature.density:.0f} %"),
        ("largest", f"{feature.largest:.2f}"),
        ("true on", f"{sum(holds for holds, _ in drawn)} of {len(drawn)} boards"),
        ("feature", str(feature.index)),
    )
    told = tag("dl", *[tag("div", tag("dt", name), tag("dd", value)) for name, value in figures], class_="figures")
    return tag(
        "article",
        tag("header", tag("h3", in_words(feature.label)), told),
        tag("div", *[shown for _, shown in drawn], class_="boards"),
        class_="feature",
        id=f"feature-{feature.index}",
    )


def _three(value: float) -> str:
    """Three decimals, cut off rather than rounded, as on the boards."""
    return MISSING if math.isnan(value) else f"{math.floor(value * 1000 + 1e-9) / 1000:.3f}"


def _example(feature: Feature, example: Example, truth: labels.Labels, row: int) -> tuple[bool, Markup]:
    """Whether the feature's label holds at an example, and the example drawn."""
    state, marked = state_and_square(feature.label)
    at = (row, example.ply)
    colour, relative = truth.colour[at].tolist(), truth.board[at].tolist()
    legal = truth.legal[at].nonzero().flatten().tolist()
    # A side without a disc has no move, so the side to move holds at least one.
    black_to_move = any(c == 1 and m == 1 for c, m in zip(colour, relative, strict=True))
    holds = marked in legal if state == "legal" else relative[marked] == (STATES.index(state) + 1) % 3
    played = int(truth.played[at])
    moved = f"move {example.ply + 1}, {notation.name(played)}"
    side = "black" if black_to_move else "white"
    mover = "game over" if truth.over[at] else f"{side} plays again" if truth.passed[at] else f"{side} to play"
    drawing = board.position(
        colour,
        black_to_move=black_to_move,
        legal=legal,
        turned=truth.flipped[at].nonzero().flatten().tolist(),
        played=played,
        marked=marked,
        title=f"After {moved}, {mover}: {in_words(feature.label)}, which is {'true' if holds else 'false'}. "
        f"Activation {example.value:.2f}.",
    )
    share = 100 * max(0.0, example.value) / feature.largest if feature.largest > 0 else 0.0
    bar = tag("span", tag("i", style=f"width:{min(share, 100):.1f}%"), class_="activation")
    value = tag("b", f"{example.value:.2f}", tag("span", " ✓" if holds else " ✗", class_="holds" if holds else "fails"))
    line = tag("span", f"{moved} · game {example.game}", class_="where")
    turn = tag("span", mover, class_="where")
    return holds, tag("figure", drawing, tag("figcaption", tag("span", bar, value, class_="strength"), line, turn))


def auroc_boards(reading: Reading) -> list[tuple[str, str, list[Markup]]]:
    """Three rows of four boards: the dictionary's best features pooled and within position, and the linear probe.

    Each row as its heading, a line that explains it, and its boards with captions (mine, theirs, empty, legal).
    """
    tensors = reading.tensors
    feature_of = tensors["best_feature"].long()
    usable, pairs = feature_of.clamp(min=0), torch.arange(feature_of.numel())
    undefined = torch.where(feature_of < 0, torch.nan, 0.0)
    pooled, within = (tensors[name][usable, pairs].double() + undefined for name in ("auroc", "auroc_within"))
    features = [f", feature {index}" for index in feature_of.tolist()]
    none = [""] * feature_of.numel()
    name = reading.name
    return [
        (name, "best feature for each square, all positions together", _four(pooled.tolist(), features, name)),
        (f"{name}, within position", "the same features, ply by ply", _four(within.tolist(), features, name)),
        (
            "linear probe",
            "the ceiling: trained on the labels, all positions together",
            _four(tensors["probe_auroc"].double().tolist(), none, "the linear probe"),
        ),
    ]


def _four(scores: Sequence[float], notes: Sequence[str], name: str) -> list[Markup]:
    """Boards of mine, theirs, empty and legal, each with how many of its squares lie above 0.9."""
    figures = []
    for state in (*STATES, "legal"):
        numbers, hints = [math.nan] * 64, [""] * 64
        for label, (score, note) in enumerate(zip(scores, notes, strict=True)):
            which, square = state_and_square(label)
            if which == state:
                numbers[square], hints[square] = score, f"{in_words(label)}: AUROC {score:.4f}{note}"
        above, defined = sum(v > 0.9 for v in numbers), sum(not math.isnan(v) for v in numbers)
        drawing = board.values(numbers, notes=hints, title=f"AUROC of {name} for {state}, square by square")
        caption = tag("figcaption", tag("b", state), join([" ", tag("span", f"{above} of {defined} above 0.9")]))
        figures.append(tag("figure", drawing, caption))
    return figures
