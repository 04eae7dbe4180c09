"""A card: what a notebook shows of a value, in one piece of HTML with its own style, no script, and no other file."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from unweave.cards import board
from unweave.cards.markup import Markup, tag
from unweave.othello import labels, notation

STYLE = """
.unweave { --paper: #fffefb; --ink: #1b1d20; --soft: #5d6269; --rule: #dfdcd3; --accent: #0a5c9e; --felt: #dbe5d5;
  --line: #b3c2aa; --black: #1f2326; --white: #ffffff; --edge: #565d55; background: var(--paper); color: var(--ink);
  border: 1px solid var(--rule); border-radius: 6px; padding: 12px 16px; max-width: 860px; font: 14px/1.45 system-ui,
  sans-serif; }
@media (prefers-color-scheme: dark) { .unweave { --paper: #15181b; --ink: #e6e4de; --soft: #a0a5aa; --rule: #31363b;
  --accent: #6db3ec; --felt: #3a4a40; --line: #516356; --black: #0c0e10; --white: #eeece6; --edge: #8b958d; } }
.unweave h4 { margin: 0; font-size: 16px; } .unweave .soft { color: var(--soft); }
.unweave dl { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 8px 0; } .unweave dl div { margin: 0; }
.unweave dt { color: var(--soft); font-size: 12px; } .unweave dd { margin: 0; font-variant-numeric: tabular-nums; }
.unweave .boards { display: flex; flex-wrap: wrap; gap: 12px; } .unweave figure { margin: 0; width: 150px; }
.unweave figcaption { font-size: 12px; color: var(--soft); } .unweave svg { display: block; width: 100%; }
.unweave .bar { fill: var(--accent); } .unweave pre { white-space: pre-wrap; margin: 2px 0; background: none;
  color: inherit; font: 13px/1.5 ui-monospace, monospace; } .unweave mark { color: inherit; background:
  color-mix(in srgb, var(--accent) 30%, transparent); border-bottom: 2px solid var(--accent); }
.unweave .felt { fill: var(--felt); } .unweave .grid { fill: none; stroke: var(--line); stroke-width: .6; }
.unweave .names text { font: 7.5px sans-serif; fill: var(--soft); text-anchor: middle; }
.unweave .disc { stroke: var(--edge); stroke-width: .6; } .unweave .disc.black { fill: var(--black); }
.unweave .disc.white { fill: var(--white); } .unweave .last { fill: none; stroke-width: 1.3; }
.unweave .last.black { stroke: #fff; } .unweave .last.white { stroke: #23272a; } .unweave .legal { fill: var(--edge); }
.unweave .turned.black { fill: #fff; } .unweave .turned.white { fill: #23272a; }
"""


def card(title: str, what: str, facts: Sequence[tuple[str, str]], *parts: Markup) -> Markup:
    """A title, what kind of thing that is, some facts (name and value), and whatever else there is to see."""
    told = tag("dl", *[tag("div", tag("dt", name), tag("dd", value)) for name, value in facts])
    return tag(
        "div",
        tag("style", Markup(STYLE)),
        tag("h4", title, " ", tag("span", what, class_="soft")),
        *([told] if facts else []),
        *parts,
        class_="unweave",
    )


def after_move(squares: Sequence[int], ply: int, caption: str) -> Markup:
    """The board after a move of a game. squares: those of its moves; ply: 0 after the first.

    Raises ValueError for a game that breaks the rules.
    """
    truth = labels.label(torch.tensor([list(squares[: ply + 1])], dtype=torch.int8))
    at = (0, ply)
    colour, relative = truth.colour[at].tolist(), truth.board[at].tolist()
    # A side without a disc has no move, so the side to move holds at least one.
    black_to_move = any(c == 1 and m == 1 for c, m in zip(colour, relative, strict=True))
    drawing = board.position(
        colour,
        black_to_move=black_to_move,
        legal=truth.legal[at].nonzero().flatten().tolist(),
        turned=truth.flipped[at].nonzero().flatten().tolist(),
        played=squares[ply],
        marked=None,
        title=f"After move {ply + 1}, {notation.name(squares[ply])}. {caption}",
    )
    return tag("figure", drawing, tag("figcaption", caption))
