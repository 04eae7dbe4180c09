"""A view read again, without torch: docs/view-format.md says what is where."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from unweave import files
from unweave.dashboards import notes

VERSION = "unweave.view/2"

_AGAIN = "make it anew with `unweave view {} --rebuild`"


@dataclass(frozen=True)
class Example:
    """A place that is shown of a feature: position `at` of row `row`, with its activation there.

    pre: of a near miss, the pre-activation that was not enough. curve: the feature's activations in the row, `[S]`.
    tokens: the row's, of a game squares, without padding; pieces: what each is called ("d3", " cat").
    """

    row: int
    at: int
    value: float
    pre: float | None
    curve: np.ndarray = field(repr=False)
    tokens: list[int] = field(repr=False)
    pieces: list[str] = field(repr=False)
    between: str = field(repr=False)  # what stands between two pieces

    @property
    def text(self) -> str:
        """The row up to the place, and including it: the moves of a game, or a text."""
        return self.between.join(self.pieces[: self.at + 1])

    @property
    def is_game(self) -> bool:
        return self.between == " "

    def _repr_html_(self) -> str:
        from unweave.dashboards import card  # torch, which a server does without

        return card.example(self)


@dataclass(frozen=True)
class Feature:
    """block: all that pages.bin has of it; examples: by group, those of several intervals one after another."""

    id: int
    label: str
    columns: dict[str, float]
    examples: dict[str, list[Example]] = field(repr=False)
    block: dict[str, Any] = field(repr=False)

    def _repr_html_(self) -> str:
        from unweave.dashboards import card

        return card.feature(self)


class View:
    """A run's view; nothing but the manifest is read before it is asked for."""

    def __init__(self, folder: Path | str) -> None:
        """folder: the view's, or its run's.

        Raises FileNotFoundError where there is none, ValueError for one of another version, or that is damaged.
        """
        folder = Path(folder)
        self.folder = folder if folder.name == "view" and not (folder / "view").is_dir() else folder / "view"
        run = self.folder.parent
        path = self.folder / "manifest.json"
        if not path.is_file():
            if (self.folder / ".build").is_dir():
                raise FileNotFoundError(f"the view of {run} is not finished: `unweave view {run}` goes on with it")
            raise FileNotFoundError(f"{run} has no view yet: `unweave view {run}` makes one")
        held = files.read_json(path)
        found = held.get("version") if isinstance(held, dict) else None
        if found != VERSION:
            raise ValueError(f"{path} is of the format {found!r}, not {VERSION!r}: {_AGAIN.format(run)}")
        self.manifest: dict[str, Any] = held
        for name, about in held["files"].items():
            size = (self.folder / name).stat().st_size if (self.folder / name).is_file() else None
            if size != about["bytes"]:
                has = "is missing" if size is None else f"has {size} bytes instead of {about['bytes']}"
                raise ValueError(f"{self.folder / name} {has}: {_AGAIN.format(run)}")

    @property
    def kind(self) -> str:
        return self.manifest["kind"]

    @property
    def d_sae(self) -> int:
        return self.manifest["d_sae"]

    def __len__(self) -> int:
        return self.d_sae

    @cached_property
    def rows(self) -> np.ndarray:
        """`[G, S]`: tokens, of games squares and 255 where no move was made."""
        return self._arrays("rows.safetensors")["tokens"]

    @cached_property
    def measured(self) -> np.ndarray:
        """`[G, S] uint8`: 0 padding, 1 measured, 2 there but not measured."""
        return self._arrays("rows.safetensors")["kind"]

    @cached_property
    def map(self) -> np.ndarray:
        """`[F, 2]`: where each feature lies on the map."""
        return self._arrays("map.safetensors")["xy"]

    @cached_property
    def pieces(self) -> list[str]:
        """Of a text, what each token is called."""
        return files.read_json(self.folder / "tokens.json")["pieces"]

    def columns(self) -> dict[str, np.ndarray]:
        """Every column that the manifest names, `[F]` each. Raises ValueError if one is missing or of another size."""
        path = self.folder / "columns.safetensors"
        held = files.read_arrays(path)
        found = {}
        for entry in self.manifest["columns"]:
            name = entry["name"]
            if name not in held or held[name].shape != (self.d_sae,):
                raise ValueError(
                    f"{path} lacks the column {name}, or it is damaged: {_AGAIN.format(self.folder.parent)}"
                )
            found[name] = held[name]
        return found

    @cached_property
    def _table(self) -> dict[str, np.ndarray]:
        return self.columns()

    def column(self, name: str) -> np.ndarray:
        """Raises ValueError for a column that there is not."""
        if name not in self._table:
            raise ValueError(f"the view has no column {name!r}: it has {', '.join(self._table)}")
        return self._table[name]

    def labels(self) -> dict[int, str]:
        """What each feature is called, by whoever is to be believed most: a person, then a rule, then a model."""
        made = files.read_json(self.folder / "labels.json")["labels"]
        found = {each["feature"]: each["text"] for each in sorted(made, key=lambda each: each["by"] == "rule")}
        return found | notes.labels(self.notes())

    def notes(self) -> list[dict[str, Any]]:
        """All that people wrote, in the order of time."""
        return notes.read(self.folder)

    def block(self, id: int) -> dict[str, Any]:
        """What pages.bin has of a feature. Raises ValueError for a feature that there is not, or a damaged block."""
        if not 0 <= id < self.d_sae:
            raise ValueError(f"there is no feature {id}: this dictionary has features 0 to {self.d_sae - 1}")
        start, stop = (int(each) for each in np.fromfile(self.folder / "pages.idx", "<u8", 2, offset=8 * id))
        with open(self.folder / "pages.bin", "rb") as file:
            file.seek(start)
            held = file.read(stop - start)
        try:
            return json.loads(gzip.decompress(held))
        except (OSError, EOFError, ValueError, zlib.error) as error:
            path, again = self.folder / "pages.bin", _AGAIN.format(self.folder.parent)
            raise ValueError(f"{path} is damaged at feature {id} ({error}): {again}") from None

    def feature(self, id: int) -> Feature:
        """All that there is to see of a feature. Raises what `block` does."""
        block = self.block(id)
        made = [self._example(each) for each in block["examples"]]
        groups: dict[str, list[Example]] = {}
        for group in block["groups"]:
            groups.setdefault(group["name"], []).extend(made[index] for index in group["examples"])
        columns = {name: values[id].item() for name, values in self._table.items()}
        return Feature(id, self.labels().get(id, ""), columns, groups, block)

    def check(self) -> None:
        """Compare every checksum. Raises ValueError for the first file or column that is damaged."""
        again = _AGAIN.format(self.folder.parent)
        for name, about in self.manifest["files"].items():
            if files.sha256(self.folder / name) != about["sha256"]:
                raise ValueError(f"{self.folder / name} is damaged: {again}")
        held = self.columns()
        for entry in self.manifest["columns"]:
            if hashlib.sha256(held[entry["name"]].tobytes()).hexdigest() != entry["sha256"]:
                raise ValueError(f"{self.folder / 'columns.safetensors'}: {entry['name']} is damaged: {again}")

    def stale(self) -> str:
        """What has changed in the run since the view was made, in words; "" if it is current."""
        return stale(self.manifest, self.folder.parent)

    def _example(self, held: dict[str, Any]) -> Example:
        row = self.rows[held["row"]][self.measured[held["row"]] > 0].tolist()
        curve = np.zeros(len(row), np.float32)
        for at, value in held["row_values"]:
            curve[at] = value
        games = self.kind == "games"
        pieces = [_square(each) if games else self.pieces[each] for each in row]
        return Example(
            held["row"], held["at"], held["value"], held.get("pre"), curve, row, pieces, " " if games else ""
        )

    def _arrays(self, name: str) -> dict[str, np.ndarray]:
        return files.read_arrays(self.folder / name)


def checksum(path: Path) -> str | None:
    """None where there is no such file."""
    return files.sha256(path) if path.is_file() else None


def stale(manifest: dict[str, Any], run: Path, of: Callable[[Path], str | None] = checksum) -> str:
    """What has changed in a run since a view of it was made, in words; "" if the view is current. of: a file's
    checksum."""
    made = manifest["made"]
    if made["dictionary"] != of(run / "sae.safetensors"):
        return "the dictionary is not the one that the view was made from"
    if made["evaluation"] != of(run / "evaluation.json"):
        return "the run has been evaluated since the view was made"
    return ""


def _square(index: int) -> str:
    return f"{'abcdefgh'[index % 8]}{index // 8 + 1}"
