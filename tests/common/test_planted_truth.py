"""Planted truth: every method finds the directions that activations were made from."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from unweave.config import RunConfig, override
from unweave.dictionary import METHODS, Dictionary
from unweave.othello import games, tokens
from unweave.subject import load
from unweave.subject.toy import Toy
from unweave.training.loop import Trainer

STEPS, BATCH, WIDTH, FEATURES = 2000, 256, 20, 40

# 2.4 of 40 features are active at a time; how sparse a method is to be it is told in units of its own.
SUITED = {
    **{
        name: f"{name}(k=3)"
        for name in (
            *("topk", "batch_topk", "multi_topk", "group_max", "matching_pursuit", "orthogonal", "leaky_topk"),
            "leaky_readout",
        )
    },
    "matryoshka": "matryoshka(k=3, widths=(0.5, 1.0))",
    "without_topk": "without_topk(k=3, alpha=200.0)",
    "relu": "relu(l1=1.5)",
    "tanh": "tanh(l0=1.5)",
    "smoothed_l0": "smoothed_l0(alpha=100.0, delta=1.0)",
    "freshmans_dream": "freshmans_dream(alpha=200.0)",
    "dimension_reduction": "dimension_reduction(p=0.49)",
    "geometric_dimension_reduction": "geometric_dimension_reduction(p=0.49)",
    "jumprelu": "jumprelu(l0=1.5)",
    "jumprelu_target": "jumprelu_target(l0=3.0)",
    "jumprelu_tanh": "jumprelu_tanh(l0=1.0)",
    "gated": "gated(l1=2.0)",
    "glu": "glu(l1=1.5)",
    "p_anneal": "p_anneal(weight=3.0)",
    "gated_p_anneal": "gated_p_anneal(weight=2.0)",
}


@pytest.fixture(scope="module")
def planted() -> tuple[Toy, Tensor]:
    """The subject, with features that go in pairs and families among the independent ones, and its vectors `[N, D]`."""
    toy = load(f"toy(n_features={FEATURES}, d={WIDTH}, p=0.06, pairs=4, children=4)")
    assert isinstance(toy, Toy)
    ids = tokens.encode(games.sample("train", 1000, 0))[:, :59]
    return toy, toy.activations(ids)[:, 8:].flatten(0, 1)


def mmcs(toy: Toy, W_dec: Tensor) -> float:
    """The mean, over the independent features, of the largest cosine with a decoder row (Sharkey et al. 2022)."""
    cosines = toy.directions[toy.independent] @ F.normalize(W_dec.detach(), dim=1).T
    return cosines.max(1).values.mean().item()


def found(name: str, planted: tuple[Toy, Tensor]) -> float:
    """The MMCS of a dictionary with twice as many features as there are."""
    toy, x = planted
    settings = {"training.steps": STEPS, "training.warmup": 50, "training.lr": 4e-3, "training.penalty_warmup": 0.5}
    trainer = Trainer(override(RunConfig(method=SUITED.get(name, name), d_sae=2 * FEATURES), settings), WIDTH)
    trainer.fit_(x[:8192])
    drawn = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        trainer.update(x[torch.randint(len(x), (BATCH,), generator=drawn)])
    return mmcs(toy, trainer.dictionary.W_dec)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in METHODS if name != "none"])
def test_every_method_finds_the_independent_features(name: str, planted: tuple[Toy, Tensor]) -> None:
    assert found(name, planted) > 0.9


@pytest.mark.slow
def test_without_a_penalty_nothing_is_found(planted: tuple[Toy, Tensor]) -> None:
    assert found("none", planted) < 0.7


def test_a_dictionary_does_not_start_at_what_is_planted(planted: tuple[Toy, Tensor]) -> None:
    """The null beside those scores."""
    assert mmcs(planted[0], Dictionary(WIDTH, 2 * FEATURES, "none").W_dec) < 0.6
    assert mmcs(planted[0], Dictionary(WIDTH, FEATURES, "none").W_dec) < 0.6
