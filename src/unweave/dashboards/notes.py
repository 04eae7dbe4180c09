"""What people write about features: one event a line in notes.jsonl, only ever appended to.

Any number of tabs, servers and programs may write at once: each event is one write, behind a lock, to the file's end.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from filelock import FileLock

KINDS = ("label", "note", "star", "unstar", "tag", "untag", "remove")
LONGEST = 4000

_NAME = "notes.jsonl"


def append(folder: Path, feature: int, kind: str, text: str = "", author: str = "") -> dict[str, Any]:
    """Enter an event into the notes of a view's folder, and return it whole.

    Raises ValueError for a kind that there is not or a text that is too long, OSError when it cannot be written.
    """
    if kind not in KINDS:
        raise ValueError(f"a note cannot be of the kind {kind!r}: there are {', '.join(KINDS)}")
    for what in (text, author):
        if len(what) > LONGEST:
            raise ValueError(f"a note has at most {LONGEST:,} characters, not {len(what):,}")
    if kind in ("note", "tag", "untag", "remove") and not text:
        raise ValueError(f"a note of the kind {kind} needs a text")
    event = {
        "id": secrets.token_hex(8),
        "time": time.time_ns() // 1_000_000,
        "feature": feature,
        "kind": kind,
        "text": text,
        "author": author,
    }
    line = json.dumps(event).encode() + b"\n"
    path = folder / _NAME
    with FileLock(folder / f".{_NAME}.lock"), open(path, "ab+") as file:
        if file.tell() and not _ends_a_line(path):
            line = b"\n" + line  # a crash cut the last event off: it must not take this one with it
        if os.write(file.fileno(), line) != len(line):
            raise OSError(f"could not write all of a note to {path}: the disk may be full")
        os.fsync(file.fileno())
    return event


def read(folder: Path) -> list[dict[str, Any]]:
    """All events of a view's folder, by time; [] where nobody wrote any. What is no event is passed over."""
    path = folder / _NAME
    if not path.is_file():
        return []
    found = []
    for line in path.read_bytes().splitlines():
        try:
            event = json.loads(line)
        except ValueError:  # cut off by a crash, or not UTF-8
            continue
        if isinstance(event, dict) and {"id", "time", "feature", "kind", "text"} <= event.keys():
            found.append(event)
    return sorted(found, key=lambda event: (event["time"], event["id"]))


def labels(events: Iterable[dict[str, Any]]) -> dict[int, str]:
    """What people call each feature: the newest label, unless that is empty."""
    newest = {event["feature"]: event["text"] for event in events if event["kind"] == "label"}
    return {feature: text for feature, text in newest.items() if text}


def _ends_a_line(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
