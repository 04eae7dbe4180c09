"""What the command line says when something is wrong: one sentence on stderr, exit status 1, no traceback."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from unweave.cli import app

MAIN = [sys.executable, "-c", "from unweave.cli import main; main()"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["evaluate", "nowhere"], "nowhere holds no trained dictionary"),
        (["report", "nowhere"], "there is no folder nowhere"),
        (["runs", "nowhere"], "there is no folder nowhere"),
        (["train", "x", "--set", "training.lr"], "write NAME=VALUE"),
        (["train", "x", "--set", "training.lrr=1"], "did you mean 'lr'"),
        (["train", "x", "--method", "topk(k=2000)"], "does not fit a dictionary of d_sae=1024"),
        (["train", "x", "--subject", "nothing/here"], "nothing/here"),
        (["train", "x", "--config", "no.json"], "there is no file no.json"),
        (["train", "x", "--site", ""], "a run needs a site"),
        (["train", "x", "--set", "training.gradient_norm=-1"], "training.gradient_norm must be at least 0"),
        (["train", "x", "--set", "training.lr=1e999"], "training.lr must be above 0"),
        (["train", "x", "--seed", "-1"], "seed must be at least 0"),
        (["demo", "x", "--games", "1"], "1 games cannot be halved"),
        (["demo", "x", "--set", "d_sae=64"], "d_sae cannot be set"),
        (["pretrain", "othello", "--out", "x", "--device", "tpu"], "there is no device 'tpu' here"),
    ],
)
def test_one_clear_sentence(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    done = subprocess.run([*MAIN, *arguments], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_a_run_without_a_folder_is_named_for_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}
    monkeypatch.setattr("unweave.runs.train", lambda runs, _: asked.update(runs) or sys.exit(0))
    for arguments in (["--subject", "models/llama", "--site", "mlp_out.2"], ["--method", "relu(l1=0.5)"]):
        CliRunner().invoke(app, ["train", *arguments])
    assert [str(folder) for folder in asked] == [
        "runs/llama-mlp_out.2-topk-k=64",
        "runs/othello-resid_post.0-relu-l1=0.5",
    ]
