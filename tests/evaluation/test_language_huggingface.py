"""Models of the transformers library from their folder to scores, by the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_reader
import torch
from tiny_models import MODELS, subject_of
from tiny_reader import CONTEXT
from torch import Tensor
from typer.testing import CliRunner

from unweave.activations.corpus import corpus
from unweave.cli import app
from unweave.evaluation.language.group import says_what_comes_next
from unweave.runs import Run
from unweave.subject import load
from unweave.subject.huggingface import HuggingFace


def folder_of(name: str, home: Path, *, head: bool = True) -> str:
    """A model whose alphabet is the tiny tokenizer's and a little more, and that tokenizer beside it."""
    tokenizer = tiny_reader.words()
    model: Any = replace(MODELS[name], config={**MODELS[name].config, "vocab_size": tokenizer.size + 6}).build()
    (model if head else model.base_model).save_pretrained(home / "model")
    tokenizer.save(home / "model")
    return str(home / "model")


def verb(*arguments: str | Path) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("UNWEAVE_CACHE", str(tmp_path / "cache"))
    text = tiny_reader.write(tmp_path / "some.jsonl", tiny_reader.documents(600))
    small = ("data.sequences=32", f"data.context={CONTEXT}", "training.batch=64", "training.warmup=5")
    settings = [f"--set={setting}" for setting in small]
    return [f"--text={text}", "--steps=20", "--d-sae=24", "--method=topk(k=3)", *settings]


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox"])
def test_a_model_is_trained_on_and_scored(name: str, tmp_path: Path, options: list[str]) -> None:
    model, runs = folder_of(name, tmp_path), [tmp_path / "one", tmp_path / "two"]
    for run, site in zip(runs, ("attn_out.0", "mlp_out.0"), strict=True):
        verb("train", run, "--subject", model, "--site", site, *options)
    told = json.loads(verb("evaluate", *runs, "--rows", "16", "--control", "--json"))
    for of in told["runs"]:
        names = [row["name"] for row in of["rows"]]
        assert names == ["dictionary", "untrained", "PCA of 3", "shuffled subject"]
        scores = of["rows"][0]["scores"]
        assert 0 < scores["fvu/1"] < 2
        assert scores["kl/1"] > 0
        assert of["rows"][-1]["scores"]["ce/1"] != scores["ce/1"]
    subject, first = load(model), Run(runs[0])
    assert isinstance(subject, HuggingFace)
    rows = corpus(first.config.data, subject).sample("test", 16, 1)
    with torch.no_grad():
        logits = subject.model(rows.tokens).logits[:, :-1]
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows.tokens[:, 1:].flatten())
    assert told["runs"][0]["rows"][0]["scores"]["ce/1"] == pytest.approx(expected.item(), rel=1e-4)
    together = told["together"]["rows"][0]["scores"]["ce_spliced/1"]
    assert together == pytest.approx(by_hooks(subject, rows.tokens, rows.learn, name, runs), rel=1e-4)


def by_hooks(subject: HuggingFace, tokens: Tensor, learn: Tensor, name: str, runs: list[Path]) -> float:
    """The cross-entropy with both dictionaries in hooks of PyTorch's own."""
    model, (attention, mlp) = subject.model, (Run(run).dictionary() for run in runs)

    def spliced(d: Any, x: Tensor) -> Tensor:
        return torch.where(learn[..., None], d(x.flatten(0, 1)).view_as(x), x)

    block = model.transformer.h[0] if name == "gpt2" else model.gpt_neox.layers[0]
    attn = block.attn if name == "gpt2" else block.attention
    hooks = [
        attn.register_forward_hook(lambda _m, _i, out: (spliced(attention, out[0]), *out[1:])),
        block.mlp.register_forward_hook(lambda _m, _i, out: spliced(mlp, out)),
    ]
    with torch.no_grad():
        logits = model(tokens).logits[:, :-1]
    for hook in hooks:
        hook.remove()
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).item()


@pytest.mark.parametrize("head", [True, False])
def test_an_encoder_is_scored_by_what_is_rebuilt(head: bool, tmp_path: Path, options: list[str]) -> None:
    verb(
        "train", tmp_path / "run", "--subject", folder_of("bert", tmp_path, head=head), "--site=resid_post.0", *options
    )
    assert "does not predict the next token" in verb("evaluate", tmp_path / "run", "--rows", "16")
    evaluation = Run(tmp_path / "run").evaluation()
    assert evaluation is not None
    scores = evaluation["rows"][0]["scores"]
    assert scores["fvu/1"] > 0
    assert not [key for key in scores if key.startswith(("ce", "kl", "perplexity"))]


@pytest.mark.parametrize("name", ["bert", "bloom", "distilbert", "gpt2", "mamba", "mistral", "opt", "roberta"])
def test_which_of_them_say_what_comes_next(name: str) -> None:
    subject = subject_of(name)
    assert says_what_comes_next(subject, torch.arange(12)[None]) is (name not in ("bert", "distilbert", "roberta"))
