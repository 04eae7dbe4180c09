"""No byte of a view depends on chunks, interruptions or kills; a view that is current is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_runs import F, evaluate, games_run, text_run

from unweave.dashboards.build import build
from unweave.dashboards.columns import add_column
from unweave.dashboards.reading import View
from unweave.runs import Run

ROWS = 20

pytestmark = pytest.mark.usefixtures("small_parts")


def everything(view: View) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(view.folder.iterdir()) if path.is_file()}


@pytest.mark.parametrize("kind", ["games", "text"])
def test_chunks_and_interruptions_change_no_byte(kind: str, tmp_path: Path, cache: None) -> None:
    run = (games_run if kind == "games" else text_run)(tmp_path)
    whole = everything(build(run, n_rows=ROWS))
    assert everything(build(run, n_rows=ROWS, chunk=8, rebuild=True)) == whole
    (run.folder / "view" / "manifest.json").unlink()
    for stop in (1, 2, 5, 6):
        with pytest.raises(KeyboardInterrupt):
            build(run, n_rows=ROWS, chunk=8, rebuild=stop == 1, on_progress=after(stop))
        with pytest.raises(FileNotFoundError, match="is not finished: `unweave view"):
            View(run.folder)
    assert everything(build(run, n_rows=ROWS, chunk=8)) == whole


def after(n: int) -> Callable[[str, int, int], None]:
    """Stops a build at its n-th report."""
    left = n

    def stop(what: str, done: int, of: int) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt

    return stop


def test_a_killed_build_goes_on_where_it_was(tmp_path: Path) -> None:
    run = games_run(tmp_path)
    whole = everything(build(run, n_rows=90, chunk=64))
    program = (
        "import sys, torch; torch.set_num_threads(1); from unweave.runs import Run; "
        "from unweave.dashboards import collect; collect.PART, collect._BATCH, collect._BLOCK = 7, 100, 16; "
        "from unweave.dashboards.build import build; "
        f"build(Run({str(run.folder)!r}), n_rows=90, rebuild=True, on_progress=lambda *a: print(*a, flush=True))"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert child.stdout
    for _ in range(5):
        child.stdout.readline()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    before = {path.name: path.stat().st_mtime_ns for path in (run.folder / "view" / ".build").glob("codes-*")}
    assert 5 <= len(before) < 13
    (run.folder / "view" / "manifest.json").unlink()
    view = build(run, n_rows=90, chunk=64)
    assert everything(view) == whole


def test_a_view_that_is_current_is_left_as_it_is(games: Run) -> None:
    view = build(games, n_rows=ROWS)
    stamp = (view.folder / "pages.bin").stat().st_mtime_ns
    time.sleep(0.01)
    build(games, n_rows=ROWS)
    assert (view.folder / "pages.bin").stat().st_mtime_ns == stamp
    assert view.stale() == ""
    evaluate(games)
    assert "evaluated since" in view.stale()
    assert (build(games, n_rows=ROWS).folder / "pages.bin").stat().st_mtime_ns != stamp
    add_column(games.folder, "mine", np.arange(F))
    build(games, n_rows=12)
    assert len(View(games.folder).rows) == 12
    assert View(games.folder).column("mine").tolist() == list(range(F))


@pytest.mark.parametrize("moves", [0, 3, 6])
def test_a_build_stopped_while_it_is_put_in_place_loses_nothing(moves: int, games: Run, tmp_path: Path) -> None:
    """However many files had been moved, the next build has them all, and the columns that a person added."""
    build(games, n_rows=ROWS)
    add_column(games.folder, "mine", np.arange(F))
    whole = everything(build(games, n_rows=12))
    build(games, n_rows=ROWS)
    replace, left = os.replace, moves

    def stopping(source: Path, target: Path) -> None:
        nonlocal left
        if Path(source).parent.name == ".build" and Path(target).parent.name == "view":
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
        replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", stopping)
        with pytest.raises(KeyboardInterrupt):
            build(games, n_rows=12)
    with pytest.raises(FileNotFoundError, match="is not finished"):
        View(games.folder)
    assert everything(build(games, n_rows=12)) == whole
    assert View(games.folder).column("mine").tolist() == list(range(F))
