"""Writes docs/metrics.md from the definitions that the evaluation uses; with --print, to the screen."""

from __future__ import annotations

import sys
from pathlib import Path

from unweave.evaluation.definitions import DEFINITIONS

HEAD = """# Metrics

Every score, by the name and version it has in `evaluation.json`. A definition never changes under its name: a new one
gets a new version. *Null* is what a feature, or a dictionary, that knows nothing gets. `make docs` writes this page.
"""


def page() -> str:
    lines = [HEAD]
    for name, metric in DEFINITIONS.items():
        lines += [f"## {metric.title} (`{name}`)", "", metric.definition, ""]
        lines += [f"- better: {metric.better}", f"- null: {metric.null}", f"- source: {metric.source}", ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    if "--print" in sys.argv:
        sys.stdout.write(page())
    else:
        Path(__file__).with_name("metrics.md").write_text(page(), encoding="utf-8")
