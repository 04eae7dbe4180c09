"""Writes docs/agenda.md from a finished study of report 003's agenda: `python docs/agenda.py runs/study-agenda`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from unweave import files
from unweave.view.agenda import markdown, seconds, tables


def page(found: dict[str, Any], command: str) -> str:
    made = f"Made by `{command}`, then `.venv/bin/python docs/agenda.py`."
    parts = [
        f"""# The agenda of report 003

What OpenMOSS's report wants tried next, each as a small experiment beside what it is to be better than. Every
dictionary has {found["ratio"]} features for each dimension and {found["tokens"]:,} tokens of training; TopK keeps an
eighth of the dimensions active unless a row says another method. The first four are on {found["subject"]} and the
others on small models of {found["text"]}, trained here. Scores are of {found["held_out"]} held-out rows. A cell is the
mean over {found["seeds"]} seeds of the dictionaries' first weights ± half of the range; the data is the same for all.
Differences are taken seed by seed. So little training, on one subject each, shows that an option works and which
way it points, and no more. Took, in {seconds(found)}.
"""
    ]
    for shown, head, lines, said in tables(found):
        sentences = "".join(f"\n- {sentence}" for sentence in said)
        parts.append(
            f"## {shown.title}\n\n{made} {shown.says}\n\n{markdown(head, lines)}\n" + (f"{sentences}\n" if said else "")
        )
    return "\n".join(parts)


def main(folder: Path, command: str) -> None:
    Path(__file__).with_name("agenda.md").write_text(
        page(files.read_json(folder / "study.json"), command), encoding="utf-8"
    )


if __name__ == "__main__":
    main(
        Path(sys.argv[1] if len(sys.argv) > 1 else "runs/study-agenda"),
        " ".join(sys.argv[2:]) or "unweave study agenda",
    )
