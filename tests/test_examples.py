"""Each example runs, here on a small subject and for a few steps, and does what it says."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

from unweave.config import DataConfig, RunConfig, TrainingConfig, override
from unweave.dictionary.core import METHODS
from unweave.dictionary.own import call_of
from unweave.runs import train
from unweave.subject import GPT, GPTConfig, save
from unweave.training.properties import check

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


def example(name: str) -> dict[str, Any]:
    (path,) = [path for path in EXAMPLES if path.stem == name]
    return runpy.run_path(str(path))


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    """Of a run that takes a second, on a GPT with random weights."""
    save(GPT(GPTConfig(n_layers=1, d_model=16, n_heads=2)), tmp_path / "model")
    return RunConfig(
        subject=str(tmp_path / "model"),
        method="topk(k=4)",
        d_sae=32,
        data=DataConfig(sequences=64),
        training=TrainingConfig(steps=20, batch=256),
    )


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 60


def test_own_method() -> None:
    example_of = example("own_method")
    try:
        assert example_of["main"](steps=150) > 0.9
    finally:
        METHODS._builders.pop("thresholded")  # the common suite is run over the package's own methods only


def test_log_penalty() -> None:
    (path,) = [path for path in EXAMPLES if path.stem == "log_penalty"]
    try:
        check(call_of(f"{path}:log_penalty"))
    finally:
        METHODS._builders.pop("log_penalty")


def test_switch_off(config: RunConfig, tmp_path: Path) -> None:
    train({tmp_path / "run": config})
    changes = example("switch_off")["main"](tmp_path / "run", ply=10)
    assert len(changes) == 5
    before, after = torch.tensor([[float(p) for p in change.split(": ")[1].split(" -> ")] for change in changes]).T
    assert (before != after).any()


def test_train_and_score(config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = example("train_and_score")["main"](tmp_path / "run", config, games=40)
    assert page.stat().st_size > 1000
    assert "linear probe" in capsys.readouterr().out


def test_layers_ahead(config: RunConfig, tmp_path: Path) -> None:
    ahead = override(config, {"site": "mlp_in.0", "target": "mlp_in.0+mlp_out.0"})
    lines = example("layers_ahead")["main"](tmp_path, ahead, games=40)
    assert [line.split()[0] for line in lines] == ["ahead", "itself"]
    assert all("coverage_128/1 0." in line for line in lines)
