"""`unweave pretrain othello` from end to end, on a tiny model."""

from __future__ import annotations

import importlib
import json
import os
import signal
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from unweave.subject import card
from unweave.subject.pretrain import Progress

verb = importlib.import_module("unweave.cli.pretrain")  # the package has a function of the same name
app = typer.Typer()
app.command()(verb.pretrain)
TINY = ["othello", "--layers", "1", "--width", "8", "--heads", "1", "--batch", "4", "--threads", "1"]


@pytest.fixture(autouse=True)
def _few_games(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verb, "export", lambda folder, device: card.export(folder, device, n_games=10))


def test_trains_then_only_exports(tmp_path: Path) -> None:
    arguments = [*TINY, "--steps", "2", "--out", str(tmp_path), "--json"]
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
    inner = verb.pretrain_othello

    def interrupted(folder, config, device):
        training = inner(folder, config, device)
        try:
            for news in training:
                if news.step == 2:
                    os.kill(os.getpid(), signal.SIGINT)
                yield Progress(news.step, news.loss, news.seconds)
        finally:
            training.close()  # type: ignore[attr-defined]

    monkeypatch.setattr(verb, "pretrain_othello", interrupted)
    arguments = [*TINY, "--steps", "3", "--out", str(tmp_path), "--json"]
    stopped = CliRunner().invoke(app, arguments)
    assert stopped.exit_code == 130
    assert "stopped after step 2 of 3; to continue: unweave pretrain othello --steps 3" in stopped.stderr
    assert not (tmp_path / "model.safetensors").exists()
    monkeypatch.setattr(verb, "pretrain_othello", inner)
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [1, 2, 3]


def test_help_shows_an_example() -> None:
    assert "unweave pretrain othello --out" in CliRunner().invoke(app, ["--help"]).stdout


def test_unknown_subject() -> None:
    with pytest.raises(ValueError, match="cannot pretrain 'othelo'; did you mean 'othello'"):
        CliRunner().invoke(app, ["othelo"], catch_exceptions=False)
