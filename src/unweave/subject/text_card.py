"""What a finished language model is published as: its weights in bfloat16 with its tokenizer, and a card that says how
it was made and how good it is.

Shapes: G rows, S positions, V vocabulary.
"""

from __future__ import annotations

import math
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unweave import files
from unweave.subject.card import hashes, listed, machine
from unweave.subject.pretrain import weights
from unweave.subject.text_model import Logits, build, save
from unweave.subject.text_training import TextTraining, corpus
from unweave.subject.training_folder import finished, log, settings
from unweave.text import ngram
from unweave.text.sources import source
from unweave.text.table import Table
from unweave.text.tokenizer import Tokenizer

_ROWS = 16  # that go through a model at a time
_REPEATED = 64  # rows of random tokens


@dataclass(frozen=True)
class Fluency:
    """How well a model predicts text. Losses are nats a token, over all tokens of the test rows but the first in each;
    unigram and five_gram: of models that counted the training rows, on the same tokens. bits_per_byte: of the loss, by
    the bytes that a token of the test documents stands for. repeated: the loss on random tokens that follow a random
    token, first: as they come for the first time, second: all of them once more; copying makes the second small."""

    rows: int
    documents: int
    loss: float
    bits_per_byte: float
    unigram: float
    five_gram: float
    repeated_first: float
    repeated_second: float


def export_text(folder: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Write the model of the training in `folder` to `model/`, as `transformers` reads it, with its tokenizer,
    `card.json` and `card.md`; what card.json holds.

    The figures are those of the rounded model, on test documents that no training sees. Raises ValueError if the
    training has steps to go or its text has changed, FileNotFoundError if there is none in `folder`.
    """
    config = settings(TextTraining, folder)
    trained = weights(finished(folder, config.how))
    words = corpus(folder, config, source(config.source))
    model = Logits(build(config.model, words.tokenizer))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(trained[name].bfloat16())
    train = words.rows("train")
    figures = score(model.to(device).eval(), words.tokenizer, train, words.rows("test"), config.model.n_positions)
    save(model.model, words.tokenizer, folder / "model")
    rows = log(folder)
    card = {
        "command": config.command,
        "model": asdict(config.model),
        "parameters": sum(p.numel() for p in model.parameters()),
        "pretraining": asdict(config.how),
        "batch": config.batch,
        "tokens_seen": config.how.steps * config.batch * config.model.n_positions,
        "source": files.read_json(folder / "source.json")
        | {"documents": train.documents, "tokens": train.tokens, "bytes": train.bytes},
        "hours": round(rows[-1]["seconds"] / 3600, 2) if rows else None,
        "machine": f"{machine(torch.device(device))}, Python {platform.python_version()}",
        "figures": asdict(figures),
        "files": hashes(sorted((folder / "model").iterdir())),
    }
    files.write_json(folder / "model" / "card.json", card)
    files.write_text(folder / "model" / "card.md", text(card))
    return card


def score(model: nn.Module, tokenizer: Tokenizer, train: Table, test: Table, n_positions: int) -> Fluency:
    """The figures of a model that maps tokens to logits: on all rows of `test`, beside what counting `train` gives."""
    counted, seen = (table.rows(torch.arange(len(table)))[0] for table in (train, test))
    loss = losses(model, seen).mean().item()
    first, second = repeated(model, tokenizer, n_positions)
    ends = test.documents if tokenizer.eos is not None else 0  # each document's end is predicted too
    return Fluency(
        rows=len(test),
        documents=test.documents,
        loss=loss,
        bits_per_byte=loss / math.log(2) * (test.tokens + ends) / test.bytes,
        unigram=ngram.fit(counted, tokenizer.size, n=1).loss(seen),
        five_gram=ngram.fit(counted, tokenizer.size, n=5).loss(seen),
        repeated_first=first,
        repeated_second=second,
    )


@torch.no_grad()
def losses(model: nn.Module, rows: Tensor) -> Tensor:
    """Nats that each token of `rows [G, S]` but the first of its row costs: `[G, S - 1]`."""
    device = next(model.parameters()).device
    found = []
    for part in rows.to(device).split(_ROWS):
        logits = model(part[:, :-1]).float().transpose(1, 2)
        found.append(F.cross_entropy(logits, part[:, 1:], reduction="none").cpu())
    return torch.cat(found)


def repeated(model: nn.Module, tokenizer: Tokenizer, n_positions: int) -> tuple[float, float]:
    """Mean loss, in nats, on random tokens (uniform, none of them special, seed 0) and on the same once more after
    them. Of either half without its first token, which no model could know (Olsson et al. 2022, arXiv 2209.11895)."""
    words = torch.tensor([id for id in range(tokenizer.size) if id not in tokenizer.specials])
    half = n_positions // 2
    drawn = words[torch.randint(len(words), (_REPEATED, half), generator=torch.Generator().manual_seed(0))]
    each = losses(model, torch.cat([drawn, drawn], dim=1))
    return each[:, : half - 1].mean().item(), each[:, half:].mean().item()


def text(card: dict[str, Any]) -> str:
    """A card as Markdown."""
    model, how, score, source = card["model"], card["pretraining"], card["figures"], card["source"]
    heads = "" if model["kind"] == "mamba" else f", {model['n_heads']} heads"
    hours = f", {card['hours']} hours" if card["hours"] is not None else ""
    return f"""# {model["kind"]}, {model["n_layers"]} layers of width {model["d_model"]}, of {source["source"]}

Predicts the next token of text: {card["parameters"]:,} parameters{heads}, {model["n_positions"]} positions,
{model["n_tokens"]:,} tokens (byte-level BPE, trained on the same text), head tied to the embedding, weights in
bfloat16, built and read by `transformers`.

Made by

    {card["command"]}

from {card["tokens_seen"]:,} tokens in {how["steps"]:,} steps, seed {how["seed"]}{hours}.
Machine: {card["machine"]}.
The text's training split has {source["documents"]:,} documents, {source["tokens"]:,} tokens and
{source["bytes"]:,} bytes (fingerprint `{source["fingerprint"]}`).

On {score["documents"]:,} held-out documents ({score["rows"]:,} rows, split "test"), the rounded weights:

| | |
|---|---|
| loss | {score["loss"]:.4f} nats a token |
| the same by bytes | {score["bits_per_byte"]:.4f} bits a byte |
| loss of a 5-gram model (Kneser-Ney) of the training split | {score["five_gram"]:.4f} nats a token |
| loss of a unigram model of it | {score["unigram"]:.4f} nats a token |
| loss on random tokens | {score["repeated_first"]:.4f} nats a token |
| loss on the same once more, after them | {score["repeated_second"]:.4f} nats a token |

{listed(card["files"])}
"""
