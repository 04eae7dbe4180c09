"""What a notebook shows: well-formed, of one piece, with every word of the data as text."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_runs

from unweave.dashboards import notes
from unweave.dashboards.build import build
from unweave.dashboards.reading import Example, View
from unweave.dictionary import Dictionary
from unweave.runs import Run

SCRIPT = "<script>alert('x')</script>"


@pytest.fixture(scope="module", params=["games", "text"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNWEAVE_CACHE", str(folder / "cache"))
        made = (tiny_runs.games_run if request.param == "games" else tiny_runs.text_run)(folder)
        if request.param == "games":
            tiny_runs.evaluate(made)
        build(made, n_rows=12)
        yield made


def shown(value: object) -> ElementTree.Element:
    """A value as a notebook shows it, which has to be XML, and ask for nothing else."""
    html = value._repr_html_()  # type: ignore[attr-defined]
    assert not [each for each in ("<script", "http:", "https:", "url(", "src=") if each in html]
    return ElementTree.fromstring(html)


def words(of: ElementTree.Element) -> str:
    return " ".join(of.itertext())


def test_a_run(run: Run, tmp_path: Path) -> None:
    said = words(shown(run))
    assert run.name in said
    assert "topk(k=6)" in said
    if run.evaluation() is not None:
        assert "L0 6" in said
    (tmp_path / "config.json").write_bytes((run.folder / "config.json").read_bytes())
    assert "not trained yet" in words(shown(Run(tmp_path)))


def test_a_dictionary(run: Run) -> None:
    said = words(shown(run.dictionary()))
    assert "topk(k=6)" in said
    assert "24" in said
    assert "Transcoder" in words(shown(Dictionary(4, 8, "topk(k=2)", d_out=6)))


def test_a_feature_and_its_board_or_text(run: Run) -> None:
    view = View(run.folder)
    best = int(view.column("active").argmax())
    notes.append(view.folder, best, "label", SCRIPT)
    feature = view.feature(best)
    card = shown(feature)
    assert SCRIPT in words(card)
    top = feature.examples["top"][0]
    assert f"{top.value:.4g}" in words(shown(top))
    if view.kind == "games":
        assert len(card.findall(".//figure")) == 5
        discs = shown(top).findall(".//circle")
        assert sum("disc" in disc.attrib["class"] for disc in discs) >= top.at + 5 - 1
    else:
        marked = [mark.text for mark in shown(top).findall(".//mark")]
        assert top.pieces[top.at] in marked
    assert "never active" in words(shown(view.feature(tiny_runs.DEAD)))
    assert "near miss" in words(shown(feature.examples["near"][0]))


def test_what_a_text_says_is_text() -> None:
    example = Example(0, 1, 2.5, None, np.array([0, 2.5], np.float32), [0, 1], ["a", SCRIPT], "")
    assert [mark.text for mark in shown(example).findall(".//mark")] == [SCRIPT]
