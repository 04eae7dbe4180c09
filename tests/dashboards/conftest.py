"""The two runs of `tiny_runs`, anew for every test."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_runs

from unweave.runs import Run


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNWEAVE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def games(tmp_path: Path) -> Run:
    return tiny_runs.games_run(tmp_path)


@pytest.fixture
def text(tmp_path: Path, cache: None) -> Run:
    return tiny_runs.text_run(tmp_path)
