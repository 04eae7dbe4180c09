"""Files are whole or absent: what a writer that fails leaves behind, and what a reader says of a damaged file."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from unweave import files

WEIGHTS = {"w": torch.arange(20_000, dtype=torch.float32), "empty": torch.zeros(0, 3), "half": torch.ones(2).bfloat16()}


def only(folder: Path, *names: str) -> bool:
    return sorted(entry.name for entry in folder.iterdir()) == sorted(names)


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file may grow past 10,000 bytes: a true failure of write(2), inside whatever library does the writing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


WRITERS: dict[str, Callable[[Path], None]] = {
    "text": lambda path: files.write_text(path, "x" * 50_000),
    "json": lambda path: files.write_json(path, list(range(10_000))),
    "tensors": lambda path: files.write_tensors(path, WEIGHTS),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_disk_that_fills_up_leaves_the_old_file_whole(
    write: Callable[[Path], None], tmp_path: Path, small_disk: None
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(OSError, match=r"could not write .*file: .* what was there before is untouched"):
        write(path)
    assert path.read_text() == "old"
    assert only(tmp_path, "file")


def test_no_space_at_the_last_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"could not write .*new\.json: .*No space left on device"):
        files.write_json(tmp_path / "new.json", {"a": 1})
    assert only(tmp_path)


@pytest.mark.parametrize("failure", [ValueError("of the caller"), KeyboardInterrupt()])
def test_a_writer_that_raises_leaves_no_litter(failure: BaseException, tmp_path: Path) -> None:
    def half(aside: Path) -> None:
        aside.write_text("half of")
        raise failure

    (tmp_path / "a").write_text("old")
    with pytest.raises(type(failure)):
        files.replace(tmp_path / "a", half)
    assert (tmp_path / "a").read_text() == "old"
    assert only(tmp_path, "a")


def test_killed_in_the_middle_of_writing(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom unweave import files\n"
        "def slow(aside):\n    aside.write_text('half of')\n    time.sleep(60)\n"
        "files.replace(Path(sys.argv[1]), slow)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(path)])
    for _ in range(600):
        if any(entry.name.endswith(".part") and entry.stat().st_size for entry in tmp_path.iterdir()):
            break
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    assert child.wait(10) == -signal.SIGKILL
    assert path.read_text() == "old"


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a" / "b" / "c.txt", "é")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "é".encode()


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(OSError, match="could not write"):
        files.write_text(tmp_path / "a" / "b.txt", "x")


def test_json_there_and_back(tmp_path: Path) -> None:
    value = {"b": [1, 2.5, None, True, "é"], "a": {}}
    files.write_json(tmp_path / "a.json", value)
    assert files.read_json(tmp_path / "a.json") == value


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_json_has_no_nan(bad: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"could not write .*a\.json: .* write null"):
        files.write_json(tmp_path / "a.json", {"fvu/1": bad})
    assert only(tmp_path)


@pytest.mark.parametrize("damaged", [b"", b'{"a": 1', b"\xff\xfe\x00", b'{"a": 1}{'])
def test_damaged_json(damaged: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"a\.json is damaged or half-written") as caught:
        files.read_json(tmp_path / "a.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [files.read_json, files.read_tensors])
def test_no_such_file(read: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nowhere"):
        read(tmp_path / "nowhere")


def test_tensors_there_and_back(tmp_path: Path) -> None:
    metadata = {"games": 12, "text": "é", "nested": {"a": [1, None]}}
    files.write_tensors(tmp_path / "a.safetensors", WEIGHTS | {"across": torch.ones(3, 4).T}, metadata)
    tensors, found = files.read_tensors(tmp_path / "a.safetensors")
    assert found == metadata
    for name, expected in WEIGHTS.items():
        assert tensors[name].dtype == expected.dtype
        assert torch.equal(tensors[name], expected)
    assert tensors["across"].shape == (4, 3)


def test_a_header_written_by_another_program(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "a.safetensors", metadata={"format": "pt"})
    assert files.read_tensors(tmp_path / "a.safetensors")[1] == {"format": "pt"}


@given(kept=st.floats(0, 0.999))
def test_half_written_tensors(kept: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("half") / "a.safetensors"
    files.write_tensors(path, WEIGHTS, {"games": 1})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(ValueError, match=r"a\.safetensors is damaged, half-written or no safetensors file") as caught:
        files.read_tensors(path)
    assert "\n" not in str(caught.value)


def test_a_pickle_is_no_safetensors_file(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(3)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="no safetensors file"):
        files.read_tensors(tmp_path / "a.safetensors")


def test_json_is_written_for_people_too(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"a": 1})
    text = (tmp_path / "a.json").read_text()
    assert text.count("\n") == 3
    assert json.loads(text) == {"a": 1}


def test_tensors_can_be_read_by_whoever_can_read_text(tmp_path: Path) -> None:
    files.write_tensors(tmp_path / "a.safetensors", {"x": torch.zeros(1)})
    files.write_text(tmp_path / "a.txt", "")
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "a.txt").stat().st_mode


def test_tensors_keep_their_gradients_to_themselves(tmp_path: Path) -> None:
    weight: Tensor = torch.ones(3, requires_grad=True)
    files.write_tensors(tmp_path / "a.safetensors", {"w": weight})
    assert not files.read_tensors(tmp_path / "a.safetensors")[0]["w"].requires_grad


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "model"
    files.replace_folder(path, lambda aside: (aside / "old").write_text("old"))

    def fails(aside: Path) -> None:
        (aside / "new").write_text("new")
        raise OSError(errno.ENOSPC, "no space left on device")

    with pytest.raises(OSError, match=r"could not write .*model: .*no space left"):
        files.replace_folder(path, fails)
    assert only(path, "old")
    (path.parent / f".model.{os.getpid()}.part").mkdir()  # of a process that was killed
    files.replace_folder(path, lambda aside: (aside / "new").write_text("new"))
    assert only(path, "new")
    assert only(path.parent, "model")


def test_a_folder_is_claimed_for_one_set_of_settings(tmp_path: Path) -> None:
    path = tmp_path / "new" / "settings.json"
    files.claim(path, {"a": 1, "b": {"c": (2, 3)}})
    files.claim(path, {"b": {"c": [2, 3]}, "a": 1})
    with pytest.raises(ValueError, match=r"b\.c is \[2, 3\] there, 4 here; d is None there, 5 here\): choose another"):
        files.claim(path, {"a": 1, "b": {"c": 4}, "d": 5})


def test_some_tensors_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_tensors(path, WEIGHTS, {"n": 3})
    held, metadata = files.read_tensors(path, ["half"])
    assert list(held) == ["half"]
    assert torch.equal(held["half"], WEIGHTS["half"])
    assert files.read_tensors(path, ()) == ({}, metadata) == ({}, {"n": 3})
    with pytest.raises(ValueError, match="damaged"):
        files.read_tensors(path, ["other"])


def test_who_holds_a_folder_can_be_seen(tmp_path: Path) -> None:
    assert not files.in_use(tmp_path)
    with files.held(tmp_path / "a"):
        assert files.in_use(tmp_path / "a")
    (tmp_path / ".lock").touch()  # what a kill leaves
    assert not files.in_use(tmp_path)
    with files.held(tmp_path):
        assert files.in_use(tmp_path)


def test_only_what_a_crash_left_is_swept_away(tmp_path: Path) -> None:
    for name in (".shard.safetensors.12.part", ".tmpAb1", ".lock", ".hidden", "shard.safetensors", "a.part"):
        (tmp_path / name).touch()
    files.sweep(tmp_path)
    assert only(tmp_path, ".lock", ".hidden", "shard.safetensors", "a.part")


def test_a_folder_is_there_as_a_whole_or_not_at_all(tmp_path) -> None:
    def interrupted() -> None:
        with files.whole(tmp_path / "a") as aside:
            (aside / "one").write_text("1")
            assert not (tmp_path / "a").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [*tmp_path.iterdir()] == []
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".lock").touch()  # what a crash left
    with files.whole(tmp_path / "a") as aside:
        (aside / "one").write_text("1")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["one"]
    with pytest.raises(ValueError, match="exists already: choose another folder"), files.whole(tmp_path / "a"):
        pass
    assert (tmp_path / "a" / "one").read_text() == "1"
