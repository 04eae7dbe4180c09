"""The rules: against known counts of games, against a naive board, and by what must hold of every game."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Int
from naive_othello import BLACK, Game, opponent
from torch import Tensor

from unweave.othello import games, labels, rules

PERFT = (4, 12, 56, 244, 1396, 8200, 55092, 390216, 3005288)
"""How many games there are of 1, 2, ... 9 plies, where a forced pass, at ply 9 at the earliest, counts as one ply."""


def members(squares: Tensor | int) -> set[int]:
    return {square for square in range(64) if int(squares) >> square & 1}


def set_of(squares: set[int]) -> int:
    bits = sum(1 << square for square in squares)
    return bits - (1 << 64) if bits >> 63 else bits


def every_continuation(at: rules.Positions) -> rules.Positions:
    """Each position after each of its legal moves."""
    from_where, square = (at.moves.unsqueeze(1) >> torch.arange(64) & 1).nonzero().T
    own, other = at.own[from_where], at.other[from_where]
    moves, lines = rules.follow(own, other)
    here = rules.Positions(own, other, at.black[from_where], moves, at.passed[from_where], lines)
    return rules.play(here, square)[0]


def perft(depth: int) -> list[int]:
    """The counts up to `depth`, at most 9: a pass at ply 10 or later would have to be played, not only counted."""
    at, counts = rules.start(1), []
    for ply in range(1, depth + 1):
        at = every_continuation(at) if ply > 1 else at
        counts.append(int(torch.where(at.passed, 1, rules.count(at.moves)).sum()))
    return counts


def test_perft() -> None:
    assert perft(7) == list(PERFT[:7])


@pytest.mark.slow
def test_perft_deep() -> None:
    assert perft(9) == list(PERFT)


def random_game(seed: int) -> list[int]:
    game, draw, moves = Game(), random.Random(seed), []
    while legal := game.legal():
        moves.append(draw.choice(legal))
        game.play(moves[-1])
    return moves


def assert_same(at: rules.Positions, game: Game) -> None:
    assert members(at.own) == game.stones(game.side)
    assert members(at.other) == game.stones(opponent(game.side))
    assert members(at.moves) == set(game.legal())
    assert bool(at.black) == (game.side == BLACK)
    assert bool(at.passed) == game.passed
    assert bool(at.over) == (not game.legal())


@settings(max_examples=20)
@given(st.integers(0, 10**9))
def test_the_naive_board_agrees(seed: int) -> None:
    game, at = Game(), rules.start(1)
    assert_same(at, game)
    for square in random_game(seed):
        turned = game.play(square)
        at, flipped = rules.play(at, torch.tensor([square]))
        assert members(flipped) == turned
        assert_same(at, game)


stones = st.lists(st.sampled_from("XO."), min_size=64, max_size=64)


@settings(max_examples=50)
@given(stones)
def test_the_naive_board_agrees_on_any_board(squares: list[str]) -> None:
    """Also on boards that no game reaches, so that lines meet every edge and corner."""
    game = Game(board=[squares[8 * r : 8 * r + 8] for r in range(8)])
    own, other = (torch.tensor([set_of(game.stones(side))]) for side in "XO")
    moves, lines = rules.follow(own, other)
    assert members(moves) == set(game.legal())
    for square in game.legal():
        played = torch.tensor([set_of({square})])
        assert members(rules.flips(lines, played)) == game.turned_by(*divmod(square, 8))


def test_a_forced_pass_and_an_early_end_occur() -> None:
    """Else the comparisons above would not have seen them."""
    told = labels.label(games.uniform_play(2000, 0))
    assert told.passed.any()
    assert (told.over & (told.ply < 59)).any()


def test_a_move_adds_a_stone_and_turns_the_other_sides() -> None:
    moves = games.uniform_play(500, 1)
    before = rules.start(len(moves))
    for square, (at, turned) in zip(moves.T, labels.replay(moves), strict=True):
        made = (square >= 0).long()
        assert isinstance(at.own, Int[Tensor, "500"])
        stones_before, stones_now = before.own | before.other, at.own | at.other
        assert torch.equal(rules.count(stones_now), rules.count(stones_before) + made)
        assert not (turned & ~before.other).any()
        assert torch.equal(turned != 0, made.bool())
        assert not (at.own & at.other).any()
        assert not (at.moves & stones_now).any()
        before = at


def symmetries() -> list[list[int]]:
    """Where each of the 8 symmetries of the square takes each square."""
    turn = [8 * (square % 8) + 7 - square // 8 for square in range(64)]
    mirror = [8 * (square // 8) + 7 - square % 8 for square in range(64)]
    found = [list(range(64))]
    for _ in range(3):
        found.append([turn[square] for square in found[-1]])
    return found + [[mirror[square] for square in each] for each in found]


@pytest.mark.parametrize("image", symmetries())
def test_symmetries_commute_with_play(image: list[int]) -> None:
    def moved(squares: Tensor) -> Tensor:
        return torch.tensor([set_of({image[square] for square in members(each)}) for each in squares])

    for at, _ in list(labels.replay(games.uniform_play(4, 5)))[3:58:9]:
        moves, lines = rules.follow(moved(at.own), moved(at.other))
        assert torch.equal(moves, moved(at.moves))
        square = rules.choose(at.moves, torch.full_like(at.moves, 1 << 30))
        there = rules.Positions(moved(at.own), moved(at.other), at.black, moves, at.passed, lines)
        after, turned = rules.play(at, square)
        after_there, turned_there = rules.play(there, torch.tensor([*image, 64])[square])
        assert torch.equal(turned_there, moved(turned))
        for name in ("own", "other", "moves"):
            assert torch.equal(getattr(after_there, name), moved(getattr(after, name)))
        assert torch.equal(after_there.black, after.black)


@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**31 - 1)), min_size=1, max_size=20))
def test_choose_shares_the_lots_out_evenly(cases: list[tuple[int, int]]) -> None:
    squares, lot = (torch.tensor(each) for each in zip(*cases, strict=True))
    chosen, counts = rules.choose(squares, lot).tolist(), rules.count(squares).tolist()
    for (each, number), square, n in zip(cases, chosen, counts, strict=True):
        assert n == len(members(each))
        assert square == (sorted(members(each))[number * n >> 31] if n else 64)


def test_what_is_not_legal_is_not_played() -> None:
    at = rules.start(4)
    after, turned = rules.play(
        at, torch.tensor([-1, 0, 27, 37])
    )  # none, a1, an occupied square, and f5, which is legal
    assert turned.tolist()[:3] == [0, 0, 0]
    assert (after.own == at.own).tolist() == [True, True, True, False]
    assert after.black.tolist() == [True, True, True, False]
    assert torch.equal(after.moves[:3], at.moves[:3])
    assert not after.passed.any()


def test_play_leaves_the_positions_it_is_given() -> None:
    *_, (at, _), _ = labels.replay(games.uniform_play(300, 3)[:, :59])
    kept = [each.clone() for each in (at.own, at.other, at.black, at.moves, at.passed, *at.lines)]
    rules.play(at, rules.choose(at.moves, torch.zeros_like(at.moves)))
    assert all(map(torch.equal, kept, (at.own, at.other, at.black, at.moves, at.passed, *at.lines)))


@pytest.mark.gpu
def test_a_gpu_plays_the_same_games() -> None:
    assert torch.equal(games.uniform_play(5000, 4, "cuda").cpu(), games.uniform_play(5000, 4))
