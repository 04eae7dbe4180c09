"""`unweave harvest`: says what it will come to, fills, goes on, mends."""

import os
import signal
from pathlib import Path

import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from unweave import files
from unweave.activations import shard
from unweave.activations.store import Store, present, shard_path
from unweave.cli import app
from unweave.runs import Run
from unweave.subject import disk
from unweave.subject.gpt import GPT, GPTConfig


@pytest.fixture(scope="module")
def subject(tmp_path_factory) -> str:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("subject")
    disk.save(GPT(GPTConfig(n_layers=2, d_model=16, n_heads=2)), folder)
    return str(folder)


def unweave(*words: object) -> Result:
    return CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)


def begun(subject: str, folder: Path, *words: object) -> Result:
    sites = ("--site", "resid_post.0", "--site", "embed")
    return unweave("harvest", folder, "--subject", subject, *sites, "--set", "data.sequences=32", *words)


def test_it_fills_goes_on_and_is_trained_from(subject, tmp_path) -> None:
    done = begun(subject, tmp_path / "s", "--tokens", 5000)
    assert done.exit_code == 0
    assert "resid_post.0 (16)" in done.output
    assert "3 of 32 rows, bfloat16" in done.output
    assert "vectors of 2 sites in 3 shards" in " ".join(done.output.split())
    before = [shard.checksums(shard_path(tmp_path / "s", i)) for i in range(3)]
    assert unweave("harvest", tmp_path / "s", "--tokens", 9000).exit_code == 0
    assert Store(tmp_path / "s").end == 5
    assert [shard.checksums(shard_path(tmp_path / "s", i)) for i in range(3)] == before
    settings = (f"--set=data.store={tmp_path / 's'}", "--set=data.sequences=32", "--set=training.batch=128")
    done = unweave("train", tmp_path / "run", "--subject", subject, "--d-sae", 128, "--steps", 20, *settings)
    assert done.exit_code == 0
    assert Run(tmp_path / "run").trained


def test_a_plan_writes_nothing(subject, tmp_path) -> None:
    done = begun(subject, tmp_path / "s", "--tokens", 5000, "--plan")
    assert done.exit_code == 0
    assert "memory beside the subject" in done.output
    assert list(tmp_path.iterdir()) == []


def test_what_the_disk_cannot_hold_is_shown_and_refused(subject, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"would need \d+.* GB, and its disk has .* GB free"):
        begun(subject, tmp_path / "s", "--tokens", 10**15, "--plan")
    assert not (tmp_path / "s").exists()


def test_check_names_what_is_damaged_and_mends_it(subject, tmp_path, capsys) -> None:
    begun(subject, tmp_path / "s", "--tokens", 5000)
    path = shard_path(tmp_path / "s", 1)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    done = unweave("harvest", tmp_path / "s", "--check")
    assert done.exit_code == 0
    said = " ".join((done.output + capsys.readouterr().err).split())
    assert "shard-00001.safetensors is damaged" in said
    assert "shard-00002.safetensors: whole" in said
    assert path.read_bytes() == whole


def test_ctrl_c_stops_after_the_shard(subject, tmp_path, monkeypatch) -> None:
    write = shard.write

    def interrupted(path: Path, *rest) -> None:
        if path.name == "shard-00001.safetensors":
            os.kill(os.getpid(), signal.SIGINT)
        write(path, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(shard, "write", interrupted)
        assert begun(subject, tmp_path / "s", "--tokens", 9000).exit_code == 130
    assert present(tmp_path / "s") == [0, 1]
    assert not files.in_use(tmp_path / "s")
    assert unweave("harvest", tmp_path / "s").exit_code == 0, "how many were asked for need not be said again"
    assert Store(tmp_path / "s").end == 5


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--set", "training.lr=1"], "a store has no training.lr"),
        (["--set", "data.sequence=1"], "did you mean 'sequences'"),
        (["--dtype", "int8"], "no dtype 'int8'"),
        (["--site", "resid_pots.0"], "resid_p(re|ost)"),
        (["--text", "some.txt"], "not text"),
    ],
)
def test_what_cannot_be_is_refused(subject, tmp_path, words, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        unweave("harvest", tmp_path / "s", "--subject", subject, *words)
    assert not (tmp_path / "s").exists()
