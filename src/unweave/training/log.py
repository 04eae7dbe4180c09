"""metrics.jsonl: one line of JSON per report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unweave import files


def append(path: Path, line: dict[str, Any]) -> None:
    """Raises OSError with one clear sentence when it cannot be written (a full disk, say)."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise OSError(f"could not write {path}: {error}") from error


def read(path: Path) -> list[dict[str, Any]]:
    """All lines, but for one that a crash cut off (it can only be the last). Empty if there is no file."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    try:
        return [json.loads(line) for line in lines]
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def rewind(path: Path, step: int) -> None:
    """Drop the lines after `step`: a resumed run will write them again."""
    files.write_text(path, "".join(json.dumps(line) + "\n" for line in read(path) if line["step"] <= step))
