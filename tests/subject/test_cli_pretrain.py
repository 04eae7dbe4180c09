"""`unweave pretrain othello` and `unweave pretrain text` from end to end, on tiny models."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tiny_training
from typer.testing import CliRunner

from unweave.cli import app
from unweave.subject import card, othello_training, text_training
from unweave.subject.pretrain import Progress

OTHELLO = ["pretrain", "othello", "--layers", "1", "--width", "8", "--heads", "1", "--batch", "4", "--threads", "1"]
TEXT = ["pretrain", "text", "--layers", "1", "--width", "16", "--heads", "2", "--batch", "4", "--threads", "1"]


@pytest.fixture(autouse=True)
def _few_games(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "export", partial(card.export, n_games=10))


def interrupted(inner: Callable[..., Iterator[Progress]]) -> Callable[..., Iterator[Progress]]:
    """A training in whose second step somebody presses Ctrl-C."""

    def training(*arguments: Any) -> Iterator[Progress]:
        steps = inner(*arguments)
        try:
            for news in steps:
                if news.step == 2:
                    os.kill(os.getpid(), signal.SIGINT)
                yield news
        finally:
            steps.close()  # type: ignore[attr-defined]

    return training


def test_trains_then_only_exports(tmp_path: Path) -> None:
    arguments = [*OTHELLO, "--steps", "2", "--out", str(tmp_path), "--json"]
    first = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert first.exit_code == 0
    assert json.loads(first.stdout)["games_seen"] == 8
    (tmp_path / "model.safetensors").unlink()
    again = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert json.loads(again.stdout) == json.loads(first.stdout)
    assert (tmp_path / "model.safetensors").exists()
    table = CliRunner().invoke(app, arguments[:-1], catch_exceptions=False)
    assert "top-1 illegal rate" in table.stdout


def test_ctrl_c_finishes_the_step_and_says_how_to_continue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [*OTHELLO, "--steps", "3", "--out", str(tmp_path), "--json"]
    with monkeypatch.context() as patched:
        patched.setattr(othello_training, "pretrain_othello", interrupted(othello_training.pretrain_othello))
        stopped = CliRunner().invoke(app, arguments)
    assert stopped.exit_code == 130
    assert "stopped after step 2 of 3; to continue: unweave pretrain othello --steps 3" in stopped.stderr
    assert not (tmp_path / "model.safetensors").exists()
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [1, 2, 3]


def test_a_language_model_by_its_own_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, out = tiny_training.corpus(tmp_path / "corpus.jsonl"), tmp_path / "out"
    settings = ["--source", str(text), "--context", "16", "--vocabulary", "300", "--steps", "3", "--keep", "2"]
    arguments = [*TEXT, *settings, "--out", str(out)]
    with monkeypatch.context() as patched:
        patched.setattr(text_training, "pretrain_text", interrupted(text_training.pretrain_text))
        stopped = CliRunner().invoke(app, arguments)
    assert stopped.exit_code == 130
    assert "stopped after step 2 of 3; to continue: unweave pretrain text --shape gpt2 --layers 1" in stopped.stderr
    assert not (out / "model").exists()
    table = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "on 9 held-out documents" in table.stdout
    assert "loss of a 5-gram model" in table.stdout
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["step-000001", "step-000003"]
    made = json.loads((out / "model" / "card.json").read_text())
    own = [*made["command"].split()[1:], "--out", str(out), "--threads", "1", "--json"]
    again = CliRunner().invoke(app, own, catch_exceptions=False)  # the same training: there is nothing left to do
    assert json.loads(again.stdout) == made


def test_help_shows_examples() -> None:
    assert "unweave pretrain othello --out" in CliRunner().invoke(app, ["pretrain", "othello", "--help"]).stdout
    assert "unweave pretrain text --out" in CliRunner().invoke(app, ["pretrain", "text", "--help"]).stdout
    both = CliRunner().invoke(app, ["pretrain", "--help"]).stdout
    assert "Example" in both
    assert "othello" in both
    assert "unweave pretrain text" in both


def test_unknown_subjects_sizes_and_shapes() -> None:
    unknown = CliRunner().invoke(app, ["pretrain", "othelo"])
    assert unknown.exit_code == 2
    assert "othelo" in unknown.stderr
    with pytest.raises(ValueError, match="no size is called 'huge'; there are large, middle, small"):
        CliRunner().invoke(app, ["pretrain", "text", "--size", "huge"], catch_exceptions=False)
    with pytest.raises(ValueError, match="no shape is called 'gpt'; did you mean 'gpt2'"):
        CliRunner().invoke(app, ["pretrain", "text", "--shape", "gpt"], catch_exceptions=False)
