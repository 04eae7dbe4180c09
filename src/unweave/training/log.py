"""metrics.jsonl: one line of JSON per report. What is undefined (a batch of one has no variance) is null, and read as
NaN."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from unweave import files


def append(path: Path, line: dict[str, Any]) -> None:
    """Raises OSError with one clear sentence when it cannot be written (a full disk, say)."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(_written(line))
    except OSError as error:
        raise OSError(f"could not write {path}: {error}") from error


def read(path: Path) -> list[dict[str, Any]]:
    """All lines, but for one that a crash cut off (it can only be the last). Empty if there is no file."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    try:
        return [{k: math.nan if v is None else v for k, v in json.loads(line).items()} for line in lines]
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def rewind(path: Path, step: int) -> None:
    """Drop the lines after `step`: a resumed run will write them again."""
    files.write_text(path, "".join(_written(line) for line in read(path) if line["step"] <= step))


def _written(line: dict[str, Any]) -> str:
    """JSON has no word for NaN and infinity."""
    return json.dumps({k: v if math.isfinite(v) else None for k, v in line.items()}, allow_nan=False) + "\n"
