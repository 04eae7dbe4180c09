"""The runs under a folder, read from their files alone: what a page lists, and what of them it may read.

No torch here: the page has to open at once. Only the files of views are handed out, and no link is followed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from unweave import files
from unweave.dashboards import reading

T = TypeVar("T")

VERSION = "unweave.runs/1"

FILES = {
    "manifest.json",
    "columns.safetensors",
    "rows.safetensors",
    "map.safetensors",
    "directions.safetensors",
    "truth.safetensors",
    "pages.bin",
    "pages.idx",
    "tokens.json",
    "labels.json",
    "notes.jsonl",
}
"""What a view consists of: nothing else of a run is served."""

LONGEST = 200
"""The steps of a loss curve, at most."""


class Library:
    """A folder of runs, or one run's folder."""

    def __init__(self, folder: Path | str) -> None:
        """Raises FileNotFoundError when there is no such folder."""
        self.folder = Path(folder).resolve()
        if not self.folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
        self._is_run = (self.folder / "config.json").is_file()
        self._known: dict[tuple[Path, Callable[..., Any]], tuple[tuple[int, int] | None, Any]] = {}

    def paths(self) -> list[str]:
        """The path of every run, as URLs and the page have it."""
        return sorted(self._name(folder) for folder in self._walk())

    def run(self, path: str) -> Path:
        """A run's folder. Raises FileNotFoundError for one that is not under the folder, or only by a link."""
        parts = path.split("/")
        if self._is_run:
            if parts[0] != self.folder.name:
                raise FileNotFoundError(f"there is no run {path}")
            parts = parts[1:]
        at = self.folder
        for part in parts:
            at = at / part
            if part in ("", ".", "..") or "\\" in part or "\0" in part or at.is_symlink():
                raise FileNotFoundError(f"there is no run {path}")
        if not (at / "config.json").is_file():
            raise FileNotFoundError(f"there is no run {path}")
        return at

    def file(self, path: str, name: str) -> Path:
        """A file of a run's view. Raises FileNotFoundError for one that is not there, no view's, or a link."""
        folder = self.run(path) / "view"
        found = folder / name
        if name not in FILES or folder.is_symlink() or found.is_symlink() or not found.is_file():
            raise FileNotFoundError(f"the view of {path} has no file {name}")
        return found

    def listing(self, *, live: bool, lab: bool) -> dict[str, Any]:
        """runs.json, as docs/view-format.md has it; what is damaged in one run hides no other."""
        runs = [self._describe(path) for path in self.paths()]
        return {"version": VERSION, "folder": self.folder.name, "live": live, "lab": lab, "runs": runs}

    def _walk(self) -> Iterator[Path]:
        for at, folders, names in os.walk(self.folder):
            folders[:] = [name for name in folders if not name.startswith(".") and name not in ("view", "checkpoint")]
            path = Path(at, "config.json")
            if "config.json" in names and not path.is_symlink() and self._may_be_a_run(path):
                yield Path(at)

    def _may_be_a_run(self, path: Path) -> bool:
        """Other programs' folders have a config.json too; what cannot be read may have been a run's."""
        try:
            held = self._once(path, files.read_json)
        except (OSError, ValueError):
            return True
        return isinstance(held, dict) and "config" in held

    def _name(self, folder: Path) -> str:
        below = folder.relative_to(self.folder).as_posix()
        if not self._is_run:
            return below
        return self.folder.name if below == "." else f"{self.folder.name}/{below}"

    def _describe(self, path: str) -> dict[str, Any]:
        folder, errors = self.run(path), []

        def read(name: str, how: Callable[[Path], T]) -> T | None:
            at = folder / name
            if not at.is_file() or at.is_symlink():
                return None
            try:
                return self._once(at, how)
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                said = str(error) if isinstance(error, OSError | ValueError) else f"{at} is not what it should be"
                errors.append(said)
                return None

        config = read("config.json", _config) or {"config": None, "hash": None}
        steps = read("metrics.jsonl", _steps) or {"steps": 0, "curve": None, "last": None}
        scores = read("evaluation.json", _scores) or {"scores": None, "controls": None, "metrics": None}
        manifest = read("view/manifest.json", _manifest)
        why = "" if manifest is None else self._stale(manifest, folder)
        return {
            "path": path,
            "name": folder.name,
            **config,
            "trained": (folder / "sae.safetensors").is_file(),
            **steps,
            **scores,
            "view": None if manifest is None else {**_about(manifest), "current": not why, "why": why},
            "error": errors[0] if errors else None,
        }

    def _stale(self, manifest: dict[str, Any], folder: Path) -> str:
        """As `reading.stale`, without reading again what has not changed."""
        return reading.stale(manifest, folder, lambda path: self._once(path, files.sha256) if path.is_file() else None)

    def _once(self, path: Path, how: Callable[[Path], T]) -> T:
        """What `how` makes of a file, made again only when the file has changed."""
        about = path.stat()
        stamp, key = (about.st_mtime_ns, about.st_size), (path, how)
        if key not in self._known or self._known[key][0] != stamp:
            self._known[key] = stamp, how(path)
        return self._known[key][1]


def _config(path: Path) -> dict[str, Any]:
    held = files.read_json(path)
    if not isinstance(held, dict) or not isinstance(held.get("config"), dict):
        raise ValueError(f"{path} is not the config of a run")
    return {"config": held["config"], "hash": held.get("hash")}


def _steps(path: Path) -> dict[str, Any]:
    """The training's curves; a line that is still being written, or was cut off, is left out."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    if not lines:
        return {"steps": 0, "curve": None, "last": None}
    thinned = lines[:: -(-len(lines) // LONGEST)]
    names = list(dict.fromkeys(name for line in lines for name in line))
    curve = {name: [line.get(name) for line in thinned] for name in names}
    return {"steps": lines[-1].get("step", 0), "curve": curve, "last": lines[-1]}


def _scores(path: Path) -> dict[str, Any]:
    held = files.read_json(path)
    own = next(row for row in held["rows"] if not row["is_control"] and row["readout"] == "activations")
    controls = {f"{row['name']} ({row['readout']})": row["scores"] for row in held["rows"] if row["is_control"]}
    return {"scores": own["scores"], "controls": controls, "metrics": held["metrics"]}


def _manifest(path: Path) -> dict[str, Any]:
    reading.View(path.parent)
    return files.read_json(path)


def _about(manifest: dict[str, Any]) -> dict[str, Any]:
    return {"kind": manifest["kind"], "d_sae": manifest["d_sae"]}
