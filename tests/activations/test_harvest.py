"""Harvesting: the right vectors, from the right positions, padding never."""

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from unweave.activations.corpus import Games, of_games
from unweave.activations.harvest import chunks, harvest
from unweave.config import DataConfig
from unweave.othello import games, tokens
from unweave.subject.gpt import GPT, GPTConfig


@pytest.fixture(scope="module")
def model() -> GPT:
    torch.manual_seed(0)
    return GPT(GPTConfig(n_layers=2, d_model=16, n_heads=2)).eval()


def short_games() -> Tensor:
    moves = games.sample("train", 150, 0)
    moves[3, 20:] = -1
    moves[90, 1:] = -1
    return moves


def test_every_row_is_what_the_subject_has_there(model: GPT) -> None:
    moves = short_games()
    found = harvest(model, of_games(moves), ["resid_post.1", "mlp_act.0"])
    n = len(found.row)
    assert isinstance(found.vectors["resid_post.1"], Float[Tensor, f"{n} 16"])
    assert isinstance(found.vectors["mlp_act.0"], Float[Tensor, f"{n} 64"])
    ids = tokens.encode(moves)[:, :59]
    for row in (0, 60, 3 * 59 + 5, n - 1):
        game, ply = int(found.row[row]), int(found.position[row])
        alone = model.read(ids[game : game + 1, : ply + 1], ["resid_post.1"])["resid_post.1"][0, -1]
        torch.testing.assert_close(found.vectors["resid_post.1"][row], alone, rtol=1e-4, atol=1e-5)


def test_padding_never_enters(model: GPT) -> None:
    moves = short_games()
    found = harvest(model, of_games(moves), ["embed"])
    lengths = (moves[:, :59] >= 0).sum(1)
    assert torch.equal(torch.bincount(found.row, minlength=150), lengths)
    assert (moves[found.row, found.position] >= 0).all()
    assert int((found.row == 3).sum()) == 20
    assert int((found.row == 90).sum()) == 1


def test_one_pass_reads_many_sites_as_several_passes_do(model: GPT) -> None:
    moves = short_games()
    both = harvest(model, of_games(moves), ["resid_pre.1", "attn_out.0"])
    for site in ("resid_pre.1", "attn_out.0"):
        assert torch.equal(both.vectors[site], harvest(model, of_games(moves), [site]).vectors[site])


def test_an_unknown_site_is_refused(model: GPT) -> None:
    with pytest.raises(ValueError, match="resid_post"):
        harvest(model, of_games(short_games()), ["resid_pots.0"])


def test_chunks_are_the_same_from_anywhere(model: GPT) -> None:
    source = chunks(model, Games(), ["embed"], DataConfig(sequences=40, seed=1))
    whole = source(0)
    three = [next(whole)["embed"] for _ in range(3)]
    assert torch.equal(next(source(2))["embed"], three[2])
    assert not torch.equal(three[0], three[1])
