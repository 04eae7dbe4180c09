"""unweave view: builds what is not there, serves it, exports it; quickly where there is nothing to build."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import tiny_runs
from typer.testing import CliRunner

from unweave.cli import app
from unweave.dashboards.reading import View

MAIN = [sys.executable, "-c", "from unweave.cli import main; main()"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_runs.games_run(tmp_path_factory.mktemp("runs")).folder
    (folder.parent / "scores.csv").write_text("feature,clarity\n3,0.5\n")
    done = CliRunner().invoke(
        app,
        [
            "view",
            str(folder),
            "--rows",
            "9",
            "--column",
            str(folder.parent / "scores.csv"),
            "--export",
            str(folder.parent / "x"),
        ],
    )
    assert done.exit_code == 0, done.output
    return folder


def test_a_view_is_built_and_exported(run: Path, tmp_path: Path) -> None:
    assert len(View(run).rows) == 9
    assert View(run).column("clarity")[3] == 0.5
    stamp = (run / "view" / "pages.bin").stat().st_mtime_ns
    done = CliRunner().invoke(app, ["view", str(run), "--export", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert (run / "view" / "pages.bin").stat().st_mtime_ns == stamp, "what is current is not built again"
    assert (tmp_path / "out" / "data" / "games" / "pages.bin").is_file()
    assert json.loads((tmp_path / "out" / "runs.json").read_text())["runs"][0]["path"] == "games"


def test_it_answers_at_the_address_that_it_prints(run: Path) -> None:
    command = [*MAIN, "view", str(run), "--port", "0", "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as served:
        assert served.stdout
        assert served.stderr
        url = served.stdout.readline().split()[0]
        assert url.endswith("/#/d/games")
        with urllib.request.urlopen(url.partition("#")[0] + "data/games/manifest.json", timeout=20) as answer:
            assert json.load(answer)["d_sae"] == tiny_runs.F
        served.send_signal(signal.SIGINT)
        assert served.wait(20) == 0
        assert served.stderr.read() == ""


def test_what_is_built_is_served_without_torch(run: Path) -> None:
    program = (
        "import sys, uvicorn; from unweave.cli import main; "
        "uvicorn.Server.run = lambda *a, **k: print(sorted({'torch', 'numba', 'scipy'} & sys.modules.keys())); "
        f"sys.argv = ['unweave', 'view', {str(run)!r}, '--port', '0', '--no-open']; main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_elsewhere_the_address_has_a_token(run: Path) -> None:
    command = [*MAIN, "view", str(run.parent), "--port", "0", "--host", "0.0.0.0", "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as served:
        assert served.stdout
        url = served.stdout.readline().split()[0]
        assert len(url.partition("/?token=")[2]) >= 20
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(url.partition("?")[0].replace("0.0.0.0", "127.0.0.1"), timeout=20)
        served.send_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "there is no folder nothing"),
        ([".", "--rebuild"], "is a folder of runs: name one of them"),
        (["games", "--column", "nothing.csv", "--no-open"], "there is no file nothing.csv"),
        (["games", "--port", "1", "--host", "192.0.2.1", "--no-open"], "cannot answer at 192.0.2.1, port 1"),
    ],
)
def test_one_clear_sentence(run: Path, arguments: list[str], said: str) -> None:
    done = subprocess.run([*MAIN, "view", *arguments], capture_output=True, text=True, cwd=run.parent, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
