"""Runs: trained side by side, taken up after kill -9, refused when they cannot be."""

import errno
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from unweave import files, runs
from unweave.cli import app
from unweave.config import RunConfig, override
from unweave.runs import Run
from unweave.subject import disk
from unweave.subject.gpt import GPT, GPTConfig

SMALL = {
    "training.steps": 60,
    "training.batch": 128,
    "training.checkpoint_every": 10,
    "training.log_every": 5,
    "data.sequences": 32,
}


@pytest.fixture(scope="module")
def subject(tmp_path_factory) -> str:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("subject")
    disk.save(GPT(GPTConfig(n_layers=2, d_model=16, n_heads=2)), folder)
    return str(folder)


def config(subject: str, **settings) -> RunConfig:
    return override(RunConfig(subject=subject, method="topk(k=4)", d_sae=32), SMALL | settings)


def weights(folder: Path) -> dict:
    return files.read_tensors(folder / "sae.safetensors")[0]


def same(a: Path, b: Path) -> bool:
    one, two = weights(a), weights(b)
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def test_a_run_folder_holds_all_there_is(subject, tmp_path) -> None:
    reports = []
    (run,) = runs.train({tmp_path / "a": config(subject)}, reports.append)
    assert sorted(p.name for p in run.folder.iterdir()) == [
        "card.md",
        "config.json",
        "metrics.jsonl",
        "sae.safetensors",
    ]
    assert [line["step"] for line in run.metrics()] == list(range(5, 61, 5)) == [r.values["step"] for r in reports]
    assert run.config == config(subject)
    assert run.dictionary().d_sae == 32
    assert run.evaluation() is None
    assert "topk(k=4) on resid_post.0" in (run.folder / "card.md").read_text()
    assert [r.folder for r in runs.find(tmp_path)] == [run.folder]


def test_side_by_side_equals_one_by_one(subject, tmp_path) -> None:
    other = {"method": "batch_topk(k=3)", "site": "mlp_act.1", "training.steps": 40}
    runs.train({tmp_path / "a": config(subject), tmp_path / "b": config(subject, **other)})
    runs.train({tmp_path / "c": config(subject)})
    runs.train({tmp_path / "d": config(subject, **other)})
    assert same(tmp_path / "a", tmp_path / "c")
    assert same(tmp_path / "b", tmp_path / "d")


@pytest.mark.parametrize("objective", ["squared()", "kl(squared=0.1)"])
def test_kill_9_and_the_same_command_again_give_the_same_weights(subject, tmp_path, objective) -> None:
    """Killed as soon as a checkpoint is there, again and again; the last process finishes."""
    settings = {"training.steps": 300, "objective": objective}
    runs.train({tmp_path / "whole": config(subject, **settings)})
    arguments = [f"--set={k}={v}" for k, v in (SMALL | settings).items()]
    command = [sys.executable, "-c", "from unweave.cli import main; main()", "train", str(tmp_path / "killed")]
    command += ["--subject", subject, "--method", "topk(k=4)", "--d-sae", "32", *arguments]
    state, seen = tmp_path / "killed" / "checkpoint" / "state.safetensors", 0.0
    for _ in range(2):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 600
        while (
            process.poll() is None
            and time.monotonic() < deadline
            and not (state.exists() and state.stat().st_mtime > seen)
        ):
            time.sleep(0.01)
        assert process.poll() is None, "it must be killed in the middle"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        seen = state.stat().st_mtime
        assert not Run(tmp_path / "killed").trained
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert same(tmp_path / "whole", tmp_path / "killed")
    steps = [line["step"] for line in Run(tmp_path / "killed").metrics()]
    assert steps == list(range(5, 301, 5)), "no report is lost or doubled"


def test_a_group_whose_members_stopped_at_different_steps_is_taken_up(subject, tmp_path, monkeypatch) -> None:
    jobs = {
        tmp_path / "a": config(subject),
        tmp_path / "b": config(subject, seed=1, **{"training.checkpoint_every": 25}),
    }

    def stop(report: runs.Report) -> None:
        if report.values["step"] == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runs.train(jobs, stop)
    runs.train(jobs)
    runs.train(
        {tmp_path / "c": config(subject), tmp_path / "d": config(subject, seed=1, **{"training.checkpoint_every": 25})}
    )
    assert same(tmp_path / "a", tmp_path / "c")
    assert same(tmp_path / "b", tmp_path / "d")


