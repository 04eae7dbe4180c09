"""Runs the demo in an empty folder and writes what it found into README.md: `python docs/readme.py`.

The table, the wall time and the peak memory come from the run itself; the picture is the report in headless Chromium.
"""

from __future__ import annotations

import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PICTURE = "docs/report.png"
COLUMNS = {
    "pairs/1": ("pairs", "{:.0f}"),
    "pairs_within/1": ("pairs within position", "{:.0f}"),
    "legal/1": ("legal squares", "{:.0f}"),
    "coverage_128/1": ("coverage", "{:.2f}"),
    "reconstruction_128/1": ("board reconstruction", "{:.2f}"),
    "fvu/1": ("FVU", "{:.3f}"),
    "l0/1": ("L0", "{:.1f}"),
    "ce_score/1": ("CE score", "{:.3f}"),
}


def table(evaluations: Iterable[dict[str, Any]]) -> str:
    """The dictionaries of all evaluations, then the controls of the first."""
    found = list(evaluations)
    own = [(e["method"] + f", {e['d_sae']}", row) for e in found for row in e["rows"] if row["name"] == "dictionary"]
    controls = [(row["name"], row) for row in found[0]["rows"] if row["name"] != "dictionary"]
    lines = ["| | read from | " + " | ".join(title for title, _ in COLUMNS.values()) + " |"]
    lines += ["|---|---|" + "--:|" * len(COLUMNS)]
    for name, row in own + [(f"*{name}*", row) for name, row in controls]:
        values = [(row["scores"].get(key), form) for key, (_, form) in COLUMNS.items()]
        cells = ["" if value is None else form.format(value) for value, form in values]
        lines += [f"| {name} | {row['readout']} | " + " | ".join(cells) + " |"]
    return "\n".join(lines)


def block(evaluations: list[dict[str, Any]], seconds: float, peak_bytes: float) -> str:
    site, games = evaluations[0]["site"], evaluations[0]["games"]
    machine = f"{platform.machine()} with {len(os.sched_getaffinity(0))} cores"
    return f"""
![The demo's report]({PICTURE})

Made by `.venv/bin/python docs/readme.py`, which runs the demo: {seconds / 60:.1f} minutes after installation and
{peak_bytes / 2**30:.1f} GiB of memory at most, on {machine}. Site {site}, {games["positions"]:,} positions of
{games["count"]:,} games that training never saw; features are chosen on one half of the games and scored on the other.
Controls in italics. Pairs are out of 192, legal squares out of 60. `leaky_readout` is trained as TopK; when it is read,
a thousandth of every positive code that is not among the 64 largest passes too, and L0 counts those.

{table(evaluations)}
"""


def screenshot(page: Path, picture: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        raise FileNotFoundError("the picture needs Chromium, and there is none on the path")
    how = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1200,900"]
    subprocess.run([browser, *how, f"--screenshot={picture}", page.as_uri()], check=True, capture_output=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "demo"
        began = time.perf_counter()
        subprocess.run([str(Path(sys.executable).with_name("unweave")), "demo", str(folder)], check=True)
        seconds = time.perf_counter() - began
        peak_bytes = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        found = [json.loads(path.read_text()) for path in sorted(folder.rglob("evaluation.json"))]
        screenshot(folder / "report.html", ROOT / PICTURE)
    readme = ROOT / "README.md"
    parts = re.split(r"(?<=<!-- demo:begin -->\n).*?(?=<!-- demo:end -->)", readme.read_text(), flags=re.DOTALL)
    readme.write_text(block(found, seconds, peak_bytes).join(parts))


if __name__ == "__main__":
    main()
