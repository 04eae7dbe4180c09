"""Labels: against a naive board, and the move-parity convention against its known error."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float32, Int8, Int16
from naive_othello import BLACK, WHITE, after_each, opponent
from torch import Tensor

from unweave.othello import games, labels, tokens


def test_shapes_and_types() -> None:
    told = labels.label(games.uniform_play(7, 0))
    assert isinstance(told.board, Int8[Tensor, "7 60 64"])
    assert isinstance(told.colour, Int8[Tensor, "7 60 64"])
    assert isinstance(told.legal, Bool[Tensor, "7 60 64"])
    assert isinstance(told.flipped, Bool[Tensor, "7 60 64"])
    assert isinstance(told.played, Int8[Tensor, "7 60"])
    assert isinstance(told.ply, Int16[Tensor, "7 60"])
    for each in (told.passed, told.valid, told.over):
        assert isinstance(each, Bool[Tensor, "7 60"])


def unusual_games() -> Tensor:
    """Ordinary games, one with a pass and one that ends early."""
    moves = games.uniform_play(2000, 0)
    told = labels.label(moves)
    early, passing = (told.over & (told.ply < 58)).any(1), told.passed.any(1)
    return torch.cat([moves[:2], moves[early][:1], moves[passing][:2]])


def test_the_naive_board_agrees() -> None:
    moves = unusual_games()
    told = labels.label(moves)
    for g, game_moves in enumerate(moves.tolist()):
        made = [square for square in game_moves if square >= 0]
        for t, (game, turned) in enumerate(after_each(made)):
            colours = [{BLACK: 1, WHITE: 2}.get(stone, 0) for row in game.board for stone in row]
            views = [{game.side: 1, opponent(game.side): 2}.get(stone, 0) for row in game.board for stone in row]
            assert told.colour[g, t].tolist() == colours
            assert told.board[g, t].tolist() == views
            assert told.legal[g, t].nonzero().flatten().tolist() == game.legal()
            assert set(told.flipped[g, t].nonzero().flatten().tolist()) == turned
            assert int(told.played[g, t]) == made[t]
            assert int(told.ply[g, t]) == t
            assert bool(told.passed[g, t]) == game.passed
            assert bool(told.over[g, t]) == (not game.legal())
            assert bool(told.valid[g, t])
        assert not told.valid[g, len(made) :].any()


def test_where_no_move_was_made_the_position_is_repeated() -> None:
    moves = games.uniform_play(20, 0)
    moves[:, 30:] = -1  # broken off, none of them over
    told = labels.label(moves)
    assert torch.equal(told.valid, moves >= 0)
    for name in ("board", "colour", "legal", "ply", "over"):
        each = getattr(told, name)
        assert torch.equal(each[:, 30:], each[:, 29:30].expand_as(each[:, 30:])), name
    assert not told.over[:, 30:].any()
    assert not told.flipped[:, 30:].any()
    assert not told.passed[:, 30:].any()
    assert (told.played[:, 30:] == -1).all()
    distribution = labels.next_move_distribution(moves)
    assert torch.allclose(distribution[:, 29].sum(-1), torch.ones(20))
    assert not distribution[:, 30:].any()


def test_no_game_and_no_move() -> None:
    assert labels.label(torch.empty(0, 60, dtype=torch.int8)).board.shape == (0, 60, 64)
    nothing = labels.label(torch.full((1, 60), -1, dtype=torch.int8))
    assert not nothing.valid.any()
    assert labels.parity_error(nothing) == 0


def test_the_error_of_move_parity_is_the_known_one() -> None:
    """1.2 % of positions have the wrong side, and 34.9 % of games a forced pass (ground truth, 0.5, 4,000 games)."""
    told = labels.label(games.uniform_play(6000, 12))
    assert abs(labels.parity_error(told) - 0.012) < 0.0015
    assert abs(told.passed.any(1).float().mean() - 0.349) < 0.025


def test_parity_is_wrong_exactly_from_one_pass_to_the_next() -> None:
    told = labels.label(games.uniform_play(1000, 3))
    odd_passes = (told.passed.cumsum(1) % 2 == 1) & told.valid & ~told.over
    wrong = (labels.by_parity(told) != told.board).any(-1) & told.valid & ~told.over
    assert wrong.any()
    assert torch.equal(wrong, odd_passes)
    exchanged = torch.tensor([0, 2, 1], dtype=torch.int8)[told.board.long()]
    assert torch.equal(labels.by_parity(told)[wrong], exchanged[wrong])


def test_next_move_distribution_is_uniform_over_the_legal_tokens() -> None:
    moves = unusual_games()
    told, found = labels.label(moves), labels.next_move_distribution(moves)
    assert isinstance(found, Float32[Tensor, "5 60 61"])
    legal = told.legal[..., list(tokens.SQUARES)]
    assert torch.equal(found[..., 1:] > 0, legal & told.valid.unsqueeze(-1))
    number = legal.sum(-1)
    assert torch.allclose(found.max(-1).values[number > 0], 1 / number[number > 0])
    assert not found[..., tokens.PAD].any()
    assert torch.equal(found.sum(-1) > 0, ~told.over)
    made_next = tokens.encode(moves)[:, 1:]
    probability = found[:, :-1].gather(-1, made_next.unsqueeze(-1)).squeeze(-1)
    assert (probability > 0)[made_next > 0].all()
