"""Training an OthelloGPT: the source, the loss, stopping and continuing, the finished model and its card."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import replace
from itertools import islice, pairwise, repeat
from pathlib import Path

import pytest
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unweave import files
from unweave.othello import games, labels, tokens
from unweave.subject import (
    GPT,
    GPTConfig,
    OthelloTraining,
    Pretraining,
    export,
    load,
    othello_training,
    pretrain_othello,
)
from unweave.subject.pretrain import IGNORED, cross_entropy, optimisers, pretrain
from unweave.subject.training_folder import log, settings

TINY = OthelloTraining(
    gpt=GPTConfig(n_layers=2, d_model=16, n_heads=2), how=Pretraining(steps=5, warmup=2, micro_batch=6), batch=8
)


def final(folder: Path) -> dict[str, Tensor]:
    return files.read_tensors(folder / "checkpoint.safetensors")[0]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def matrices(model: GPT) -> list[nn.Parameter]:
    return [p for p in model.blocks.parameters() if p.ndim == 2]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    losses = [news.loss for news in pretrain_othello(folder, TINY)]
    assert len(losses) == 5
    assert losses[-1] < losses[0]
    return folder


def test_the_source_gives_games_and_what_follows_each_move() -> None:
    x, y = next(othello_training.batches(TINY)(3))
    assert isinstance(x, Int[Tensor, "8 59"])
    assert isinstance(y, Float[Tensor, "8 59 61"])
    moves = next(games.stream("train", 0, batch=8, skip=3))
    assert torch.equal(x, tokens.encode(moves)[:, :59])
    assert torch.equal(y, labels.next_move_distribution(moves)[:, :59])
    sampled = othello_training.targets(moves, "sampled")
    assert torch.equal(sampled.argmax(-1), tokens.encode(moves)[:, 1:])
    assert torch.equal(sampled.sum(-1) > 0, tokens.encode(moves)[:, 1:] != tokens.PAD)
    assert (y[sampled > 0] > 0).all()  # what was played was legal


def test_cross_entropy_is_torchs_over_the_rows_that_count() -> None:
    logits, ids = torch.randn(2, 3, 5), torch.tensor([[1, 2, 0], [4, 0, 0]])
    targets = torch.nn.functional.one_hot(ids, 5).float() * (ids > 0).unsqueeze(-1)
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids.flatten(), ignore_index=0)
    assert torch.allclose(cross_entropy(logits, targets), expected)
    assert cross_entropy(logits, targets * 0) == 0
    as_ids = torch.where(ids > 0, ids, IGNORED)
    assert torch.allclose(cross_entropy(logits, as_ids), expected)
    assert cross_entropy(logits, torch.full_like(ids, IGNORED)) == 0


def test_micro_batches_change_nothing_but_rounding(tmp_path: Path) -> None:
    x, y = torch.randint(61, (8, 20)), torch.rand(8, 20, 61).softmax(-1)
    y[5:, 10:] = 0  # rows that do not count, not equally many in each part
    losses = []
    for size in (8, 3):
        torch.manual_seed(0)
        how = Pretraining(steps=3, warmup=1, micro_batch=size)
        model = GPT(TINY.gpt)
        training = pretrain(
            model, matrices(model), lambda _step: repeat((x, y)), how, tmp_path / str(size), shape={"width": 16}
        )
        losses.append([news.loss for news in training])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_muon_has_the_blocks_matrices_and_adamw_the_rest() -> None:
    model = GPT(TINY.gpt)
    muon, adamw = (
        [p for group in optim.param_groups for p in group["params"]]
        for optim in optimisers(model, matrices(model), TINY.how)
    )
    assert len(muon) == 2 * 6
    assert all(p.ndim == 2 for p in muon)
    assert {id(p) for p in muon + adamw} == {id(p) for p in model.parameters()}


def test_stopped_and_continued_equals_never_stopped(whole: Path, tmp_path: Path) -> None:
    training = pretrain_othello(tmp_path, TINY, checkpoint_every=2)
    assert [news.step for news in islice(training, 1)] == [1]
    training.close()  # type: ignore[attr-defined]
    assert files.read_tensors(tmp_path / "checkpoint.safetensors")[1]["step"] == 1
    torch.rand(3)  # whatever else has drawn random numbers meanwhile
    assert [news.step for news in pretrain_othello(tmp_path, TINY)] == [2, 3, 4, 5]
    assert same(final(tmp_path), final(whole))
    rows, uninterrupted = log(tmp_path), log(whole)
    assert [(row["step"], row["loss"]) for row in rows] == [(row["step"], row["loss"]) for row in uninterrupted]
    assert all(a["seconds"] < b["seconds"] for a, b in pairwise(rows))


def test_a_crash_loses_only_what_the_last_checkpoint_had_not(whole: Path, tmp_path: Path) -> None:
    training = pretrain_othello(tmp_path, TINY, checkpoint_every=2)
    for _ in range(2):
        next(training)
    at_two = (tmp_path / "checkpoint.safetensors").read_bytes()
    next(training)
    training.close()  # type: ignore[attr-defined]
    (tmp_path / "checkpoint.safetensors").write_bytes(at_two)  # as if it had been killed in step 3,
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"step": 4, "lo')  # in the middle of writing a line
    assert [news.step for news in pretrain_othello(tmp_path, TINY)] == [3, 4, 5]
    assert same(final(tmp_path), final(whole))
    assert [row["step"] for row in log(tmp_path)] == [1, 2, 3, 4, 5]


def test_killed_in_the_middle_and_continued(tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from unweave.subject import *
how = OthelloTraining(gpt=GPTConfig(n_layers=2, d_model=16, n_heads=2), how=Pretraining(steps=1000000), batch=8)
for _ in pretrain_othello(Path({str(tmp_path)!r}), how, checkpoint_every=1): pass
"""
    child = subprocess.Popen([sys.executable, "-c", program])
    path = tmp_path / "checkpoint.safetensors"
    while not path.exists():  # however slow the machine is
        assert child.poll() is None
        time.sleep(0.05)
    time.sleep(0.2)
    child.send_signal(signal.SIGKILL)
    child.wait()
    reached = files.read_tensors(path)[1]["step"]  # whole, whenever the blow came
    how = OthelloTraining(gpt=TINY.gpt, how=Pretraining(steps=1000000), batch=8)
    training = pretrain_othello(tmp_path, how)
    assert next(training).step == reached + 1
    training.close()  # type: ignore[attr-defined]


