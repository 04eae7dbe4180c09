"""Writes docs/quaisley.md from a finished study of report 001: `python docs/quaisley.py runs/study-quaisley`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from unweave import files
from unweave.view.quaisley import answers, markdown, questions_markdown


def page(found: dict[str, Any], command: str) -> str:
    made, games = f"Made by `{command}`, then `.venv/bin/python docs/quaisley.py`.", found["held_out"]
    return f"""# Report 001 anew

Quaisley's "Alternative sparsity methods for sparse autoencoders with OthelloGPT" on the bundled OthelloGPT: 1,024
features on the residual stream after layer 3, {found["games"]:,} games, four epochs ({found["steps"]:,} steps of
1,024 activations), Adam at 1e-3, Huben's reconstruction loss, inputs as they are, no warm-up, no revival. Each figure
comes three times: the report's, ours with the report's coefficients, and ours with coefficients chosen on validation
games after a tenth of the training. Classifiers are distinct pairs of a square and a state with AUROC above 0.9, on
{games["scored_on"]:,} test games, features chosen on {games["chosen_on"]:,} others. What counts as active is above 0,
but above 1 for smoothed L0 and above 0.01 for dimension reduction, as in the report. One seed each, as there.

{made}

{markdown(found)}

The report's subject has 8 layers of width 512 and plays less well, so that columns differ for more reasons than one:
a penalty's weight belongs to the scale of the activations, which is the subject's own.

{chr(10).join(f"- {sentence}" for sentence in learnt(found["rows"]))}

## What it leaves open

{made}

"At k" is the unexplained variance that is left if only the k largest pre-activations are decoded, whatever the
dictionary was trained with.

{questions_markdown(found)}

{chr(10).join(f"- {sentence}" for sentence in answers(found))}
"""


def learnt(rows: list[dict[str, Any]]) -> list[str]:
    """What the table says, in sentences."""

    def most(of: str) -> str:
        best = max(rows, key=lambda row: row[of]["classifiers"])
        return f"`{best['method']}`, {best[of]['classifiers']:.0f}"

    def where(sign: int) -> str:
        changes = [(row["method"], row["its"]["classifiers"], row["ours"]["classifiers"]) for row in rows]
        told = [f"`{name}` {its:.0f} to {ours:.0f}" for name, its, ours in changes if sign * (ours - its) > 0]
        return f"{len(told)} of {len(rows)} methods ({', '.join(told)})" if told else "no method"

    above = [f"`{row['method']}`" for row in rows if row["its"]["classifiers"] > (row["report"]["classifiers"] or 0)]
    return [
        f"Most classifiers have, with the report's coefficients, {most('its')}, and with tuned ones {most('ours')}; in "
        f"the report it is {most('report')}. With its coefficients {len(above)} of {len(rows)} have more here than "
        f"there: {', '.join(above)}.",
        f"Tuning gave more classifiers to {where(1)} and fewer to {where(-1)}: what is best on validation games after "
        "a tenth of the training need not be so after all of it.",
        "Between seeds a count differs by 2 to 6 (see the [leaderboard](leaderboard.md)): a smaller difference says "
        "nothing.",
    ]


def main(folder: Path, command: str) -> None:
    Path(__file__).with_name("quaisley.md").write_text(
        page(files.read_json(folder / "study.json"), command), encoding="utf-8"
    )


if __name__ == "__main__":
    main(
        Path(sys.argv[1] if len(sys.argv) > 1 else "runs/study-quaisley"),
        " ".join(sys.argv[2:]) or "unweave study quaisley",
    )
