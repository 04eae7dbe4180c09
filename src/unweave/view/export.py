"""A static copy of what the server shows: the page and the data, for any host of plain files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from unweave.view import server
from unweave.view.library import FILES, Library


def export(library: Library, out: Path) -> Path:
    """Write the page, runs.json and the views of all runs that have one into the folder `out`.

    Raises ValueError for a folder that holds anything but an earlier export.
    """
    out = Path(out)
    if out.exists() and not _ours(out):
        raise ValueError(f"{out} is there and is no export: choose another folder")
    aside = out.with_name(f".{out.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    if server.static().is_dir():
        shutil.copytree(server.static(), aside)
    aside.mkdir(parents=True, exist_ok=True)
    listing = library.listing(live=False, lab=False)
    for run in listing["runs"]:
        if run["view"] is None:
            continue
        to = aside / "data" / run["path"]
        to.mkdir(parents=True)
        for name in sorted(FILES):
            try:
                shutil.copyfile(library.file(run["path"], name), to / name)
            except FileNotFoundError:
                continue  # not every view has every file
    (aside / "runs.json").write_text(json.dumps(listing), encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    aside.rename(out)
    return out


def _ours(folder: Path) -> bool:
    """Whether a folder is an export, or empty."""
    return folder.is_dir() and ((folder / "runs.json").is_file() or not any(folder.iterdir()))
