"""Writes docs/leaderboard.md and its pictures from a finished bench: `python docs/leaderboard.py runs/bench`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unweave.bench import leaderboard
from unweave.view.leaderboard import CLASSIFIERS, CODE, MEASURES, best_level, by_measure, markdown, rows, verdict
from unweave.view.pareto import picture

HERE = Path(__file__).parent
CONTROLS = ("linear probe", "always on")
PICTURES = (
    ("fvu/1", "FVU", "lower", ()),
    ("ce_score/1", "CE score", "higher", ()),
    ("pairs/1", "distinct pairs", "higher", ("neurons",)),
    ("pairs_within/1", "distinct pairs within position", "higher", ("neurons",)),
    ("legal/1", "legal squares", "higher", ("neurons",)),
    ("f1_pairs/1", "pairs with F1 above 0.9", "higher", ("neurons",)),
    ("coverage_128/1", "coverage", "higher", CONTROLS),
    ("reconstruction_128/1", "board reconstruction", "higher", CONTROLS),
    ("reconstruction_192/1", "board reconstruction with empty squares", "higher", CONTROLS),
)


def page(board: dict[str, Any], command: str) -> str:
    base, games = board["base"], board["games"]["test"]
    every = [(level["call"], level) for method in board["methods"] for level in method["levels"]]
    made = f"Made by `{command}`, then `.venv/bin/python docs/leaderboard.py`."
    lines = [
        "# Leaderboard",
        "",
        f"Every sparsity method at `{base['site']}` of the bundled OthelloGPT, {base['d_sae']} features, "
        f"{base['training']['steps']} steps of {base['training']['batch']} activations, one stream for all. "
        f"{_tuning(board['rates'])} Levels are chosen on validation games, figures are of {games['scored_on']} test "
        "games. Mean ± standard deviation over seeds, where there are several.",
        "",
        "## At its best by distinct pairs",
        "",
        made,
        "",
        *(line for columns in (CLASSIFIERS, CODE) for line in (markdown("method", list(rows(board)), columns), "")),
        "## At its best by each measure",
        "",
        made,
        "",
        by_measure(board),
        "",
        *(f"- {sentence}" for sentence in found(board)),
        "",
        "## Sparsity and what it costs",
        "",
        made,
        "",
        *[f"![{title} against L0]({_file(metric)})\n" for metric, title, _, _ in PICTURES],
        "## Every level",
        "",
        made,
        "",
        *(line for columns in (CLASSIFIERS, CODE) for line in (markdown("call", every, columns), "")),
        *(f"- `{trial}` failed: {why}." for trial, why in board["failed"].items()),
    ]
    return "\n".join(lines)


def _tuning(rates: list[float]) -> str:
    if len(rates) == 1:
        return f"Each has the learning rate {rates[0]:g}: the time did not reach to tune it."
    tried = ", ".join(f"{rate:g}" for rate in rates)
    return f"Each was tried with the learning rates {tried} at its first level, and has the best on validation games."


def found(board: dict[str, Any]) -> Iterator[str]:
    """By each measure who leads, and by more than the seeds differ or not."""
    for title, metric in MEASURES:
        first, near, unsure = verdict(board, metric)
        if not first:
            yield f"{title}: no method has three seeds yet, so nothing can be said."
            continue
        others = f"not clear of it: {', '.join(f'`{name}`' for name in near)}" if near else "clear of all others"
        rest = f" ({unsure} methods have fewer than three seeds at that level)" if unsure else ""
        yield f"{title}: `{first}` leads; {others}, by two standard errors{rest}."


def _file(metric: str) -> str:
    return f"pareto-{metric.partition('/')[0].replace('_', '-')}.svg"


def main(folder: Path, command: str) -> None:
    board = leaderboard.read(folder)
    if not any(best_level(method) for method in board["methods"]):
        raise ValueError(f"no method of {folder} has been scored")
    names = [row["name"] for row in board["controls"]]
    for metric, title, better, controls in PICTURES:
        shown = [name for name in names if name.startswith(tuple(controls) or ("no control",))]
        (HERE / _file(metric)).write_text(picture(board, metric, title, better, shown), encoding="utf-8")
    (HERE / "leaderboard.md").write_text(page(board, command), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/bench"), " ".join(sys.argv[2:]) or "unweave bench othello")
