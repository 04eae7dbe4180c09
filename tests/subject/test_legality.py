"""The subject's figures against a count made game by game, and against models whose figures are known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import Tensor

from unweave.othello import games, labels, tokens
from unweave.subject import GPT, Edit, GPTConfig
from unweave.subject.legality import score


class Oracle:
    """Knows the rules: a share `mass` of its probability lies evenly on the legal moves, the rest on all tokens."""

    n_positions = 59
    mass = 0.9

    def __init__(self, moves: Tensor) -> None:
        exact = labels.next_move_distribution(moves)
        self.of = {tuple(game.tolist()): p for game, p in zip(tokens.encode(moves), exact, strict=True)}
        self.alphabet = GPT(GPTConfig(n_layers=1, d_model=8, n_heads=1)).alphabet

    def sites(self) -> dict[str, int]:
        return {}

    def read(self, tokens: Tensor, sites: Sequence[str]) -> dict[str, Tensor]:
        return {}

    def run(self, tokens: Tensor, edits: Mapping[str, Edit] | None = None) -> Tensor:
        found = [next(p for k, p in self.of.items() if k[:59] == tuple(game.tolist())) for game in tokens]
        return (self.mass * torch.stack(found)[:, :59] + (1 - self.mass) / 61).log()


def test_a_model_that_knows_the_rules() -> None:
    moves = games.sample("validation", 20, seed=0)
    found = score(Oracle(moves), moves, batch=7)
    p = labels.next_move_distribution(moves)[:, :59]
    n_legal = (p > 0).sum(-1)[p.sum(-1) > 0].double()
    assert found.games == 20
    assert found.positions == len(n_legal)
    assert found.illegal_rate == 0
    assert found.illegal_mass == pytest.approx((0.1 * (61 - n_legal) / 61).mean().item(), abs=1e-6)
    assert found.entropy == pytest.approx(n_legal.log().mean().item(), abs=1e-6)
    q = 0.9 / n_legal + 0.1 / 61
    assert found.cross_entropy == pytest.approx(-q.log().mean().item(), abs=1e-5)
    assert found.cross_entropy_sampled == pytest.approx(found.cross_entropy, abs=1e-5)  # every legal move is as likely


def test_an_untrained_model_against_a_count_by_hand() -> None:
    torch.manual_seed(0)
    model, moves = (
        GPT(GPTConfig(n_layers=1, d_model=8, n_heads=1)).requires_grad_(False),
        games.sample("test", 6, seed=1),
    )
    illegal = mass = exact = sampled = entropy = n = 0.0
    for game in moves:
        legal = labels.next_move_distribution(game[None])[0]
        q = model(tokens.encode(game[None])[:, :59])[0].softmax(-1).tolist()
        for s in range(59):
            allowed = [i for i in range(61) if legal[s, i] > 0]
            if allowed:
                n += 1
                illegal += q[s].index(max(q[s])) not in allowed
                mass += 1 - sum(q[s][i] for i in allowed)
                exact -= sum(math.log(q[s][i]) for i in allowed) / len(allowed)
                sampled -= math.log(q[s][int(tokens.encode(game)[s + 1])])
                entropy += math.log(len(allowed))
    found = score(model, moves, batch=4)
    counted = (illegal / n, mass / n, exact / n, entropy / n, sampled / n)
    assert (
        found.illegal_rate,
        found.illegal_mass,
        found.cross_entropy,
        found.entropy,
        found.cross_entropy_sampled,
    ) == (pytest.approx(counted, abs=1e-5))
    assert found.illegal_rate > 0.5


def test_games_without_a_next_move_are_refused() -> None:
    model = GPT(GPTConfig(n_layers=1, d_model=8, n_heads=1))
    with pytest.raises(ValueError, match="nothing to score"):
        score(model, games.sample("test", 2, seed=0)[:0])
