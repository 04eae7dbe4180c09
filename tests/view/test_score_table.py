"""The score table: which rows it has, how numbers are written, and that it fits a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from unweave.view import page, table
from unweave.view.console import console_table


@pytest.fixture
def evaluations(runs: list[Path]) -> list[dict]:
    return [json.loads((run / "evaluation.json").read_text()) for run in runs]


def test_dictionaries_come_first_and_a_shared_control_once(evaluations: list[dict]) -> None:
    rows = table.rows(evaluations)
    assert [row.is_control for row in rows] == [False] * 6 + [True] * 7
    assert rows[0].name == "topk-64"
    assert [row.name for row in rows if row.is_control][:2] == ["linear probe", "position"]


def test_a_control_whose_scores_differ_between_runs_bears_their_names(evaluations: list[dict]) -> None:
    (shuffled,) = [row for row in evaluations[0]["rows"] if row["name"] == "shuffled subject"]
    shuffled["scores"] = shuffled["scores"] | {"pairs/1": 1}
    names = [row.name for row in table.rows(evaluations)]
    assert "shuffled subject · topk-64" in names
    assert "shuffled subject · topk-96" in names
    assert "shuffled subject" not in names


def test_a_missing_metric_is_a_dash(evaluations: list[dict]) -> None:
    evaluations[0]["rows"][0]["scores"] = {"pairs_mine/1": 3, "l0/1": None}
    cells = {column.title: column.cell(table.rows(evaluations)[0]) for column in table.COLUMNS}
    assert cells["pairs"] == cells["L0"] == table.MISSING
    assert cells["mine / theirs / empty"] == f"3 / {table.MISSING} / {table.MISSING}"


def test_numbers_are_written_for_reading_down_a_column() -> None:
    assert [table.fraction(v) for v in (0.4117, 1.0, 0.0, -0.0314, -0.0001)] == [
        ".412",
        "1.000",
        ".000",
        f"{table.MINUS}.031",
        ".000",
    ]
    assert table.percent(0.0123) == "1.2 %"


def test_the_best_is_the_lowest_where_lower_is_better(evaluations: list[dict]) -> None:
    rows = table.rows(evaluations)
    column = next(column for column in table.COLUMNS if column.title == "FVU")
    (winner,) = table.best(column, rows)
    assert rows[winner].scores["fvu/1"] == min(row.scores["fvu/1"] or 9 for row in rows if not row.is_control)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_narrow_terminal_has_fewer_columns_but_all_of_each(evaluations: list[dict], width: int) -> None:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(console_table(evaluations, width))
    assert max(map(len, capture.get().splitlines())) <= width
    assert "…" not in capture.get()
    assert "pairs" in capture.get()
    assert "dead" not in capture.get()


def test_it_fits_a_terminal_of_110_columns(evaluations: list[dict]) -> None:
    console = Console(width=110, force_terminal=False)
    with console.capture() as capture:
        console.print(console_table(evaluations))
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= 110
    assert "…" not in capture.get()
    assert any("relu <b> & co" in line for line in lines)
    assert sum("─" in line for line in lines) == 4  # above, below the heads, above the controls, below


def test_the_page_marks_controls_and_escapes_names(evaluations: list[dict]) -> None:
    html = page.score_table(table.rows(evaluations))
    assert "relu &lt;b&gt; &amp; co" in html
    assert html.count('class="control') == 7
    assert html.count("control first") == 1
