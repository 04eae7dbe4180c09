"""Training a language model: its rows, stopping and continuing bit for bit, what is kept, what is refused."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from itertools import islice, pairwise
from pathlib import Path

import pytest
import tiny_training
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import AutoModelForCausalLM

from unweave import files
from unweave.subject import SUBJECTS, Subject, TextShape, TextTraining, disk, load, pretrain_text
from unweave.subject.pretrain import Pretraining
from unweave.subject.text_model import SIZES, build, dimensions, matrices
from unweave.subject.text_training import batches, corpus
from unweave.subject.training_folder import log
from unweave.text.sources import source
from unweave.text.split import split_of
from unweave.text.tokenizer import Tokenizer, train

KINDS = ("gpt2", "mamba", "mixtral")


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> TextTraining:
    """Four steps, of which the model is kept after 1, 2 and 4."""
    whole = tiny_training.training(tiny_training.corpus(tmp_path_factory.mktemp("text") / "corpus.jsonl"))
    return replace(whole, how=replace(whole.how, steps=4), keep=3)


@pytest.fixture(scope="module", params=KINDS)
def finished(request: pytest.FixtureRequest, short: TextTraining, tmp_path_factory: pytest.TempPathFactory):
    """A training of each kind of model that was never stopped, and its folder."""
    config = replace(short, model=replace(short.model, kind=request.param))
    folder = tmp_path_factory.mktemp(request.param)
    assert [news.step for news in pretrain_text(folder, config)] == [1, 2, 3, 4]
    return config, folder


def contents(folder: Path) -> dict[str, bytes]:
    """All files that a training made, but for the log (times) and the checkpoint (a header in no order)."""
    parts = ("checkpoints/**/*", "tokenizer/*", "tokens/*.tokens")
    paths = (path for part in parts for path in folder.glob(part) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_stopped_and_continued_equals_never_stopped(finished: tuple[TextTraining, Path], tmp_path: Path) -> None:
    config, folder = finished
    training = pretrain_text(tmp_path, config)
    assert [news.step for news in islice(training, 3)] == [1, 2, 3]
    training.close()  # type: ignore[attr-defined]
    torch.rand(3)  # whatever else has drawn random numbers meanwhile
    assert [news.step for news in pretrain_text(tmp_path, config)] == [4]
    assert contents(tmp_path) == contents(folder)
    (ours, header), (theirs, same) = (files.read_tensors(at / "checkpoint.safetensors") for at in (tmp_path, folder))
    assert header == same
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    rows, uninterrupted = log(tmp_path), log(folder)
    assert [(row["step"], row["loss"]) for row in rows] == [(row["step"], row["loss"]) for row in uninterrupted]
    assert all(a["seconds"] < b["seconds"] for a, b in pairwise(rows))


def test_killed_in_the_middle_and_continued(short: TextTraining, tmp_path: Path) -> None:
    config = replace(short, how=replace(short.how, steps=1_000_000), keep=0)
    program = f"""
