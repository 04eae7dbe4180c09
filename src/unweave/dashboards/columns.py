"""The columns of a view's table: one number a feature, with what it means. Shapes: F features."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unweave import files
from unweave.dashboards import boards
from unweave.dashboards.reading import View
from unweave.dashboards.survey import Survey

Scale = Literal["linear", "log"]

_DTYPES = {"float32": "F32", "uint32": "U32", "int32": "I32"}


@dataclass(frozen=True)
class Column:
    """values: `[F]`, float32, uint32 or int32. kind: "number", "category" (an index into names) or "token" (an id)."""

    name: str
    values: np.ndarray
    title: str
    unit: str
    help: str
    scale: Scale = "linear"
    kind: Literal["number", "category", "token"] = "number"
    names: tuple[str, ...] = ()
    by: str = ""

    @property
    def entry(self) -> dict[str, Any]:
        """As the manifest has it."""
        optional = {"names": list(self.names)} if self.names else {}
        by = {"by": self.by} if self.by else {}
        return {
            "name": self.name,
            "title": self.title,
            "unit": self.unit,
            "help": self.help,
            "dtype": _DTYPES[self.values.dtype.name],
            "kind": self.kind,
            "scale": self.scale,
            "sha256": checksum(self.values),
            **optional,
            **by,
        }


def checksum(values: np.ndarray) -> str:
    """Of the array's bytes, little-endian."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def of_survey(found: Survey, norm: np.ndarray, agreement: np.ndarray, nearest: np.ndarray) -> list[Column]:
    """Those that every view has; norm, agreement, nearest: `[F]`, of the decoder rows."""
    n, total = len(found.l0), found.total * norm
    with np.errstate(invalid="ignore", divide="ignore"):
        mean, share = found.total / found.active, total / total.sum()

    def number(name: str, values: np.ndarray, title: str, unit: str, help: str, scale: Scale = "linear") -> Column:
        return Column(name, values.astype(np.float32), title, unit, help, scale)

    made = [
        number("density", found.active / n, "Density", "share of positions", "How often it is active.", "log"),
        Column("active", found.active.astype(np.uint32), "Active", "positions", "How often it is active.", "log"),
        number("max", found.max, "Maximum", "activation", "Its largest activation."),
        number("mean", mean, "Mean", "activation", "Its mean activation where it is active."),
        number(
            "share", share, "Share", "of all that is written",
            "Its activations times the length of its decoder row, over the same of all features.", "log",
        ),
        number("crowd", found.crowd, "Crowd", "features", "How many features are active where it is, on average."),
        number("decoder_norm", norm, "Decoder norm", "", "The length of its decoder row."),
        number(
            "encoder_cosine", agreement, "Encoder and decoder", "cosine",
            "How much the direction it reads is the one it writes.",
        ),
        number("nearest_cosine", nearest, "Nearest", "cosine", "The largest cosine to another decoder row."),
        number("position", found.position, "Position", "of a row", "Its mean position in a row where it is active."),
    ]  # fmt: skip
    if found.last is not None and found.next is not None:
        help = "How many 3 by 3 squares of the board hold 90 % of the {} moves where it is active: few, if it is local."
        made += [
            number(f"{name}_clusters", boards.clusters(counts), f"Clusters, {name} move", "3 by 3", help.format(name))
            for name, counts in (("last", found.last), ("next", found.next))
        ]
    if found.strongest is not None and found.top_token is not None and found.top_count is not None:
        with np.errstate(invalid="ignore"):
            of_active = found.top_count / found.active
        made += [
            Column(
                "strongest_token", found.strongest.astype(np.int32), "Strongest token", "",
                "The token where it is most active.", kind="token",
            ),
            Column(
                "top_token", found.top_token.astype(np.int32), "Commonest token", "",
                "The token where it is most often active.", kind="token",
            ),
            number("top_token_share", of_active, "At one token", "of its activity", "How much is at the commonest."),
        ]  # fmt: skip
    return made


