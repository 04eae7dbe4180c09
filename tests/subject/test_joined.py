"""Several sites read as one, spliced as one, and a dictionary trained on them."""

from pathlib import Path

import pytest
import torch
from tiny_subject import rows
from torch import Tensor

from unweave.activations.corpus import of_games
from unweave.activations.harvest import harvest
from unweave.config import RunConfig, override
from unweave.evaluation.context import Context
from unweave.evaluation.faithfulness import Faithfulness
from unweave.evaluation.own import own_scores
from unweave.othello import games, tokens
from unweave.runs import train
from unweave.subject import disk, joined
from unweave.subject.gpt import GPT, GPTConfig
from unweave.subject.othello import ALPHABET
from unweave.subject.sequences import Sequences

SITE = "resid_post.0+mlp_act.1"


@pytest.fixture
def subject() -> GPT:
    torch.manual_seed(0)
    model = GPT(GPTConfig(n_layers=2, d_model=16, n_heads=2), ALPHABET)
    for weight in model.parameters():
        weight.data.mul_(5)  # the initial weights are so small that nothing would depend on anything
    return model.requires_grad_(False)


def ids(n: int = 6) -> Tensor:
    return tokens.encode(games.sample("test", n, 0))


def test_names_and_widths(subject: GPT) -> None:
    known = subject.sites()
    assert joined.resolve("blocks.0.hook_resid_post + mlp_act.1", known) == SITE
    assert joined.widths(SITE, known) == [16, 64]
    assert joined.widths("embed", known) == [16]
    with pytest.raises(ValueError, match="names a site twice"):
        joined.resolve("resid_post.0+blocks.0.hook_resid_post", known)
    with pytest.raises(ValueError, match=r"no site is called 'resid_pots\.0'"):
        joined.resolve("embed+resid_pots.0", known)


def test_they_are_read_side_by_side_and_split_again(subject: GPT) -> None:
    found = joined.read(subject, ids()[:, :59], [SITE, "mlp_act.1"])
    alone = subject.read(ids()[:, :59], ["resid_post.0", "mlp_act.1"])
    assert torch.equal(found[SITE], torch.cat([alone["resid_post.0"], alone["mlp_act.1"]], -1))
    assert torch.equal(found["mlp_act.1"], alone["mlp_act.1"])
    parts = joined.split(found[SITE], SITE, subject.sites())
    assert all(torch.equal(parts[name], alone[name]) for name in alone)
    moves = games.sample("test", 3, 0)
    assert torch.equal(
        harvest(subject, of_games(moves), [SITE]).vectors[SITE][:, 16:],
        harvest(subject, of_games(moves), ["mlp_act.1"]).vectors["mlp_act.1"],
    )


def test_all_are_read_before_any_is_replaced(subject: GPT) -> None:
    """By hand: the later site's stand-in is made of what it was before the earlier one was replaced."""
    row = ids(1)
    clean = subject.read(row[:, :-1], ["resid_post.0", "mlp_act.1"])

    def tap(site: str, x: Tensor) -> Tensor:
        return torch.tanh(clean[site]) if site in clean else x

    expected = subject(row[:, :-1], tap).log_softmax(-1)
    x = Sequences(subject, rows(row)).read([SITE])[SITE]
    spliced = Faithfulness(subject, SITE, rows(row), torch.zeros(80)).spliced(torch.tanh(x))
    there = row[:, 1:] != tokens.PAD
    ce = -expected.gather(2, row[:, 1:, None]).squeeze(2)[there].mean()
    assert spliced["ce_spliced/1"] == pytest.approx(ce.item(), rel=1e-4)


def test_a_dictionary_over_two_sites_from_training_to_scores(subject: GPT, tmp_path: Path) -> None:
    disk.save(subject, tmp_path / "model")
    settings = {"training.steps": 30, "training.batch": 128, "data.sequences": 16}
    config = RunConfig(subject=str(tmp_path / "model"), site=SITE, method="topk(k=4)", d_sae=32)
    (run,) = train({tmp_path / "run": override(config, settings)})
    dictionary = run.dictionary()
    assert dictionary.d_in == 80
    context = Context(config.subject, "blocks.0.hook_resid_post+mlp_act.1", n_games=20)
    assert context.fits(config)
    assert context.neurons == "mlp_act.0"
    scores = own_scores(dictionary, context).activations
    assert scores["l0/1"] == pytest.approx(4, abs=0.1)
    assert scores["ce_spliced/1"] > 0
