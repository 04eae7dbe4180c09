"""The report: one page that shows what the dictionaries of some runs found, beside what the controls find."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from platform import python_version
from typing import Any

from unweave import files
from unweave.cards.markup import Markup, join, tag
from unweave.view import figures, page, table
from unweave.view.read import Reading, read


def write(folder: Path, runs: Sequence[Path]) -> Path:
    """Write `folder/report.html`, a page that needs no network and no other file, and return its path.

    Reads only files of the runs' folders: config.json, evaluation.json, evaluation.safetensors, metrics.jsonl.
    Raises ValueError for no runs or a damaged file, FileNotFoundError for a run that was not evaluated, OSError when
    the page cannot be written.
    """
    if not runs:
        raise ValueError("a report needs at least one run: name the folder of one that was evaluated")
    readings = [read(run) for run in runs]
    path = folder / "report.html"
    files.write_text(path, render(readings, datetime.now(UTC)))
    return path


def render(readings: Sequence[Reading], when: datetime) -> str:
    """The page itself. The best dictionary is the one with the most pairs, within position where they tie."""
    rows = table.rows([reading.evaluation for reading in readings])
    best = max(readings, key=lambda reading: (reading.score("pairs/1") or 0, reading.score("pairs_within/1") or 0))
    parts = [
        _opening(readings, best, rows),
        _scores(readings, rows),
        figures.dictionaries(readings),
        figures.squares(best),
        figures.best_features(best),
        _colophon(readings, when),
    ]
    return page.document(f"unweave: {best.evaluation['subject']} at {best.evaluation['site']}", parts)


def _opening(readings: Sequence[Reading], best: Reading, rows: Sequence[table.Row]) -> Markup:
    games = best.evaluation["games"]
    sites = sorted({str(reading.evaluation["site"]) for reading in readings})
    trained = "dictionaries were" if len(readings) > 1 else "dictionary was"
    what = tag(
        "p",
        f"{page.in_letters(len(readings)).capitalize()} {trained} trained, without any label, on the activations of ",
        tag("code", str(best.evaluation["subject"])),
        " at ",
        join([tag("code", site) for site in sites], ", "),
        ", a transformer that learned Othello from lists of moves alone. Each was then held against the true state of "
        f"the board at {games['positions']:,} positions of {games['count']:,} games that training never saw. There are "
        "192 pairs of a square and a state, such as d3 is mine, d3 is theirs, d3 is empty; mine is the side that moves "
        f"next. For each pair the best feature was chosen on {games['chosen_on']:,} of the games and scored on the "
        f"other {games['scored_on']:,}. Every score stands beside those of the controls.",
    )
    heading = tag("h1", "What the dictionaries know about the board")
    return tag("header", tag("p", "unweave", class_="brand"), heading, _headline(best, rows), what, class_="opening")


def _headline(best: Reading, rows: Sequence[table.Row]) -> Markup:
    """The comparison that matters, in a sentence made from the numbers."""
    parts: list[str] = ["The best dictionary, ", tag("em", best.name), ", "]
    for metric, before, after in (
        ("pairs/1", "has single features for ", " of the 192 square-and-state pairs (AUROC above 0.9)"),
        ("pairs_within/1", "; within position, where knowing the time of the game is worth nothing, for ", ""),
    ):
        score = best.score(metric)
        if score is None:
            continue
        rivals = [
            f"{value:.0f} for {words}"
            for start, words in (("neurons", "raw neurons"), ("shuffled", "a shuffled subject"))
            if (value := _highest(rows, start, metric)) is not None
        ]
        against = f", against {' and '.join(rivals)}" if rivals else ""
        parts += [before, tag("strong", f"{score:.0f}"), after, against]
    return tag("p", *parts, ".", class_="headline")


def _highest(rows: Sequence[table.Row], start: str, metric: str) -> float | None:
    """The best score among the controls of one kind."""
    scores = [row.scores.get(metric) for row in rows if row.is_control and row.name.startswith(start)]
    return max((score for score in scores if score is not None), default=None)


def _scores(readings: Sequence[Reading], rows: Sequence[table.Row]) -> Markup:
    metrics: dict[str, Mapping[str, Any]] = {}
    for reading in readings:
        metrics.update(reading.evaluation["metrics"])
    note = (
        "Bold is the best dictionary of a column. Below the rule: controls; those with no decoder of their own rebuild "
        "the activations by the best linear one. A dash: the metric has no meaning there."
    )
    return page.section(
        "Scores",
        page.score_table(rows),
        tag("p", note, class_="aside"),
        page.definitions(metrics),
        page.every_metric(rows, metrics),
    )


def _colophon(readings: Sequence[Reading], when: datetime) -> Markup:
    games = readings[0].evaluation["games"]
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    lines = [
        ("Written", f"{when:%Y-%m-%d %H:%M} UTC by unweave {_version('unweave')}"),
        ("Command", command if command.startswith("unweave") else "unweave.view.report.write, from Python"),
        ("Versions", f"torch {_version('torch')}, numpy {_version('numpy')}, Python {python_version()}"),
        ("Scored on", f"{games['split']} games of seed {games['seed']}, {games['count']:,} in all"),
        ("Training", "; ".join(f"{reading.name}: {_training(reading)}" for reading in readings)),
    ]
    configs = page.configurations([(reading.name, reading.config) for reading in readings])
    return tag("footer", tag("h2", "How it was made"), page.facts(lines), configs)


def _training(reading: Reading) -> str:
    data = reading.config.get("data")
    seeds = {
        "weights": reading.config.get("seed"),
        "games": data.get("seed") if isinstance(data, dict) else None,
    }
    told = [f"seed of the {what} {seed}" for what, seed in seeds.items() if seed is not None]
    took = [f"{reading.seconds:,.0f} s"] if reading.seconds is not None else []
    return ", ".join(took + told) or "not recorded"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(version unknown)"