def test_what_is_done_at_a_step_is_done_before_its_checkpoint(tmp_path: Path) -> None:
    model, path, seen = GPT(TINY.gpt), tmp_path / "checkpoint.safetensors", []

    def at_step(step: int) -> None:
        seen.append((step, files.read_tensors(path)[1]["step"] if path.exists() else 0))

    source = othello_training.batches(TINY)
    training = pretrain(
        model, matrices(model), source, TINY.how, tmp_path, shape={}, checkpoint_every=2, at_step=at_step
    )
    assert len([*training]) == 5
    assert seen == [(1, 0), (2, 0), (3, 2), (4, 2), (5, 4)]


def test_another_training_in_the_folder_is_refused(whole: Path, tmp_path: Path) -> None:
    other = OthelloTraining(gpt=TINY.gpt, how=TINY.how, batch=8, targets="sampled")
    with pytest.raises(ValueError, match=r"belongs to another training, `unweave pretrain othello --steps 5 .* exact`"):
        next(pretrain_othello(whole, other))
    next(pretrain_othello(tmp_path, TINY))
    (tmp_path / "config.json").unlink()
    wider = OthelloTraining(gpt=GPTConfig(n_layers=2, d_model=32, n_heads=2), how=TINY.how, batch=8)
    with pytest.raises(ValueError, match="a training with other settings"):
        next(pretrain_othello(tmp_path, wider))
    assert not (tmp_path / "config.json").exists()


def test_bad_settings_files_and_losses_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="exact or sampled, not 'soft'"):
        OthelloTraining(targets="soft")
    with pytest.raises(ValueError, match="batch must be at least 1"):
        OthelloTraining(batch=0)
    with pytest.raises(ValueError, match="steps must be at least 1"):
        Pretraining(steps=0)
    with pytest.raises(ValueError, match="lr must be above 0"):
        Pretraining(lr=0.0)
    model = GPT(TINY.gpt)
    model.positions.data.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="the loss is nan at step 0"):
        next(pretrain(model, matrices(model), othello_training.batches(TINY), TINY.how, tmp_path / "nan", shape={}))
    (tmp_path / "checkpoint.safetensors").write_bytes(b"half")
    with pytest.raises(ValueError, match="damaged, half-written"):
        next(pretrain_othello(tmp_path, TINY))
    files.write_tensors(tmp_path / "checkpoint.safetensors", {"a": torch.ones(1)})
    with pytest.raises(ValueError, match="is no checkpoint of a pretraining"):
        next(pretrain_othello(tmp_path, TINY))


