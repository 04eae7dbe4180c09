"""Writes docs/metrics.md from the definitions that the evaluation uses; with --print, to the screen."""

from __future__ import annotations

import sys
from pathlib import Path

from unweave.evaluation.definitions import DEFINITIONS
from unweave.evaluation.language import definitions as language

HEAD = """# Metrics

Every score, by the name and version it has in `evaluation.json`. A definition never changes under its name: a new one
gets a new version. *Null* is what a feature, or a dictionary, that knows nothing gets. `make docs` writes this page.

Those of the board are Othello's alone; those that say so stand in the table of a text only.
"""


def page() -> str:
    lines = [HEAD]
    for name, metric in (DEFINITIONS | language.DEFINITIONS).items():
        lines += [f"## {metric.title} (`{name}`)", "", metric.definition, ""]
        lines += [] if name in DEFINITIONS else ["- on text only"]
        lines += [f"- better: {metric.better}", f"- null: {metric.null}", f"- source: {metric.source}", ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    if "--print" in sys.argv:
        sys.stdout.write(page())
    else:
        Path(__file__).with_name("metrics.md").write_text(page(), encoding="utf-8")
