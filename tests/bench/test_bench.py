"""The bench end to end on a tiny subject: everything once, tuned alike, scored, and taken up again where it was."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from unweave import files
from unweave.bench import leaderboard
from unweave.bench.bench import Bench, Plan, standings
from unweave.cli.live import Bars
from unweave.config import RunConfig, override
from unweave.registry import parse
from unweave.subject import disk
from unweave.subject.gpt import GPT, GPTConfig
from unweave.subject.othello import ALPHABET
from unweave.view.leaderboard import by_measure, console_table, markdown, rows, standings_table, verdict

THOSE = {"topk": ["topk(k=4)", "topk(k=2)"], "relu": ["relu(l1=0.1)"]}


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("subject")
    torch.manual_seed(0)
    disk.save(GPT(GPTConfig(n_layers=1, d_model=16, n_heads=2), ALPHABET), folder)
    return str(folder)


def plan(subject: str, minutes: float = 5.0, those: dict[str, list[str]] = THOSE) -> Plan:
    settings = {"subject": subject, "d_sae": 16, "training.steps": 4, "training.batch": 64, "data.sequences": 8}
    base = override(RunConfig(), {**settings, "revive": "none()"})
    return Plan(base=base, contenders=those, rates=(2e-3, 1e-3), seeds=2, games=40, minutes=minutes)


@pytest.fixture(scope="module")
def finished(subject: str, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    made = Bench(tmp_path_factory.mktemp("bench"), plan(subject))
    made.explore(lambda news: None)
    leaderboard.write(made)
    return made


def test_the_plan_is_carried_out_and_the_board_is_complete(finished: Bench) -> None:
    found = finished.found()
    assert len(found) == 2 + 2 + 1 + 3
    board = leaderboard.read(finished.folder)
    assert [m["name"] for m in board["methods"]] == ["topk", "relu"]
    topk = board["methods"][0]
    assert [(level["call"], level["seeds"]) for level in topk["levels"]] == [
        ("topk(k=4)", [0, 1]),
        ("topk(k=2)", [0, 1]),
    ]
    for level in topk["levels"]:
        assert {"pairs/1", "coverage_corrected/1", "f1_pairs/1", "ce_score/1", "dead/1"} <= set(level["activations"])
        assert "pairs_within/1" in level["pre-activations"]
    assert {c["name"] for c in board["controls"]} >= {"linear probe", "always on", "shuffled subject"}
    assert not board["counts"], "4 steps are too few"
    assert board["games"]["validation"]["split"] == "validation"


def test_mean_and_deviation_are_those_of_the_seeds(finished: Bench) -> None:
    board = leaderboard.read(finished.folder)
    level = board["methods"][0]["levels"][0]
    runs = [t for t in finished.found() if t.call == level["call"] and t.lr == level["lr"]]
    values = [files.read_json(finished.run_of(t).folder / "test.json")["activations"]["fvu/1"] for t in sorted(runs)]
    assert len(values) == 2
    assert level["activations"]["fvu/1"]["mean"] == pytest.approx(sum(values) / 2)
    assert level["activations"]["fvu/1"]["sd"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)


def test_the_rate_is_chosen_on_validation_games_alone(finished: Bench) -> None:
    for method in leaderboard.read(finished.folder)["methods"]:
        by_rate = {
            t.lr: s["pairs/1"] + s["pairs_within/1"]
            for t, s in finished.found().items()
            if t.method == method["name"] and t.seed == 0 and t.call == THOSE[method["name"]][0]
        }
        assert {by_rate[level["lr"]] for level in method["levels"]} == {max(by_rate.values())}


def test_it_goes_on_where_it_was(finished: Bench, subject: str) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.folder.rglob("validation.json")}
    again = Bench(finished.folder, plan(subject))
    again.explore(lambda news: pytest.fail(f"{news.stage} was done"))
    assert {p: p.stat().st_mtime_ns for p in finished.folder.rglob("validation.json")} == before


def test_without_time_each_method_is_tried_once(subject: str, tmp_path: Path) -> None:
    made, stages = Bench(tmp_path, plan(subject, minutes=0.0)), []
    made.explore(lambda news: stages.append(news.stage))
    assert stages == ["each method once"]
    assert len(made.found()) == 2


def test_a_loss_that_is_not_finite_fails_alone(subject: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unweave.training.loop import Trainer

    honest = Trainer.update

    def update(self: Trainer, *vectors: torch.Tensor | None):
        if self.config.method.startswith("relu") and self.step == 2:
            raise FloatingPointError("the loss is nan at step 2")
        return honest(self, *vectors)

    monkeypatch.setattr(Trainer, "update", update)
    made = Bench(tmp_path, plan(subject))
    made.explore(lambda news: None)
    board = leaderboard.write(made)
    assert list(board["failed"].values()) == ["the loss is nan at step 2"] * len(board["failed"])
    assert all(name.startswith("relu") for name in board["failed"])
    assert board["methods"][0]["levels"]
    assert board["methods"][1]["levels"] == []
    assert len(list(rows(board))) == 1 + len({control["name"] for control in board["controls"]})


def test_the_table_has_a_row_for_every_method_and_control(finished: Bench) -> None:
    board = json.loads((finished.folder / "leaderboard.json").read_text())
    controls = {control["name"] for control in board["controls"]}
    assert console_table(board).row_count == 2 + len(controls)
    text = markdown("method", list(rows(board)))
    assert text.count("\n") == 1 + 2 + len(controls)
    (shuffled,) = (level for name, level in rows(board) if name == "shuffled subject")
    assert shuffled["activations"]["fvu/1"]["mean"] > 0
    assert shuffled["pre-activations"]["pairs/1"]["mean"] >= 0
    assert "± " in text


@pytest.mark.parametrize("width", [60, 80, 110, 200])
def test_a_narrow_terminal_shows_fewer_columns_and_all_of_each(finished: Bench, width: int) -> None:
    board = json.loads((finished.folder / "leaderboard.json").read_text())
    out = StringIO()
    Console(file=out, width=width).print(console_table(board, width))
    assert "…" not in out.getvalue()
    assert all(name.partition("(")[0] in out.getvalue() for name, _ in rows(board) if " " not in name)
    assert "pairs" in out.getvalue()
    assert ("CE score" in out.getvalue()) == (width >= 110)


def test_who_leads_so_far_is_shown_while_it_runs(finished: Bench) -> None:
    found = finished.found()
    made = standings(found)
    assert sorted(parse(call)[0] for call, *_ in made) == sorted(finished.plan.contenders)
    for call, rate, seeds, scores in made:
        alike = [s for trial, s in found.items() if (trial.call, trial.lr) == (call, rate)]
        assert seeds == len(alike)
        assert scores["pairs/1"] == pytest.approx(sum(s["pairs/1"] for s in alike) / seeds)
    out = StringIO()
    with Bars(console=Console(file=out, force_terminal=True, width=120)) as bars:
        bars.above = standings_table(made, len(found))
        bars.add_task("training", total=1)
    assert f"so far, on validation games: {len(found)} trials" in out.getvalue()
    assert all(call in out.getvalue() for call, *_ in made)
    ranked = [scores["pairs/1"] + scores["pairs_within/1"] for *_, scores in made]
    assert ranked == sorted(ranked, reverse=True)
    assert list(standings_table(made, 1, most=1).columns[0].cells) == [made[0][0]]


def test_what_was_scored_on_test_games_costs_nothing_again(finished: Bench) -> None:
    """Of each call and seed one rate is scored, so that the others wait for nothing."""
    found = list(finished.found())
    assert finished._unscored(found) == 0
    one = found[-1]
    scored = finished.run_of(one).folder / "test.json"
    aside = scored.rename(scored.with_name("aside.json"))
    try:
        assert finished._unscored(found) == 1
    finally:
        aside.rename(scored)
    new = replace(one, seed=99)
    assert finished._unscored([*found, new, replace(new, lr=1.0)]) == 1


def test_a_folder_of_other_settings_is_refused(finished: Bench, subject: str) -> None:
    other = plan(subject)
    with pytest.raises(ValueError, match=r"other settings \(base\.d_sae is 16 there, 8 here\)"):
        Bench(finished.folder, Plan(**{**vars(other), "base": override(other.base, {"d_sae": 8})}))
    with pytest.raises(ValueError, match="games is 40 there, 20 here"):
        Bench(finished.folder, Plan(**{**vars(other), "games": 20}))


def test_a_method_that_does_not_fit_is_told_before_anything_is_written(subject: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not fit a dictionary of d_sae=16"):
        Bench(tmp_path / "bench", plan(subject, those={"topk": ["topk(k=17)"]}))
    assert not (tmp_path / "bench").exists()


def board_of(**values: list[float]) -> dict[str, Any]:
    """Each method with one level, and a value of pairs/1 for each seed."""
    return {
        "methods": [
            {
                "name": name,
                "levels": [
                    {
                        "seeds": list(range(len(each))),
                        "validation": {"pairs/1": 0.0},
                        "activations": leaderboard.spread([{"pairs/1": float(value)} for value in each]),
                    }
                ],
            }
            for name, each in values.items()
        ]
    }


def test_the_best_is_clear_only_of_what_differs_by_more_than_the_seeds_do() -> None:
    board = board_of(good=[50, 52, 54], near=[48, 51, 53], far=[30, 31, 32], once=[90])
    assert verdict(board, "pairs/1") == ("good", ["near"], 1)
    assert verdict(board_of(once=[90], twice=[1, 2]), "pairs/1") == ("", [], 2)


def test_by_each_measure_a_row_for_every_method(finished: Bench) -> None:
    text = by_measure(leaderboard.read(finished.folder))
    assert [line.split("`")[1] for line in text.splitlines()[2:]] == ["topk", "relu"]
