"""Splicing and ablation in a tiny random subject, against loops over games and positions."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from tiny_subject import PAD, D, S, V, padded, rows, tiny
from torch import Tensor

from unweave.evaluation.definitions import DEFINITIONS
from unweave.evaluation.faithfulness import Faithfulness
from unweave.rows import Rows
from unweave.subject.gpt import GPT
from unweave.subject.sequences import Sequences

SITE = "resid_post.0"
LENGTHS = (9, 9, 6, 2, 9, 1, 4)  # of each row's tokens; the rest is padding
CASES = {"half": lambda x: 0.5 * x, "tanh": torch.tanh, "constant": lambda x: torch.ones_like(x)}


@pytest.fixture
def subject() -> GPT:
    return tiny()


@pytest.fixture
def tokens() -> Tensor:
    return padded(LENGTHS)


@pytest.fixture
def allowed() -> Tensor:
    return torch.rand(len(LENGTHS), S, V, generator=torch.Generator().manual_seed(3)) < 0.4


MEAN = torch.linspace(-1, 1, D)


def clean(subject: GPT, tokens: Tensor) -> Tensor:
    return Sequences(subject, rows(tokens)).read([SITE])[SITE]


def by_hand(subject: GPT, tokens: Tensor, allowed: Tensor, replace: Callable[[Tensor], Tensor]) -> dict[str, float]:
    """Cross-entropy, KL and legal rate, row by row without any padding, position by position."""
    cross_entropy, divergence, legal = [], [], []
    for game, length in enumerate(LENGTHS):
        row = tokens[game : game + 1, : min(length, S)]

        def tap(site: str, x: Tensor) -> Tensor:
            return torch.stack([torch.stack([replace(v[None])[0] for v in y]) for y in x]) if site == SITE else x

        normal, spliced = subject(row)[0].softmax(-1), subject(row, tap)[0].softmax(-1)
        for position in range(length - 1):
            p, q = normal[position].tolist(), spliced[position].tolist()
            cross_entropy.append(-math.log(q[int(tokens[game, position + 1])]))
            divergence.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
            legal.append(float(allowed[game, position, q.index(max(q))]))
    n = sum(length - 1 for length in LENGTHS)
    assert len(legal) == n
    return {"ce": sum(cross_entropy) / n, "kl": sum(divergence) / n, "legal_rate": sum(legal) / n}


@pytest.mark.parametrize("batch", [1, 3, 256])
def test_against_loops(subject: GPT, tokens: Tensor, allowed: Tensor, batch: int) -> None:
    measured = Faithfulness(subject, SITE, rows(tokens), MEAN, allowed=allowed, batch=batch)
    normal = by_hand(subject, tokens, allowed, lambda x: x)
    zero = by_hand(subject, tokens, allowed, torch.zeros_like)
    at_mean = by_hand(subject, tokens, allowed, lambda x: MEAN.expand_as(x))
    assert measured.scores == pytest.approx(
        {
            "ce/1": normal["ce"],
            "ce_zero/1": zero["ce"],
            "ce_mean/1": at_mean["ce"],
            "legal_rate/1": normal["legal_rate"],
        },
        rel=1e-5,
    )
    assert len({round(score, 2) for score in (normal["ce"], zero["ce"], at_mean["ce"])}) == 3
    for replace in CASES.values():
        expected = by_hand(subject, tokens, allowed, replace)
        assert measured.spliced(replace(clean(subject, tokens))) == pytest.approx(
            {
                "ce_spliced/1": expected["ce"],
                "ce_score/1": (zero["ce"] - expected["ce"]) / (zero["ce"] - normal["ce"]),
                "kl/1": expected["kl"],
                "legal_rate_spliced/1": expected["legal_rate"],
            },
            rel=1e-4,
        )


def test_a_perfect_reconstruction_changes_nothing(subject: GPT, tokens: Tensor, allowed: Tensor) -> None:
    measured = Faithfulness(subject, SITE, rows(tokens), MEAN, allowed=allowed)
    assert measured.spliced(clean(subject, tokens)) == {
        "ce_spliced/1": measured.scores["ce/1"],
        "ce_score/1": 1,
        "kl/1": 0,
        "legal_rate_spliced/1": measured.scores["legal_rate/1"],
    }


def test_predicting_0_scores_0_and_the_mean_what_mean_ablation_does(subject: GPT, tokens: Tensor) -> None:
    measured = Faithfulness(subject, SITE, rows(tokens), MEAN)
    x = clean(subject, tokens)
    assert measured.spliced(torch.zeros_like(x))["ce_score/1"] == 0
    assert measured.spliced(MEAN.expand_as(x))["ce_spliced/1"] == measured.scores["ce_mean/1"]


def test_a_site_that_does_not_matter_has_no_score(subject: GPT, tokens: Tensor) -> None:
    for block in subject.blocks:
        block.down.weight.zero_()
    n = len(clean(subject, tokens))
    spliced = Faithfulness(subject, "mlp_act.1", rows(tokens), torch.zeros(4 * D)).spliced(torch.zeros(n, 4 * D))
    assert math.isnan(spliced["ce_score/1"])
    assert spliced["kl/1"] == 0


def test_what_is_read_is_every_position_but_padding(subject: GPT, tokens: Tensor) -> None:
    inputs = tokens[:, :-1]
    assert torch.equal(clean(subject, tokens), subject.read(inputs, [SITE])[SITE][inputs != PAD])


def test_padding_is_neither_edited_nor_counted(subject: GPT, tokens: Tensor, allowed: Tensor) -> None:
    measured = Faithfulness(subject, SITE, rows(tokens), MEAN, allowed=allowed)
    more = torch.cat([tokens, torch.full_like(tokens[:2], PAD)])
    wider = Faithfulness(subject, SITE, rows(more), MEAN, allowed=torch.cat([allowed, allowed[:2]]))
    assert wider.scores == pytest.approx(measured.scores)
    x_hat = clean(subject, tokens).tanh()
    assert wider.spliced(x_hat) == pytest.approx(measured.spliced(x_hat), rel=1e-4)


def test_what_is_not_learnt_from_is_counted_and_not_edited(subject: GPT, tokens: Tensor) -> None:
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    learn = everywhere.clone()
    learn[:, 0] = learn[2, 4] = False
    measured = Faithfulness(subject, SITE, Rows(tokens, everywhere, learn), MEAN)

    def tap(site: str, x: Tensor) -> Tensor:
        return torch.where(learn[:, :-1, None], MEAN, x) if site == SITE else x

    for key, logits in (("ce/1", subject(tokens[:, :-1])), ("ce_mean/1", subject(tokens[:, :-1], tap))):
        expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        assert measured.scores[key] == pytest.approx(expected.item())


def test_every_score_is_defined(subject: GPT, tokens: Tensor, allowed: Tensor) -> None:
    with_rules, x = Faithfulness(subject, SITE, rows(tokens), MEAN, allowed=allowed), clean(subject, tokens)
    assert {*with_rules.scores, *with_rules.spliced(x)} <= set(DEFINITIONS)
    without = Faithfulness(subject, SITE, rows(tokens), MEAN)
    assert not [key for key in (*without.scores, *without.spliced(x)) if "legal" in key]


def test_bad_input(subject: GPT, tokens: Tensor, allowed: Tensor) -> None:
    with pytest.raises(ValueError, match=r"did you mean 'resid_post\.0'"):
        Faithfulness(subject, "resid_pots.0", rows(tokens), MEAN)
    with pytest.raises(ValueError, match=r"resid_post\.0 has width 16: its mean cannot have shape \[15\]"):
        Faithfulness(subject, SITE, rows(tokens), MEAN[1:])
    with pytest.raises(ValueError, match="at least two in a row"):
        Faithfulness(subject, SITE, rows(tokens[:, :1]), MEAN)
    with pytest.raises(ValueError, match="every target is padding"):
        Faithfulness(subject, SITE, rows(tokens[5:6]), MEAN)
    with pytest.raises(ValueError, match=r"allowed should have shape \[7, 8, 11\]"):
        Faithfulness(subject, SITE, rows(tokens), MEAN, allowed=allowed[:, 1:])
    measured = Faithfulness(subject, SITE, rows(tokens), MEAN)
    x = clean(subject, tokens)
    with pytest.raises(ValueError, match=r"the reconstructions at resid_post\.0 should be \[37, 16\], not \[37, 15\]"):
        measured.spliced(x[:, 1:])
    with pytest.raises(ValueError, match=r"the reconstructions at resid_post\.0 have NaN or infinite values"):
        measured.spliced(x / 0)
    subject.embed.weight[3] = math.nan
    with pytest.raises(ValueError, match="the subject's predictions have NaN values"):
        Faithfulness(subject, SITE, rows(tokens), MEAN)
