"""Squares' names and tokens: there and back, and what is neither."""

from __future__ import annotations

import pytest
import torch

from unweave.othello import games, notation, tokens


def test_names_are_as_players_write_them() -> None:
    assert [notation.name(square) for square in (0, 7, 37, 56, 63)] == ["a1", "h1", "f5", "a8", "h8"]
    assert [notation.index(notation.name(square)) for square in range(64)] == list(range(64))
    assert notation.index("F5") == 37
    assert [notation.name(square) for square in notation.CENTRE] == ["d4", "e4", "d5", "e5"]


@pytest.mark.parametrize("name", ["", "f", "5f", "i1", "a9", "a0", "f55", "é1", "a٣"])
def test_what_is_no_square(name: str) -> None:
    with pytest.raises(ValueError, match="is not a square: write the column a-h, then the row 1-8, as in f5"):
        notation.index(name)


@pytest.mark.parametrize("square", [-1, 64])
def test_what_is_no_index(square: int) -> None:
    with pytest.raises(ValueError, match="no square has index"):
        notation.name(square)


def test_the_alphabet_is_li_s() -> None:
    """id = s + 1 up to square 26, s - 1 from 29 to 34, s - 3 from 37 (ground truth, 1)."""
    ids = tokens.encode(torch.arange(-1, 64).unsqueeze(0))[0, 1:]
    assert [int(ids[s]) for s in (0, 26, 29, 34, 37, 63)] == [1, 27, 28, 33, 34, 60]
    assert all(int(ids[s]) == tokens.PAD for s in notation.CENTRE)
    assert len(tokens.SQUARES) == tokens.SIZE - 1 == 60


def test_moves_become_tokens_and_moves_again() -> None:
    moves = games.uniform_play(2000, 0)
    there = tokens.encode(moves)
    assert (there == tokens.PAD).any()
    assert torch.equal((there == tokens.PAD), moves == -1)
    assert torch.equal(tokens.decode(there), moves.long())


@pytest.mark.parametrize("token", [-1, 61])
def test_a_token_outside_the_alphabet(token: int) -> None:
    with pytest.raises(ValueError, match=r"a token id outside 0\.\.60"):
        tokens.decode(torch.tensor([[1, token]]))