def of_truth(label: np.ndarray, auroc: np.ndarray, within: np.ndarray) -> list[Column]:
    """label: `[F]`, each feature's best on half A of the evaluation, -1 for none; auroc, within: `[F, 252]`, of half
    B."""
    rows, known = np.arange(len(label)), np.maximum(label, 0)
    scores = [np.where(label < 0, np.nan, each[rows, known]).astype(np.float32) for each in (auroc, within)]
    help = "of its best label, chosen on other games. 0.5 is chance."
    names = tuple(boards.in_words(each) for each in range(auroc.shape[1]))
    return [
        Column(
            "label", label.astype(np.int32), "Best label", "", "The state of a square that it tells best.",
            kind="category", names=names,
        ),
        Column("auroc", scores[0], "AUROC", "", f"AUROC {help}"),
        Column("auroc_within", scores[1], "AUROC within", "", f"AUROC within position {help}"),
    ]  # fmt: skip


def add_column(
    folder: Path | str,
    name: str,
    values: np.ndarray,
    *,
    title: str = "",
    unit: str = "",
    help: str = "",
    scale: Scale = "linear",
    by: str = "user",
) -> None:
    """Give a view one more column, or another one in the place of one that was added before: `[F]`, of numbers.

    folder: the view's. Raises ValueError for a name that the view's own columns have, another number of values, or
    values that are no numbers.
    """
    view = View(folder)
    values = np.asarray(values)
    if values.shape != (view.d_sae,):
        raise ValueError(f"{view.folder} has {view.d_sae} features: a column cannot have shape {list(values.shape)}")
    if values.dtype.kind not in "fiub":
        raise ValueError(f"the column {name} holds {values.dtype.name}, which are no numbers")
    with files.held(view.folder):
        view = View(folder)
        entries = view.manifest["columns"]
        if any(entry["name"] == name and "by" not in entry for entry in entries):
            raise ValueError(f"the view has a column {name} of its own: choose another name")
        column = Column(name, values.astype(np.float32), title or name, unit, help, scale, by=by)
        held, path = view.columns(), view.folder / "manifest.json"
        kept = [entry for entry in entries if entry["name"] != name]
        if kept != entries:
            files.write_json(path, {**view.manifest, "columns": kept})
        # First the numbers, then what names them: a crash between the two leaves numbers that nothing names.
        files.write_arrays(view.folder / "columns.safetensors", {**held, name: column.values})
        files.write_json(path, {**view.manifest, "columns": [*kept, column.entry]})


def add_file(folder: Path | str, path: Path) -> list[str]:
    """Give a view the columns of a CSV file, whose first line names them; `feature` is the number of each line's
    feature. What it does not have is NaN. The names of the columns.

    Raises FileNotFoundError, or ValueError for a file without that column, what is no number, or what `add_column`
    refuses.
    """
    n = View(folder).d_sae
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    with open(path, newline="", encoding="utf-8-sig") as file:
        lines = csv.DictReader(file)
        names = [name for name in lines.fieldnames or [] if name != "feature"]
        if not names or "feature" not in (lines.fieldnames or []):
            raise ValueError(f"{path} needs a first line with the name feature and the names of other columns")
        values = {name: np.full(n, np.nan, np.float32) for name in names}
        for line in lines:
            try:
                feature, found = int(line["feature"]), {name: _number(line[name]) for name in names}
            except (ValueError, TypeError):
                raise ValueError(f"{path}, line {lines.line_num}: this is not a number in every column") from None
            if not 0 <= feature < n:
                raise ValueError(f"{path}, line {lines.line_num}: there is no feature {feature}, but 0 to {n - 1}")
            for name, value in found.items():
                values[name][feature] = value
    for name in names:
        add_column(folder, name, values[name], by=path.name)
    return names


def added(folder: Path, dictionary: str) -> list[Column]:
    """The columns that were added to the view in a folder, if it is of the dictionary with that checksum."""
    try:
        view = View(folder)
        if view.manifest["made"]["dictionary"] != dictionary:
            return []
        held = view.columns()
    except (FileNotFoundError, ValueError):
        return []
    return [
        Column(e["name"], held[e["name"]], e["title"], e["unit"], e["help"], e["scale"], by=e["by"])
        for e in view.manifest["columns"]
        if "by" in e
    ]


def _number(cell: str) -> float:
    return float("nan" if cell == "" else cell)
