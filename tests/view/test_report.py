"""The report: one well-formed file that fetches nothing, says what its numbers mean, and refuses damage."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from unweave import files
from unweave.cards.markup import Markup, tag
from unweave.othello import labels
from unweave.view import features, report
from unweave.view.read import read


@pytest.fixture(scope="module")
def html(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = report.write(tmp_path_factory.mktemp("report"), runs)
    assert path.name == "report.html"
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def root(html: str) -> ElementTree.Element:
    return ElementTree.fromstring(html.removeprefix("<!doctype html>\n"))


def test_it_is_well_formed_and_fetches_nothing(html: str, root: ElementTree.Element) -> None:
    assert "http://" not in html
    assert "https://" not in html
    assert "url(" not in html
    assert "@import" not in html
    tags = {element.tag for element in root.iter()}
    assert not tags & {"script", "link", "img", "iframe", "object", "image", "use"}
    assert not any(name in element.attrib for element in root.iter() for name in ("src", "href", "srcset"))


def test_an_empty_element_never_swallows_what_follows(html: str) -> None:
    closed_at_once = set(re.findall(r"<(\w+)[^<>]*/>", html))
    assert closed_at_once <= {"meta", "input", "rect", "circle", "path"}


def test_run_names_are_escaped(html: str, root: ElementTree.Element) -> None:
    assert "relu <b>" not in html
    assert any(element.text == "relu <b> & co" for element in root.iter("span"))


def test_every_definition_is_there(root: ElementTree.Element, runs: list[Path]) -> None:
    told = " ".join("".join(element.itertext()) for element in root.iter("dd"))
    metrics = json.loads((runs[0] / "evaluation.json").read_text())["metrics"]
    assert all(metric["definition"] in told for metric in metrics.values())
    names = [element.text for element in root.iter("th")] + [element.text for element in root.iter("small")]
    assert all(name in names for name in metrics)


def test_the_headline_holds_the_numbers(root: ElementTree.Element) -> None:
    (headline,) = [p for p in root.iter("p") if p.get("class") == "headline"]
    words = "".join(headline.itertext())
    assert "topk-96" in words
    assert "56 of the 192" in words  # 188 * 0.3, as the fixture has it
    assert "47 for raw neurons and 0 for a shuffled subject" in words


def test_every_part_is_drawn(root: ElementTree.Element) -> None:
    assert len(list(root.iter("article"))) == 10
    boards = [svg for svg in root.iter("svg") if svg.get("class") == "board"]
    assert len([svg for svg in boards if svg.find("rect[@class='sheet']") is not None]) == 12
    assert len([svg for svg in root.iter("svg") if svg.get("class") == "chart"]) == 3 + 2 + 3 + 3


def test_ten_features_ten_squares_strongest_first_and_one_board_a_game(runs: list[Path]) -> None:
    chosen = features.best(read(runs[1]))
    assert len({features.state_and_square(feature.label)[1] for feature in chosen}) == len(chosen) == 10
    scores = [feature.auroc_within for feature in chosen]
    assert scores == sorted(scores, reverse=True)
    states = [features.state_and_square(feature.label)[0] for feature in chosen]
    assert sorted(states.count(state) for state in set(states)) == [2, 2, 3, 3], "each kind in turn"
    for feature in chosen:
        assert len({example.game for example in feature.examples}) == len(feature.examples) <= 6
        values = [example.value for example in feature.examples]
        assert values == sorted(values, reverse=True)
        assert feature.density > 0


def test_boards_show_the_true_position(runs: list[Path]) -> None:
    """Ticks agree with a plain look at the labels."""
    reading = read(runs[1])
    (card, *_), (feature, *_) = features.cards(features.best(reading), reading), features.best(reading)
    state, square = features.state_and_square(feature.label)
    truth = labels.label(reading.tensors["moves"])
    holds = []
    for example in feature.examples:
        at = (example.game, example.ply)
        legal, relative = bool(truth.legal[at][square]), int(truth.board[at][square])
        holds.append(legal if state == "legal" else ("empty", "mine", "theirs")[relative] == state)
    assert [mark == "✓" for mark in re.findall("[✓✗]", card)] == holds
    discs = [len(re.findall('class="disc', svg)) for svg in card.split("<svg")[1:]]
    assert discs == [int((truth.colour[e.game, e.ply] != 0).sum()) for e in feature.examples]


def test_labels_in_words() -> None:
    assert [features.in_words(i) for i in (0, 64 + 37, 128 + 63, 192, 251)] == [
        "a1 is mine",
        "f5 is theirs",
        "h8 is empty",
        "a1 is legal",
        "h8 is legal",
    ]


def test_a_run_without_some_metrics_and_without_a_log(runs: list[Path], tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs[0], tmp_path / "run"))
    (run / "metrics.jsonl").unlink()
    evaluation = json.loads((run / "evaluation.json").read_text())
    for row in evaluation["rows"]:
        row["scores"] = {"pairs/1": row["scores"]["pairs/1"]}
    files.write_json(run / "evaluation.json", evaluation)
    html = report.write(tmp_path, [run]).read_text(encoding="utf-8")
    assert "Training loss" not in html
    assert "Sparsity against" not in html


def test_a_dictionary_with_fewer_good_features_than_ten(runs: list[Path], tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs[0], tmp_path / "run"))
    tensors, _ = files.read_tensors(run / "evaluation.safetensors")
    tensors["density"][3:] = 0
    tensors["auroc"][2] = torch.nan
    files.write_tensors(run / "evaluation.safetensors", tensors)
    assert len(features.best(read(run))) <= 2
    assert "features" in report.write(tmp_path, [run]).read_text(encoding="utf-8")


def test_no_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one run"):
        report.write(tmp_path, [])


def test_damage_is_told_in_one_sentence(runs: list[Path], tmp_path: Path) -> None:
    def broken(name: str, spoil: str | None) -> Path:
        run = Path(shutil.copytree(runs[0], tmp_path / f"{name}{spoil is None}{len(spoil or '')}"))
        (run / name).unlink() if spoil is None else (run / name).write_text(spoil)
        return run

    for name, spoil, error, words in (
        ("evaluation.json", None, FileNotFoundError, "unweave evaluate"),
        ("evaluation.safetensors", None, FileNotFoundError, "unweave evaluate"),
        ("evaluation.json", '{"run": ', ValueError, "damaged"),
        ("evaluation.json", '{"run": 1}', ValueError, "lacks subject"),
        ("evaluation.safetensors", "half", ValueError, "damaged"),
        ("metrics.jsonl", '{"step": 1\n{"step": 2}\n', ValueError, "line 1"),
        ("config.json", "[]", ValueError, "no configuration"),
    ):
        with pytest.raises(error, match=words) as caught:
            report.write(tmp_path, [broken(name, spoil)])
        assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="no run folder"):
        report.write(tmp_path, [tmp_path / "nowhere"])
    assert not (tmp_path / "report.html").exists()


def test_a_log_cut_off_in_its_last_line_is_read(runs: list[Path], tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs[0], tmp_path / "run"))
    with open(run / "metrics.jsonl", "a") as log:
        log.write('{"step": 99')
    assert len(read(run).steps) == len(read(runs[0]).steps)


def test_tensors_of_other_shapes_are_refused(runs: list[Path], tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs[0], tmp_path / "run"))
    tensors, _ = files.read_tensors(run / "evaluation.safetensors")
    files.write_tensors(run / "evaluation.safetensors", tensors | {"auroc_within": tensors["auroc"][:, :9]})
    with pytest.raises(ValueError, match="auroc_within has shape"):
        read(run)
    del tensors["max"]
    files.write_tensors(run / "evaluation.safetensors", tensors)
    with pytest.raises(ValueError, match="lacks the tensor max"):
        read(run)


def test_markup_escapes_text_and_attributes_but_not_markup() -> None:
    made = tag("p", "a<b>&", Markup("<b>c</b>"), title='"<x>', class_="k", stroke_width=1.50, id=None)
    assert made == '<p title="&quot;&lt;x&gt;" class="k" stroke-width="1.5">a&lt;b&gt;&amp;<b>c</b></p>'
    assert tag("i") == "<i></i>"
    assert tag("circle", r=8, cx=1 / 3) == '<circle r="8" cx="0.333333"/>'


def test_features_are_taken_in_turn() -> None:
    """Ranked: three of empty squares, one legal, another empty one on a taken square."""
    ranked = [(0, "empty", 5), (1, "empty", 6), (2, "legal", 5), (3, "legal", 9), (4, "empty", 7), (5, "mine", 6)]
    assert features._in_turn(ranked, 10) == [0, 3, 5, 4]
    assert features._in_turn(ranked, 2) == [0, 3]
