"""An Othello board as an SVG string: a position with its discs, or one value for each square.

Squares are indexed 8 * row + column; a1 is at the top left, h8 at the bottom right. Colours come from the page's style,
by class, so that one drawing serves a light and a dark page.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from unweave.cards.markup import Markup, join, tag

CELL = 20
"""The side of a square, in the drawing's own units."""

MARGIN = 13
"""Room for the letters above and the digits to the left."""

SIDE = MARGIN + 8 * CELL + 2

STEPS = (0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Where the shade of a value changes; 0.9 is where a feature begins to count as a classifier."""


def corner(square: int) -> tuple[int, int]:
    """The top left corner of a square, in the drawing's units."""
    return MARGIN + CELL * (square % 8), MARGIN + CELL * (square // 8)


def position(
    discs: Sequence[int],
    *,
    black_to_move: bool,
    legal: Collection[int],
    turned: Collection[int],
    played: int,
    marked: int | None,
    title: str,
) -> Markup:
    """A position after a move.

    Args: discs: 64 numbers, 0 empty, 1 black, 2 white; legal, turned: squares to dot, and squares whose disc was just
        flipped; played: the square just played (ringed); marked: the square to outline, if any; title: what a reader
        who does not see it hears, and what a pointer shows.
    """
    parts = [tag("title", title), _ground("felt")]
    for square, disc in enumerate(discs):
        x, y = (edge + CELL / 2 for edge in corner(square))
        if disc:
            side = "mine" if (disc == 1) == black_to_move else "theirs"
            colour = "black" if disc == 1 else "white"
            parts.append(tag("circle", class_=f"disc {colour} {side}", cx=x, cy=y, r=8.2))
            if square == played:
                parts.append(tag("circle", class_=f"last {colour} {side}", cx=x, cy=y, r=4.6))
            elif square in turned:
                parts.append(tag("circle", class_=f"turned {colour} {side}", cx=x, cy=y, r=2))
        elif square in legal:
            parts.append(tag("circle", class_="legal", cx=x, cy=y, r=2.2))
    if marked is not None:
        x, y = corner(marked)
        parts.append(tag("rect", class_="marked", x=x, y=y, width=CELL, height=CELL))
    return _board(parts, title)


def values(numbers: Sequence[float], *, notes: Sequence[str], title: str) -> Markup:
    """One value in 0..1 for each square, shaded and written in it; a NaN leaves its square blank.

    The two written decimals are cut off, not rounded, so that .90 is never read for a value below 0.9.

    Args: numbers: 64 values; notes: 64 lines, what a pointer shows on each square.
    """
    parts = [tag("title", title), _ground("sheet")]
    for square, value in enumerate(numbers):
        if math.isnan(value):
            continue
        x, y = corner(square)
        step = sum(value > step for step in STEPS)
        written = f"{math.floor(value * 100 + 1e-9) / 100:.2f}".removeprefix("0")
        parts.append(
            tag(
                "g",
                tag("title", notes[square]),
                tag("rect", x=x, y=y, width=CELL, height=CELL),
                tag("text", written, x=x + CELL / 2, y=y + CELL / 2 + 2.9),
                class_=f"value shade-{step}",
            )
        )
    return _board([*parts, _grid()], title)


def _ground(kind: str) -> Markup:
    """The surface, its lines (under the discs) and the names of columns and rows."""
    letters = [tag("text", "abcdefgh"[i], x=MARGIN + CELL * (i + 0.5), y=MARGIN - 4) for i in range(8)]
    digits = [tag("text", str(i + 1), x=MARGIN - 6.5, y=MARGIN + CELL * (i + 0.5) + 2.9) for i in range(8)]
    surface = tag("rect", class_=kind, x=MARGIN, y=MARGIN, width=8 * CELL, height=8 * CELL)
    return join([surface, _grid(), tag("g", *letters, *digits, class_="names")])


def _grid() -> Markup:
    lines = [f"M{MARGIN + CELL * i} {MARGIN}v{8 * CELL}M{MARGIN} {MARGIN + CELL * i}h{8 * CELL}" for i in range(9)]
    return tag("path", class_="grid", d="".join(lines))


def _board(parts: Sequence[str], title: str) -> Markup:
    return tag("svg", *parts, class_="board", viewBox=f"0 0 {SIDE} {SIDE}", role="img", aria_label=title)
