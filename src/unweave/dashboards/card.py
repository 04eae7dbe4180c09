"""A feature and its examples as a notebook shows them: the same as the page does, without what can be clicked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from unweave.cards.card import after_move, card
from unweave.cards.markup import Markup, join, tag

if TYPE_CHECKING:
    from unweave.dashboards.reading import Example, Feature

_BOARDS, _LINES = 5, 8
_BEFORE, _AFTER = 24, 8  # tokens around the one that a line is about
_FACTS = (
    ("density", "active at", "{:.3%}"),
    ("max", "maximum", "{:.4g}"),
    ("mean", "mean", "{:.4g}"),
    ("nearest_cosine", "nearest cosine", "{:.2f}"),
    ("auroc", "AUROC", "{:.3f}"),
    ("auroc_within", "AUROC within position", "{:.3f}"),
)


def feature(of: Feature) -> Markup:
    """Label, figures, how strong it is where it is active, and its strongest examples."""
    facts = [
        (title, form.format(of.columns[name]))
        for name, title, form in _FACTS
        if name in of.columns and not math.isnan(of.columns[name])
    ]
    top = of.examples["top"]
    games = bool(top) and top[0].is_game
    shown = [drawn(each) for each in top[: _BOARDS if games else _LINES]]
    examples = tag("div", *shown, class_="boards") if games else tag("div", *shown)
    parts = (
        [_histogram(of.block["bins"]["counts"]), examples] if top else [tag("p", "It was never active.", class_="soft")]
    )
    return card(f"Feature {of.id}", of.label, facts, *parts)


def example(of: Example) -> Markup:
    """A board, or a line of text."""
    return card(f"{of.value:.4g}", f"at position {of.at} of row {of.row}", [], drawn(of))


def drawn(of: Example) -> Markup:
    said = f"{of.value:.4g}" if of.pre is None else f"near miss, {of.pre:.4g}"
    if of.is_game:
        return after_move(of.tokens, of.at, f"{said}, move {of.at + 1} of game {of.row}")
    first, last = max(0, of.at - _BEFORE), of.at + 1 + _AFTER
    pieces = [
        tag("mark", piece, title=f"{value:.4g}") if value > 0 else piece
        for piece, value in zip(of.pieces[first:last], of.curve[first:last].tolist(), strict=True)
    ]
    return tag("pre", tag("span", f"{said}  ", class_="soft"), join(pieces))


def _histogram(counts: list[int]) -> Markup:
    """How often it is how strong: a bar for each quarter of an octave, as high as the count's logarithm."""
    highest = math.log1p(max(counts))
    bars = [
        tag(
            "rect",
            tag("title", f"{count:,}"),
            class_="bar",
            x=6 * i,
            y=40 - 40 * math.log1p(count) / highest,
            width=5,
            height=40 * math.log1p(count) / highest,
        )
        for i, count in enumerate(counts)
        if count
    ]
    what = "How often it is how strong, both on logarithmic scales"
    return tag(
        "svg", tag("title", what), *bars, viewBox=f"0 0 {6 * len(counts)} 40", role="img", aria_label=what,
        style=f"max-width:{6 * len(counts)}px;margin:8px 0",
    )  # fmt: skip
