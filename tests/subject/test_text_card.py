"""The finished language model: figures against slow plain ones, the files, the card."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter, deque
from pathlib import Path
from typing import Any

import pytest
import tiny_training
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from unweave import files
from unweave.subject import export_text, pretrain_text
from unweave.subject.text_card import repeated
from unweave.text import ngram
from unweave.text.sources import source
from unweave.text.split import split_of
from unweave.text.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A finished training's folder, and the card."""
    folder = tmp_path_factory.mktemp("card")
    config = tiny_training.training(tiny_training.corpus(folder / "corpus.jsonl"))
    deque(pretrain_text(folder / "out", config), maxlen=0)
    return folder, export_text(folder / "out")


def documents(folder: Path, split: str) -> list[str]:
    return [each.text for each in source(str(folder / "corpus.jsonl")).documents() if split_of(each) == split]


def rows(folder: Path, split: str) -> Tensor:
    """A split's documents one after another, each with its end, cut into rows of 33."""
    words = Tokenizer.load(folder / "out" / "tokenizer")
    assert words.eos is not None
    stream = [id for text in documents(folder, split) for id in [*words.encode([text])[0], words.eos]]
    return torch.tensor(stream[: len(stream) // 33 * 33]).view(-1, 33)


def plain(model: Any, row: Tensor) -> list[float]:
    """Nats of each token but the first, each predicted by itself from those before it."""
    found = []
    for i in range(1, len(row)):
        logits = model(input_ids=row[None, :i]).logits[0, -1].double()
        found.append(float(-logits.log_softmax(-1)[row[i]]))
    return found


@torch.no_grad()
def test_the_figures_are_those_of_a_slow_plain_computation(made: tuple[Path, dict[str, Any]]) -> None:
    folder, card = made
    figures = card["figures"]
    model = AutoModelForCausalLM.from_pretrained(folder / "out" / "model", dtype=torch.float32).eval()
    test, train = rows(folder, "test"), rows(folder, "train")
    each = [nats for row in test for nats in plain(model, row)]
    assert (figures["rows"], figures["documents"]) == (len(test), len(documents(folder, "test")))
    assert figures["loss"] == pytest.approx(sum(each) / len(each), rel=1e-5)
    texts = documents(folder, "test")
    tokens = sum(len(ids) + 1 for ids in Tokenizer.load(folder / "out" / "model").encode(texts))
    per_byte = tokens / sum(len(text.encode()) for text in texts)
    assert figures["bits_per_byte"] == pytest.approx(figures["loss"] / math.log(2) * per_byte)
    assert figures["five_gram"] == pytest.approx(ngram.fit(train, 300, n=5).loss(test))
    counts = Counter(train.flatten().tolist())
    common = [-math.log(counts[id] / train.numel()) for id in test[:, 1:].flatten().tolist() if counts[id]]
    assert figures["unigram"] == pytest.approx(sum(common) / len(common), rel=0.02)  # but for what was never seen
    assert card["source"]["documents"] == len(documents(folder, "train"))


@torch.no_grad()
def test_repeated_tokens_are_those_of_a_slow_plain_computation(made: tuple[Path, dict[str, Any]]) -> None:
    folder, card = made
    model = AutoModelForCausalLM.from_pretrained(folder / "out" / "model", dtype=torch.float32).eval()
    drawn = torch.randint(299, (64, 16), generator=torch.Generator().manual_seed(0)) + 1  # 0 ends a document
    each = torch.tensor([plain(model, torch.cat([row, row])) for row in drawn[:8]])
    # Sixty-four rows are too many for this way; eight of them are near enough.
    assert card["figures"]["repeated_first"] == pytest.approx(each[:, :15].mean().item(), rel=0.05)
    assert card["figures"]["repeated_second"] == pytest.approx(each[:, 16:].mean().item(), rel=0.05)


def test_it_has_learned(made: tuple[Path, dict[str, Any]]) -> None:
    figures = made[1]["figures"]
    assert figures["loss"] < figures["unigram"] - 0.3
    assert figures["five_gram"] < figures["unigram"]


class Copier(nn.Module):
    """Knows nothing of the first 16 tokens, nor of the first of the next 16, which it takes to be the same."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(300))

    def forward(self, tokens: Tensor) -> Tensor:
        logits = self.weight.expand(*tokens.shape, 300).clone()
        logits[:, 16:].scatter_(2, tokens[:, 1 : tokens.shape[1] - 15, None], 100.0)
        return logits


def test_who_copies_loses_nothing_on_what_is_repeated(made: tuple[Path, dict[str, Any]]) -> None:
    first, second = repeated(Copier(), Tokenizer.load(made[0] / "out" / "model"), 32)
    assert first == pytest.approx(math.log(300))
    assert second == pytest.approx(0.0, abs=1e-6)


@torch.no_grad()
def test_transformers_reads_model_and_tokenizer(made: tuple[Path, dict[str, Any]]) -> None:
    folder = made[0] / "out"
    trained = files.read_tensors(folder / "checkpoint.safetensors")[0]
    rounded = AutoModelForCausalLM.from_pretrained(folder / "model")
    assert type(rounded).__name__ == "GPT2LMHeadModel"
    exact = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    for name, p in rounded.named_parameters():
        assert torch.equal(p, trained[f"model.model.{name}"].bfloat16())
    for name, p in exact.named_parameters():
        p.copy_(trained[f"model.model.{name}"])
    tokens = rows(made[0], "test")[:4, :32]
    a, b = rounded(input_ids=tokens).logits.float(), exact(input_ids=tokens).logits
    assert (a - b).norm() < 0.02 * b.norm()
    theirs, ours = AutoTokenizer.from_pretrained(folder / "model"), Tokenizer.load(folder / "model")
    assert ours.fingerprint == Tokenizer.load(folder / "tokenizer").fingerprint
    for text in documents(made[0], "test"):
        assert theirs(text)["input_ids"] == ours.encode([text])[0]
        assert ours.decode(ours.encode([text])[0]) == text
    assert theirs.eos_token_id == ours.eos == exact.config.eos_token_id


def test_the_card(made: tuple[Path, dict[str, Any]]) -> None:
    folder, card = made[0] / "out" / "model", made[1]
    assert card == json.loads((folder / "card.json").read_text())
    assert card["command"].startswith(
        "unweave pretrain text --shape gpt2 --layers 2 --width 32 --heads 2 --context 32 "
    )
    assert card["command"].endswith(".jsonl --steps 60 --lr 0.003 --decay 0.5 --batch 8 --seed 0")
    assert card["tokens_seen"] == 60 * 8 * 32
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert card["parameters"] == sum(p.numel() for p in model.parameters())
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        stored = (folder / name).read_bytes()
        assert card["files"][name] == {"bytes": len(stored), "sha256": hashlib.sha256(stored).hexdigest()}
    text = (folder / "card.md").read_text()
    assert card["command"] in text
    assert all(hashed["sha256"] in text for hashed in card["files"].values())
    assert f"| {card['figures']['loss']:.4f} nats a token |" in text
    assert export_text(made[0] / "out") == card


def test_an_unfinished_training_is_not_exported(tmp_path: Path) -> None:
    training = pretrain_text(tmp_path / "out", tiny_training.training(tiny_training.corpus(tmp_path / "corpus.jsonl")))
    next(training)
    training.close()  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="has done 1 of 60 steps: finish it first"):
        export_text(tmp_path / "out")
    with pytest.raises(FileNotFoundError):
        export_text(tmp_path / "nowhere")
    assert not (tmp_path / "out" / "model").exists()
