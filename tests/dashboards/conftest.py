"""The two runs of `tiny_runs`, anew for every test; builders that work in small parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_runs

from unweave.dashboards import collect
from unweave.runs import Run


@pytest.fixture(scope="module")
def small_parts() -> Iterator[None]:
    """Several parts, batches and blocks where otherwise there would be one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(collect, "PART", 7)
        patch.setattr(collect, "_BATCH", 100)
        patch.setattr(collect, "_BLOCK", 16)
        for module in ("build", "neighbours", "pages"):
            patch.setattr(f"unweave.dashboards.{module}.BLOCK", 8)
        yield


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNWEAVE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def games(tmp_path: Path) -> Run:
    return tiny_runs.games_run(tmp_path)


@pytest.fixture
def text(tmp_path: Path, cache: None) -> Run:
    return tiny_runs.text_run(tmp_path)
