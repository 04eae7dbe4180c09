"""Games: the streams are what they were, never meet, and hold legal games only."""

from __future__ import annotations

import hashlib
from itertools import islice
from typing import get_args

import pytest
import torch
from jaxtyping import Int8
from torch import Tensor

from unweave.othello import games
from unweave.othello.games import IllegalGame, Split

SPLITS: tuple[Split, ...] = get_args(Split)


def digest(moves: Tensor) -> str:
    return hashlib.sha256(moves.contiguous().numpy().tobytes()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("split", "seed", "expected"),
    [
        ("train", 0, "ff9cf0eea63a5824"),
        ("train", 7, "3c064ee987af0335"),
        ("validation", 0, "ea3932140aa4369d"),
        ("validation", 7, "7eede81b922e4bc3"),
        ("test", 0, "9e5ec1c73f68b4e2"),
        ("test", 7, "f0f63342df07363e"),
    ],
)
def test_a_seed_gives_the_games_it_always_gave(split: Split, seed: int, expected: str) -> None:
    """Models are trained on these streams and scored on them: a change here would mix the two."""
    assert digest(games.sample(split, 100, seed)) == expected


def test_play_streams_and_splits_are_what_they_were() -> None:
    played = games.uniform_play(1000, 3)
    assert digest(played) == "cff2d0166d526899"
    assert digest(games.split_of(played)) == "7ea3ca961e05140f"
    stream = games.stream("train", 5, batch=500, skip=20)
    assert [digest(next(stream)) for _ in range(2)] == ["ace18a8eef282833", "8e6317388ae063f0"]


def test_uniform_play_is_legal_and_mostly_60_plies_long() -> None:
    """98.9 % of such games reach 60 moves (ground truth, 0.6)."""
    moves = games.uniform_play(4000, 0)
    assert isinstance(moves, Int8[Tensor, "4000 60"])
    games.check(moves, str)
    assert 0.98 < (moves[:, -1] >= 0).float().mean() < 0.997
    assert 59.9 < (moves >= 0).sum(1).float().mean() < 60


def test_every_first_move_is_equally_likely() -> None:
    squares, counts = games.uniform_play(8000, 2)[:, 0].unique(return_counts=True)
    assert squares.tolist() == [19, 26, 37, 44]
    assert ((counts - 2000).abs() < 5 * 39).all()  # five standard deviations


def test_the_three_streams_share_no_game() -> None:
    seen = [{bytes(game.numpy()) for game in games.sample(split, 1500, seed=0)} for split in SPLITS]
    assert sum(map(len, seen)) == len(set.union(*seen))


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_depends_on_the_moves_alone(split: Split) -> None:
    """Whatever the seed, the order, the type and the company of a game, it belongs to the stream it came from."""
    moves = torch.cat([games.sample(split, 200, seed) for seed in (0, 99)])
    wanted = SPLITS.index(split)
    assert (games.split_of(moves) == wanted).all()
    assert (games.split_of(moves.flip(0).long()) == wanted).all()
    assert int(games.split_of(moves[5:6])) == wanted


def test_a_sixteenth_is_for_validation_and_one_for_testing() -> None:
    shares = torch.bincount(games.split_of(games.uniform_play(16000, 1))) / 16000
    assert torch.allclose(shares, torch.tensor([14, 1, 1]) / 16, atol=0.01)


def test_skipping_is_the_same_as_waiting() -> None:
    waited = list(islice(games.stream("test", 4, batch=200), 4))
    assert torch.equal(next(games.stream("test", 4, batch=200, skip=3)), waited[3])


def test_an_unknown_split() -> None:
    with pytest.raises(ValueError, match="no split is called 'training': choose one of train, validation, test"):
        next(games.stream("training", 0, batch=1))


class TestCheck:
    """`check` says where, at which ply, which move, and what was legal."""

    def fault(self, game: list[int]) -> str:
        moves = torch.full((3, 60), -1, dtype=torch.int8)
        moves[:2] = games.uniform_play(2, 0)
        moves[2, : len(game)] = torch.tensor(game, dtype=torch.int8)
        with pytest.raises(IllegalGame) as raised:
            games.check(moves, lambda index: f"game {index}")
        return str(raised.value)

    def test_an_illegal_move(self) -> None:
        assert self.fault([37, 0]) == "game 2, ply 2: a1 is not legal: white may play f4, d6, f6"

    def test_an_occupied_square(self) -> None:
        assert self.fault([27]) == "game 2, ply 1: d4 is not legal: black may play d3, c4, f5, e6"

    def test_no_such_square(self) -> None:
        assert self.fault([99]).startswith("game 2, ply 1: square 99, which is not on the board, is not legal: black")
        assert self.fault([-2]).startswith("game 2, ply 1: square -2, which is not on the board, is not legal: black")

    def test_a_gap(self) -> None:
        expected = "game 2, ply 4: there is a move after the game was broken off at ply 2"
        assert self.fault([37, -1, -1, 43]) == expected

    def test_a_move_after_the_end(self) -> None:
        moves = games.uniform_play(3000, 0)
        short = moves[moves[:, 58] == -1][0].tolist()
        n = short.index(-1)
        expected = f"game 2, ply {n + 1}: a1 is played when the game is over: neither side can move"
        assert self.fault([*short[:n], 0]) == expected

    def test_each_illegal_game_is_named_by_its_first_fault(self) -> None:
        with pytest.raises(IllegalGame) as raised:
            games.check(
                torch.tensor([[37, 0, 0], [37, 43, -1], [37, -1, 43], [1, 37, 1]]), lambda index: f"game {index}"
            )
        assert [line.split(":")[0] for line in str(raised.value).split("\n")] == [
            "game 0, ply 2",
            "game 2, ply 3",
            "game 3, ply 1",
        ]

    def test_a_game_broken_off_is_legal(self) -> None:
        games.check(torch.tensor([[37, 43, -1], [-1, -1, -1]]), str)
        games.check(torch.empty(0, 60, dtype=torch.int8), str)