from pathlib import Path
from unweave.subject import *
from unweave.subject.training_folder import settings
folder = Path({str(tmp_path)!r})
for _ in pretrain_text(folder, settings(TextTraining, folder), checkpoint_every=2): pass
"""
    files.write_json(tmp_path / "config.json", asdict(config))
    child = subprocess.Popen([sys.executable, "-c", program])
    path = tmp_path / "checkpoint.safetensors"
    while not path.exists():  # however slow the machine is
        assert child.poll() is None
        time.sleep(0.05)
    time.sleep(0.2)
    child.send_signal(signal.SIGKILL)
    child.wait()
    reached = files.read_tensors(path)[1]["step"]  # whole, whenever the blow came
    assert reached % 2 == 0
    assert reached >= len(log(tmp_path)) - 2
    training = pretrain_text(tmp_path, config)
    assert next(training).step == reached + 1
    training.close()  # type: ignore[attr-defined]
    assert [row["step"] for row in log(tmp_path)] == [*range(1, reached + 2)]


def test_killed_while_the_text_was_prepared(short: TextTraining, tmp_path: Path) -> None:
    """The folder is claimed before anything else is written to it, and what is half-made there is made anew."""
    training = pretrain_text(tmp_path, short)
    next(training)
    training.close()  # type: ignore[attr-defined]
    tokenizer = contents(tmp_path)["tokenizer/tokenizer.json"]
    for path in [*tmp_path.glob("tokenizer/*"), *tmp_path.glob("checkpoint*"), *tmp_path.glob("tokens/*.tokens")]:
        path.unlink() if path.is_file() else None
    (tmp_path / "tokenizer").rmdir()
    (tmp_path / ".tokenizer.1.part").mkdir()
    next(pretrain_text(tmp_path, short))
    assert contents(tmp_path)["tokenizer/tokenizer.json"] == tokenizer


def test_the_models_that_are_kept(finished: tuple[TextTraining, Path]) -> None:
    config, folder = finished
    kept = sorted((folder / "checkpoints").iterdir())
    assert [path.name for path in kept] == ["step-000001", "step-000002", "step-000004"]
    last = files.read_tensors(folder / "checkpoint.safetensors")[0]
    models = [AutoModelForCausalLM.from_pretrained(path) for path in kept]
    assert all(type(model).__name__.lower().startswith(config.model.kind) for model in models)
    for name, p in models[-1].named_parameters():
        assert p.dtype == torch.bfloat16
        assert torch.equal(p, last[f"model.model.{name}"].bfloat16())
    assert any(not torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))
    assert Tokenizer.load(kept[0]).fingerprint == Tokenizer.load(folder / "tokenizer").fingerprint


@given(st.integers(1, 100_000), st.integers(0, 40))
def test_steps_to_keep_are_the_last_and_fewer_and_fewer_before_it(steps: int, keep: int) -> None:
    kept = TextTraining(how=Pretraining(steps=steps), keep=keep).kept
    assert kept == sorted(set(kept))
    assert len(kept) <= keep
    assert kept[-1:] == [steps][:keep]
    assert keep < 2 or kept[0] == 1
    assert all(1 <= step <= steps for step in kept)


def test_the_tokenizer_saw_the_training_split_only(finished: tuple[TextTraining, Path]) -> None:
    config, folder = finished
    documents = [*source(config.source).documents()]
    seen = [each for each in documents if split_of(each) == "train"]
    assert len(seen) < len(documents)
    found = Tokenizer.load(folder / "tokenizer").fingerprint
    assert found == train(iter(seen), 300).fingerprint
    assert found != train(iter(documents), 300).fingerprint


def test_rows_come_in_another_order_each_time_and_from_any_step_on(finished: tuple[TextTraining, Path]) -> None:
    config, folder = finished
    table = corpus(folder, config, source(config.source)).rows("train")
    stored = table.rows(torch.arange(len(table)))[0]
    steps = 2 * len(table) // config.batch + 2  # into the third time
    given = [*islice(batches(table, config)(0), steps)]
    assert all(x.shape == y.shape == (8, 32) and torch.equal(x[:, 1:], y[:, :-1]) for x, y in given)
    x, y = (torch.cat(each) for each in zip(*given, strict=True))
    rows = [tuple(row) for row in torch.cat([x, y[:, -1:]], dim=1).tolist()]
    n = len(table)
    whole = sorted(tuple(row) for row in stored.tolist())
    assert sorted(rows[:n]) == sorted(rows[n : 2 * n]) == whole
    assert rows[:n] != rows[n : 2 * n]
    for step in (1, steps - 2):
        again = next(batches(table, config)(step))
        assert torch.equal(again[0], given[step][0])
    other = replace(config, how=replace(config.how, seed=1))
    assert not torch.equal(next(batches(table, other)(0))[0], given[0][0])


@pytest.mark.parametrize(("kind", "each"), [("gpt2", 4), ("mamba", 4), ("mixtral", 6)])
def test_muon_has_the_matrices_of_the_blocks(kind: str, each: int, finished: tuple[TextTraining, Path]) -> None:
    model = build(replace(tiny_training.SHAPE, kind=kind), Tokenizer.load(finished[1] / "tokenizer"))
    chosen = {id(p) for p in matrices(model)}
    assert len(chosen) == 2 * each
    linear = ("Linear", "Conv1D")
    within = [m.weight for m in model.modules() if type(m).__name__ in linear and isinstance(m.weight, nn.Parameter)]
    head = model.get_output_embeddings().weight  # type: ignore[operator]
    assert {id(p) for p in within if p is not head} <= chosen
    assert id(head) not in chosen


def test_another_training_in_the_folder_or_another_text_is_refused(short: TextTraining, tmp_path: Path) -> None:
    text = tiny_training.corpus(tmp_path / "corpus.jsonl")
    config, folder = replace(short, source=str(text)), tmp_path / "model"
    next(pretrain_text(folder, config))
    before = contents(folder)
    with pytest.raises(
        ValueError, match=r"belongs to another training, `unweave pretrain text --shape gpt2 --layers 2"
    ):
        next(pretrain_text(folder, replace(config, batch=9)))
    with pytest.raises(ValueError, match=r"holds a training with other settings \(pretraining.seed is 0 there, 1 here"):
        next(pretrain_text(folder, replace(config, how=replace(config.how, seed=1))))
    text.write_text(text.read_text() + '{"text": "more"}\n')
    with pytest.raises(ValueError, match=r"made with other settings \(fingerprint is '"):
        next(pretrain_text(folder, config))
    assert contents(folder) == before
    with pytest.raises(ValueError, match="exists and holds no training"):
        next(pretrain_text(tmp_path, config))
    with pytest.raises(FileNotFoundError, match="no file or folder nothing"):
        next(pretrain_text(tmp_path / "new", replace(config, source="nothing.txt")))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        ({"kind": "gtp2"}, "no shape is called 'gtp2'; did you mean 'gpt2'"),
        ({"n_layers": 0}, "n_layers must be at least 1, not 0"),
        ({"n_heads": 5}, "d_model 256 does not give 5 heads of an even width"),
        ({"n_positions": 1}, "n_positions must be at least 2, not 1"),
        ({"n_tokens": 256}, "n_tokens must be at least 257, not 256"),
    ],
)
def test_bad_shapes_are_refused(bad: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        TextShape(**bad)  # type: ignore[arg-type]


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="batch must be at least 1, not 0"):
        TextTraining(batch=0)
    with pytest.raises(ValueError, match="keep must be at least 0, not -1"):
        TextTraining(keep=-1)
    with pytest.raises(ValueError, match="no size is called 'midle'; did you mean 'middle'"):
        dimensions("midle")
    assert dimensions("large", width=96) == {"n_layers": 6, "d_model": 96, "n_heads": 8}


def test_the_middle_size_goes_into_the_repository() -> None:
    """Fourteen million bytes in bfloat16, with half a million of them for the tokenizer and the card."""
    parameters = {}
    for size, (n_layers, d_model, _) in SIZES.items():
        block = 12 * d_model**2 + 13 * d_model
        parameters[size] = n_layers * block + (4096 + 256 + 2) * d_model
    assert parameters["small"] < parameters["middle"] < parameters["large"]
    assert 2 * parameters["middle"] + 500_000 < 14_000_000


def test_what_is_kept_is_a_subject(finished: tuple[TextTraining, Path]) -> None:
    config, folder = finished
    where = folder / "checkpoints" / "step-000002"
    subject, model = load(str(where)), AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32)
    tokens = torch.randint(1, 300, (2, 32))
    assert isinstance(subject, Subject)
    assert torch.equal(subject.run(tokens), model(input_ids=tokens).logits)
    assert subject.read(tokens, ["resid_post.1"])["resid_post.1"].shape == (2, 32, config.model.d_model)


def test_the_bundled_model_is_found(
    finished: tuple[TextTraining, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "text").symlink_to(finished[1] / "checkpoints" / "step-000004")
    monkeypatch.setattr(disk, "package_files", lambda _: tmp_path)
    there = load(str(finished[1] / "checkpoints" / "step-000004"))
    tokens = torch.randint(1, 300, (2, 32))
    assert torch.equal(load("text()").run(tokens), there.run(tokens))


def test_without_the_bundled_model_it_is_said_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "package_files", lambda _: tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no bundled language model: .* `unweave pretrain text --out models/"):
        load("text()")
    assert "text" in SUBJECTS