def test_the_finished_model_and_its_card(whole: Path) -> None:
    card = export(whole, n_games=30)
    assert card == json.loads((whole / "card.json").read_text())
    assert card["command"].startswith(
        "unweave pretrain othello --steps 5 --lr 0.003 --decay 0.5 --batch 8 --layers 2 --width 16"
    )
    assert card["games_seen"] == 40
    assert card["figures"]["games"] == 30
    assert card["figures"]["illegal_rate"] > 0.1
    stored = (whole / "model.safetensors").read_bytes()
    assert card["files"]["model.safetensors"] == {"bytes": len(stored), "sha256": hashlib.sha256(stored).hexdigest()}
    model, trained = load(str(whole)), final(whole)
    assert isinstance(model, GPT)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, trained[f"model.{name}"].bfloat16().float())
    text = (whole / "card.md").read_text()
    assert card["files"]["model.safetensors"]["sha256"] in text
    assert f"{card['figures']['cross_entropy']:.4f} nats" in text


def test_a_training_that_starts_from_another_ones_weights(whole: Path, tmp_path: Path) -> None:
    before = export(whole, n_games=10)
    second = replace(TINY, how=replace(TINY.how, seed=9), start=str(whole))
    first_step = next(pretrain_othello(tmp_path, second))
    inputs, targets = next(othello_training.batches(second)(0))
    model = load(str(whole))
    assert first_step.loss == pytest.approx(cross_entropy(model.run(inputs), targets).item(), abs=1e-5)
    deque(pretrain_othello(tmp_path, second), maxlen=0)
    card = export(tmp_path, n_games=10)
    assert card["start"] == before
    assert card["games_seen"] == 80
    assert card["hours"] >= before["hours"]
    text = (tmp_path / "card.md").read_text()
    assert text.index(before["command"]) < text.index(card["command"])
    assert card["command"].endswith(f"--seed 9 --targets exact --start {whole}")
    assert settings(OthelloTraining, tmp_path) == second


def test_a_folder_with_somebody_elses_model_is_left_alone(whole: Path, tmp_path: Path) -> None:
    export(whole, n_games=10)
    (tmp_path / "model.safetensors").write_bytes((whole / "model.safetensors").read_bytes())
    with pytest.raises(ValueError, match="exists and holds no training: choose another folder"):
        next(pretrain_othello(tmp_path, TINY))
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_weights_to_start_from_that_do_not_fit_are_refused(whole: Path, tmp_path: Path) -> None:
    export(whole, n_games=10)
    wider = replace(TINY, gpt=GPTConfig(n_layers=2, d_model=32, n_heads=2), start=str(whole))
    with pytest.raises(ValueError, match="holds a model of another shape"):
        next(pretrain_othello(tmp_path / "a", wider))
    with pytest.raises(FileNotFoundError, match="no model in"):
        next(pretrain_othello(tmp_path / "b", replace(TINY, start=str(tmp_path))))
    assert not list(tmp_path.iterdir()), "the folder is free for the right command"


def test_an_unfinished_training_is_not_exported(tmp_path: Path) -> None:
    next(pretrain_othello(tmp_path, TINY))
    with pytest.raises(ValueError, match="has done 1 of 5 steps: finish it first"):
        export(tmp_path)
    with pytest.raises(FileNotFoundError):
        export(tmp_path / "nowhere")


@pytest.mark.slow
def test_the_bundled_subjects_training_begins_as_it_did(tmp_path: Path) -> None:
    """Initial weights, order of games and optimiser are what its card's command stands for (losses recorded then)."""
    how = Pretraining(steps=3000, lr=3e-3, decay=0.65, seed=0)
    training = pretrain_othello(tmp_path, OthelloTraining(how=how))
    assert [news.loss for news in islice(training, 2)] == pytest.approx([4.164056, 4.159946], abs=2e-5)
