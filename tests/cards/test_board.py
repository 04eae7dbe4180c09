"""The board as SVG: squares where players look for them, marks where they belong, well formed."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from unweave.cards import board
from unweave.othello import notation


def draw(**changed: object) -> ElementTree.Element:
    """A position with a black disc on f5 and a white one on e5."""
    discs = [0] * 64
    discs[notation.index("f5")], discs[notation.index("e5")] = 1, 2
    about = {
        "black_to_move": True,
        "legal": [notation.index("d6")],
        "turned": [notation.index("e5")],
        "played": notation.index("f5"),
        "marked": notation.index("h8"),
        "title": "after <f5> & more",
    }
    return ElementTree.fromstring(board.position(discs, **(about | changed)))  # type: ignore[arg-type]


def places(svg: ElementTree.Element, kind: str) -> list[tuple[int, int]]:
    """Column and row, from 0, of every circle of one class."""
    return [
        (
            int((float(c.get("cx", "")) - board.MARGIN) // board.CELL),
            int((float(c.get("cy", "")) - board.MARGIN) // board.CELL),
        )
        for c in svg.iter("circle")
        if kind in c.get("class", "").split()
    ]


def test_a1_is_at_the_top_left_and_h8_at_the_bottom_right() -> None:
    assert board.corner(notation.index("a1")) == (board.MARGIN, board.MARGIN)
    assert board.corner(notation.index("h8")) == (board.MARGIN + 7 * board.CELL, board.MARGIN + 7 * board.CELL)


def test_f5_is_in_column_f_of_row_5() -> None:
    assert places(draw(), "black") == [(5, 4), (5, 4)]  # the disc, and the ring of the move just played
    names = [(text.text, float(text.get("x", "")), float(text.get("y", ""))) for text in draw().iter("text")]
    (x,) = [x for name, x, _ in names if name == "f"]
    (y,) = [y for name, _, y in names if name == "5"]
    left, top = board.corner(notation.index("f5"))
    assert left < x < left + board.CELL
    assert top < y < top + board.CELL


def test_marks_say_what_just_happened_and_what_may_happen() -> None:
    svg = draw()
    assert places(svg, "last") == [(5, 4)]
    assert places(svg, "turned") == [(4, 4)]
    assert places(svg, "legal") == [(3, 5)]
    (marked,) = [r for r in svg.iter("rect") if r.get("class") == "marked"]
    assert (float(marked.get("x", "")), float(marked.get("y", ""))) == board.corner(63)


@pytest.mark.parametrize(("black_to_move", "mine"), [(True, (5, 4)), (False, (4, 4))])
def test_mine_is_the_side_that_moves_next(black_to_move: bool, mine: tuple[int, int]) -> None:
    discs = [c for c in draw(black_to_move=black_to_move).iter("circle") if c.get("class", "").startswith("disc")]
    assert len(discs) == 2
    assert set(places(draw(black_to_move=black_to_move), "mine")) == {mine}


def test_the_title_is_escaped_and_comes_first() -> None:
    svg = draw()
    assert svg[0].tag == "title"
    assert svg[0].text == svg.get("aria-label") == "after <f5> & more"


def test_values_are_written_in_their_squares_and_undefined_ones_left_blank() -> None:
    numbers = [0.5] * 64
    numbers[27] = math.nan
    numbers[63] = 0.9996
    numbers[0] = 0.8999
    svg = ElementTree.fromstring(board.values(numbers, notes=[f"note {i}" for i in range(64)], title="AUROC"))
    cells = [g for g in svg.iter("g") if g.get("class", "").startswith("value")]
    assert len(cells) == 63
    assert [cells[0].findtext("text"), cells[-1].findtext("text")] == [".89", ".99"]  # cut off, never rounded up
    assert [cells[0].get("class"), cells[-1].get("class")] == ["value shade-3", "value shade-6"]
    assert cells[-1].findtext("title") == "note 63"


def test_a_perfect_value_reads_as_one() -> None:
    svg = ElementTree.fromstring(board.values([1.0] * 64, notes=[""] * 64, title="AUROC"))
    assert next(svg.iter("g")).get("class") == "names"
    assert {g.findtext("text") for g in svg.iter("g") if g.get("class", "").startswith("value")} == {"1.00"}
