"""Writing files so that a crash, a full disk or `kill -9` leaves the old file or the new one, never half of one."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open

if TYPE_CHECKING:  # what serves files and makes none opens at once: torch takes seconds
    from torch import Tensor

_LEFT_BY_A_CRASH = r"\..*\.part|\.tmp.*"  # of files that were being written, by `replace` or by safetensors


def cache(room: str) -> Path:
    """Where what can be made anew is kept between runs: `$UNWEAVE_CACHE`, or `~/.cache/unweave`."""
    return Path(os.environ.get("UNWEAVE_CACHE", "~/.cache/unweave")).expanduser() / room


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, flush it to the disk, then rename it to `path`.

    Raises OSError with one clear sentence when it cannot be written (a full disk, say); `path` is then as it was.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.touch()
        mode = aside.stat().st_mode
        write(aside)
        aside.chmod(mode)  # safetensors makes its files for the owner's eyes only
        with open(aside, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    except (OSError, SafetensorError) as error:  # safetensors reports a full disk as an error of its own
        raise OSError(f"could not write {path}: {error}; what was there before is untouched") from error
    finally:
        with suppress(OSError):  # it is gone after the renaming, and never was if its folder could not be made
            aside.unlink()


def replace_folder(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a folder beside `path`, then rename it to `path`, which is never there half-filled; what was
    there before is gone. Raises OSError with one clear sentence when it cannot be written."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    shutil.rmtree(aside, ignore_errors=True)  # of a process that was killed and had our number
    try:
        aside.mkdir(parents=True)
        write(aside)
        shutil.rmtree(path, ignore_errors=True)
        os.replace(aside, path)
    except (OSError, SafetensorError) as error:
        raise OSError(f"could not write {path}: {error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep `folder` (made if it is not there, gone again if it stays empty) from other processes; even `kill -9` lets
    go of it. Raises ValueError while another holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0.2)  # `in_use` may look at it just now
    except Timeout:
        raise ValueError(f"{folder} is in use: another process works there; wait, or choose another folder") from None
    try:
        yield
    finally:
        (folder / ".lock").unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):
            folder.rmdir()


def in_use(folder: Path) -> bool:
    """Whether a process keeps `folder` by `held`."""
    if not (folder / ".lock").exists():
        return False
    try:
        with FileLock(folder / ".lock", timeout=0):
            return False
    except Timeout:
        return True


def sweep(folder: Path) -> None:
    """Remove what a crash left of files that were being written. Only while `folder` is held."""
    for path in folder.iterdir():
        if re.fullmatch(_LEFT_BY_A_CRASH, path.name):
            path.unlink()


def vacant(folder: Path) -> bool:
    """Whether nothing is lost by writing into `folder`: it is not there, or holds at most a lock and what a crash
    left."""
    if not folder.is_dir():
        return not folder.exists()
    return all(re.fullmatch(rf"\.lock|{_LEFT_BY_A_CRASH}", path.name) for path in folder.iterdir())


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder`, to be filled: at the end of the block it takes that name, and if the block is left
    in any other way it is gone. Raises ValueError where something has the name already."""
    if not vacant(folder):
        raise ValueError(f"{folder} exists already: choose another folder, or delete it")
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    aside.mkdir(parents=True)
    try:
        yield aside
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    replace(path, lambda aside: aside.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Raises ValueError for NaN and infinities, which JSON does not have and a browser would refuse to read."""
    try:
        text = json.dumps(value, indent=2, allow_nan=False)
    except ValueError as error:
        raise ValueError(f"could not write {path}: {error}; write null for a number that does not exist") from None
    write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises FileNotFoundError, or ValueError for a damaged file, in one sentence."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged or half-written: {error}") from None


def claim(path: Path, settings: Mapping[str, Any]) -> None:
    """Write down what a folder's contents were made with; if that is there already, it must be the same.

    Raises ValueError that names what differs: results of other settings would be taken for these.
    """
    ours = json.loads(json.dumps(settings))
    if not path.exists():
        write_json(path, ours)
        return
    if differ := differences(read_json(path), ours):
        raise ValueError(f"{path.parent} was made with other settings ({differ}): choose another folder, or delete it")


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """In words, the nested settings that are not the same, by dotted name; "" if all are."""
    theirs, ours = leaves(there), leaves(here)
    return "; ".join(
        f"{name} is {theirs.get(name)!r} there, {ours.get(name)!r} here"
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    )


def leaves(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any] | None = None) -> None:
    """A safetensors file; each value of `metadata` is stored as JSON in its header."""
    from safetensors.torch import save_file

    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {name: json.dumps(value) for name, value in (metadata or {}).items()}
    replace(path, lambda aside: save_file(held, str(aside), metadata=header))


def read_tensors(path: Path, names: Collection[str] | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a safetensors file, all or those of some names, and the metadata of its header.

    Raises FileNotFoundError, or ValueError for a file that is damaged, half-written or of another kind.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = {name: _value(text) for name, text in (file.metadata() or {}).items()}
            wanted = file.keys() if names is None else names
            return {name: file.get_tensor(name) for name in wanted}, metadata
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged, half-written or no safetensors file: {error}") from None


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """A safetensors file, without torch: of every type that numpy has."""
    from safetensors.numpy import save_file

    held = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    replace(path, lambda aside: save_file(held, str(aside)))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file. Raises what `read_tensors` does."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with safe_open(str(path), framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged, half-written or no safetensors file: {error}") from None


def sha256(path: Path) -> str:
    """The checksum of a file, in hex digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:  # other programs write plain text in their headers ("format": "pt")
        return text
