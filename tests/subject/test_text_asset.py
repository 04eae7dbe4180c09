"""The language model that comes with the package, on text that is not of its own."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from unweave.subject import load
from unweave.subject.huggingface import HuggingFace

ASSET = Path(__file__).parents[2] / "src" / "unweave" / "assets" / "text"
FIGURES = json.loads((ASSET / "card.json").read_text())["figures"]


@pytest.fixture(scope="module")
def subject() -> HuggingFace:
    found = load("text()")
    assert isinstance(found, HuggingFace)
    return found


def continued(subject: HuggingFace, text: str, by: int) -> str:
    tokens = torch.tensor(subject.tokenizer.encode([text]))
    for _ in range(by):
        tokens = torch.cat([tokens, subject.run(tokens)[:, -1:].argmax(-1)], dim=1)
    return subject.tokenizer.decode(tokens[0].tolist())


def test_it_is_small_enough_for_the_repository() -> None:
    assert sum(path.stat().st_size for path in ASSET.iterdir()) <= 14_000_000


def test_the_card_says_what_is_beaten() -> None:
    assert FIGURES["loss"] < FIGURES["five_gram"] < FIGURES["unigram"]


def test_it_closes_what_was_opened_and_indents(subject: HuggingFace) -> None:
    assert continued(subject, "print(foo(bar[0", 2).startswith("print(foo(bar[0])")
    assert "\n        self." in continued(subject, "class Box:\n    def __init__(self, width):", 3)


def test_what_was_there_is_expected_again(subject: HuggingFace) -> None:
    """Induction: random tokens cost less the second time, and as much as the card says."""
    words = [token for token in range(subject.tokenizer.size) if token not in subject.tokenizer.specials]
    drawn = torch.tensor(words)[torch.randint(len(words), (64, 128), generator=torch.Generator().manual_seed(0))]
    rows = torch.cat([drawn, drawn], dim=1)
    cost = F.cross_entropy(subject.run(rows)[:, :-1].transpose(1, 2), rows[:, 1:], reduction="none")
    first, second = cost[:, :127].mean().item(), cost[:, 128:].mean().item()
    assert second < first - 3
    assert (first, second) == pytest.approx((FIGURES["repeated_first"], FIGURES["repeated_second"]), abs=0.02)