def test_what_goes_wrong_with_one_stream_stops_the_others(subject, tmp_path) -> None:
    endless = config(f"control(of={subject!r}, seed=0)", **{"training.steps": 1_000_000})

    def fail(report: runs.Report) -> None:
        if report.run.name == "a":
            raise FloatingPointError("as a loss would")

    with pytest.raises(FloatingPointError, match="as a loss would"):
        runs.train({tmp_path / "a": config(subject), tmp_path / "b": endless}, fail)
    assert not Run(tmp_path / "b").trained


def test_a_finished_run_is_left_as_it_is(subject, tmp_path) -> None:
    runs.train({tmp_path / "a": config(subject)})
    before = (tmp_path / "a" / "sae.safetensors").stat().st_mtime_ns
    runs.train({tmp_path / "a": config(subject)})
    assert (tmp_path / "a" / "sae.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"site": "resid_pots.0"}, "resid_p(re|ost)"),
        ({"site": "resid_post.7"}, "2 layers|layers 0 (to|and) 1|resid_post"),
        ({"method": "topk(k=33)"}, "does not fit a dictionary of d_sae=32"),
        ({"method": "topkk(k=3)"}, "did you mean 'topk'"),
        ({"normalise": "center"}, "choose one of none, scale, centre"),
        ({"b_dec": "median"}, "choose one of none, zero, mean, geometric_median"),
        ({"revive": "ghosts"}, "no revival is called 'ghosts'"),
        ({"subject": "otello()"}, "did you mean 'othello'"),
        ({"training.batch": 100000}, "needs more rows at a time"),
    ],
)
def test_a_config_that_cannot_be_is_refused(subject, tmp_path, settings, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        runs.train({tmp_path / "a": override(config(subject), settings)})


def test_a_folder_that_holds_something_else_is_refused(subject, tmp_path) -> None:
    runs.train({tmp_path / "a": config(subject)})
    with pytest.raises(ValueError, match=r"training\.steps is 60 there, 61 here.*choose another folder"):
        runs.train({tmp_path / "a": config(subject, **{"training.steps": 61})})
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("Dear")
    with pytest.raises(ValueError, match="exists and is not a run"):
        runs.train({tmp_path / "letters": config(subject)})
    assert (tmp_path / "letters" / "dear.txt").read_text() == "Dear"


def test_a_full_disk_is_told_and_the_last_checkpoint_stays(subject, tmp_path, monkeypatch) -> None:
    whole = files.write_tensors

    def full(path: Path, *rest) -> None:
        if path.name == "state.safetensors" and path.exists():
            monkeypatch.setattr(
                "safetensors.torch.save_file",
                lambda *_a, **_k: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")),
            )
        whole(path, *rest)

    monkeypatch.setattr(files, "write_tensors", full)
    with pytest.raises(OSError, match=r"could not write .*state.safetensors.*No space left.*untouched"):
        runs.train({tmp_path / "a": config(subject)})
    monkeypatch.undo()
    assert files.read_tensors(tmp_path / "a" / "checkpoint" / "state.safetensors")[1]["step"] == 10
    runs.train({tmp_path / "a": config(subject), tmp_path / "b": config(subject)})
    assert same(tmp_path / "a", tmp_path / "b")


def test_a_disk_that_is_full_at_the_start_leaves_a_folder_that_can_go_on(subject, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "a"

    def full(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_text", full)
        with pytest.raises(OSError, match="No space"):
            runs.train({folder: config(subject)})
    folder.mkdir(exist_ok=True)
    (folder / ".config.json.123.part").write_text("{")  # what a kill leaves
    (run,) = runs.train({folder: config(subject)})
    assert run.trained


def test_a_run_in_the_folder_one_stands_in_has_its_name(subject, tmp_path, monkeypatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    monkeypatch.chdir(tmp_path / "a")
    settings = [f"--set={name}={value}" for name, value in SMALL.items()]
    named = ["--subject", subject, "--method", "topk(k=4)", "--d-sae", "32", *settings]
    assert CliRunner().invoke(app, ["train", ".", *named], catch_exceptions=False).exit_code == 0
    assert Run(Path()).name == "a"
    shutil.rmtree(tmp_path / "a" / "checkpoint", ignore_errors=True)
    for path in (tmp_path / "a").iterdir():
        path.unlink()
    assert CliRunner().invoke(app, ["train", str(tmp_path / "link"), *named], catch_exceptions=False).exit_code == 0


def test_a_folder_that_another_process_trains_in(subject, tmp_path) -> None:
    with files.held(tmp_path / "a"), pytest.raises(ValueError, match="a is in use: another process works there"):
        runs.train({tmp_path / "a": config(subject)})
    assert not (tmp_path / "a").exists(), "nothing was written, so nothing stays"
    (run,) = runs.train({tmp_path / "a": config(subject)})
    assert run.trained
    assert not (tmp_path / "a" / ".lock").exists()


def test_a_batch_of_one_has_no_variance_to_explain(subject, tmp_path) -> None:
    (run,) = runs.train({tmp_path / "a": override(config(subject), {"training.batch": 1, "training.steps": 3})})
    assert math.isnan(run.metrics()[-1]["fvu"])
    assert "null" in (tmp_path / "a" / "metrics.jsonl").read_text()


def test_a_folder_is_vacant_but_for_what_a_crash_left(tmp_path) -> None:
    assert files.vacant(tmp_path)
    assert files.vacant(tmp_path / "nowhere")
    (tmp_path / ".config.json.123.part").touch()
    (tmp_path / ".tmpXa1").touch()
    (tmp_path / ".lock").touch()
    assert files.vacant(tmp_path)
    (tmp_path / ".git").mkdir()
    assert not files.vacant(tmp_path)
    assert not files.vacant(tmp_path / ".tmpXa1")


def test_a_kill_after_the_weights_is_mended(subject, tmp_path) -> None:
    runs.train({tmp_path / "a": config(subject)})
    left = tmp_path / "a" / "checkpoint"
    left.mkdir()
    runs.train({tmp_path / "a": config(subject)})
    assert not left.exists()


def test_only_runs_are_found_and_damaged_ones_are_said_to_be(subject, tmp_path) -> None:
    runs.train({tmp_path / "a": config(subject)})
    files.write_json(tmp_path / "model" / "config.json", {"n_layers": 2})
    files.write_json(tmp_path / "list" / "config.json", [1])
    files.write_text(tmp_path / "torn" / "config.json", "{")
    assert [run.name for run in runs.find(tmp_path)] == ["a", "torn"]
    with pytest.raises(ValueError, match=r"config\.json is not the config of a run"):
        _ = Run(tmp_path / "model").config
    done = CliRunner().invoke(app, ["runs", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0
    assert "trained" in done.output
    assert "damaged" in done.output


def test_ctrl_c_says_how_to_go_on(subject, tmp_path, monkeypatch, capsys) -> None:
    def stop(*_) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "train", stop)
    done = CliRunner().invoke(app, ["train", str(tmp_path / "[bold]a[/red]"), "--subject", subject])
    assert done.exit_code == 130
    assert "the same command goes on" in done.output + capsys.readouterr().err


def test_a_damaged_config_or_dictionary_is_refused(subject, tmp_path) -> None:
    runs.train({tmp_path / "a": config(subject)})
    (tmp_path / "a" / "config.json").write_text('{"config": {"met')
    with pytest.raises(ValueError, match="damaged or half-written"):
        Run(tmp_path / "a").config  # noqa: B018
    path = tmp_path / "a" / "sae.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="damaged"):
        Run(tmp_path / "a").dictionary()
    with pytest.raises(FileNotFoundError, match="is not a run"):
        Run(tmp_path).config  # noqa: B018
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        runs.find(tmp_path / "nowhere")
