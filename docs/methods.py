"""Writes docs/methods.md from what is registered; with --print, to the screen."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unweave.dictionary import METHODS
from unweave.dictionary.encoder import ENCODERS
from unweave.dictionary.initial import STARTS
from unweave.dictionary.objective import OBJECTIVES
from unweave.dictionary.revive import REVIVALS
from unweave.registry import Registry
from unweave.training.optimisers import OPTIMISERS

HEAD = """# Methods

What can be trained, and what stands beside a method. A name is written as it is called, with what its arguments are if
you say nothing; the same notation serves the command line, Python and JSON. Made by `.venv/bin/python docs/methods.py`;
`unweave methods` shows the first table on a terminal, and [Add a method](add-a-method.md) says how one of yours joins.
"""

PARTS: tuple[tuple[str, str, Registry[Any]], ...] = (
    (
        "Sparsity methods",
        '`--method "topk(k=64)"`. x is an input, pre its pre-activations, f the codes, d a decoder row.',
        METHODS,
    ),
    ("Objectives", "`--set objective=...`: what a reconstruction is to be close in.", OBJECTIVES),
    ("Revivals", "`--set revive=...`: what brings dead features back.", REVIVALS),
    ("Encoders", "`--set encoder=...`: what stands before the method's own.", ENCODERS),
    ("First weights", "`--set start=...`: what the encoder reads along at first.", STARTS),
    ("Optimisers", "`--set training.optimiser=...`.", OPTIMISERS),
)


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def source(builder: Callable[..., Any]) -> str:
    return getattr(builder(), "source", "-")


def page() -> str:
    lines = [HEAD]
    for title, use, registry in PARTS:
        lines += [f"## {title}", "", f"{use} Made by `.venv/bin/python docs/methods.py`.", ""]
        lines += ["| call | what it does | source |", "|---|---|---|"]
        for name in registry:
            says = cell((registry[name].__doc__ or "").partition("\n\n")[0])
            lines.append(f"| `{registry.describe(name)}` | {says} | {cell(source(registry[name]))} |")
        lines += ["", f"{len(list(registry))} in all.", ""]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    if "--print" in sys.argv:
        sys.stdout.write(page())
    else:
        Path(__file__).with_name("methods.md").write_text(page(), encoding="utf-8")
