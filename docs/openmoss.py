"""Writes docs/openmoss.md from a finished study of report 003: `python docs/openmoss.py runs/study-openmoss`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from unweave import files
from unweave.view.openmoss import REPORT, experiments, markdown, picture, tables

PICTURE = "openmoss-experiments.svg"


def page(found: dict[str, Any], command: str) -> str:
    made = f"Made by `{command}`, then `.venv/bin/python docs/openmoss.py`."
    parts = [
        f"""# Report 003 anew

OpenMOSS's dictionaries of GPT-2 small, on {found["subject"]}: one on every attention output and every MLP output,
{found["ratio"]} features for each dimension, {found["tokens"]:,} tokens of {found["text"]} in batches of
{found["batch"]:,}, its loss, optimiser, ghost gradients and decoder; then pruned and fine-tuned as it was. One seed, as
there. Scores are of {found["held_out"]} held-out rows; variance explained is the mean of each token's own, as there.
"""
    ]
    for title, head, lines in tables(found):
        kind = "attn_out" if "attention" in title else "mlp_out"
        said = (
            REPORT[kind]
            if "pruned" in title and "outputs that" in title
            else REPORT["tuned"]
            if "brought" in title
            else ""
        )
        parts.append(f"## {title}\n\n{made} {said}\n\n{markdown(head, lines)}\n")
    parts.append(
        f"## Ghost gradients and b_dec\n\n{made} At {found['middle']}: the recipe as it is (with ghost gradients, no "
        f"b_dec), without ghost gradients, and with a b_dec.\n\n![How the trainings went]({PICTURE})\n\n"
        + "\n".join(f"- {sentence}" for sentence in experiments(found))
        + "\n"
    )
    return "\n".join(parts)


def main(folder: Path, command: str) -> None:
    found, here = files.read_json(folder / "study.json"), Path(__file__)
    here.with_name("openmoss.md").write_text(page(found, command), encoding="utf-8")
    here.with_name(PICTURE).write_text(picture(found), encoding="utf-8")


if __name__ == "__main__":
    main(
        Path(sys.argv[1] if len(sys.argv) > 1 else "runs/study-openmoss"),
        " ".join(sys.argv[2:]) or "unweave study openmoss",
    )
