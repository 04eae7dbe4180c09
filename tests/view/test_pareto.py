"""Pictures of a leaderboard."""

from typing import Any
from xml.etree import ElementTree

import pytest

from unweave.view.charts import Point
from unweave.view.pareto import front, picture, points


def level(call: str, l0: float, fvu: float, pairs: float) -> dict[str, Any]:
    own = {name: {"mean": value, "sd": None} for name, value in (("l0/1", l0), ("fvu/1", fvu), ("pairs/1", pairs))}
    return {"call": call, "activations": own}


@pytest.fixture
def board() -> dict[str, Any]:
    return {
        "methods": [
            {"levels": [level("a(k=16)", 16.0, 0.2, 10.0), level("a(k=64)", 64.0, 0.05, 44.0)]},
            {"levels": [level("b<1>", 30.0, 0.3, 30.0), level("b(k=90)", 90.0, 0.06, 48.0)]},
            {"levels": []},
        ],
        "controls": [{"name": "neurons", "scores": {"pairs/1": 47.0, "fvu/1": None}}],
    }


def test_the_front_is_what_nothing_sparser_beats(board: dict[str, Any]) -> None:
    assert [p.name for p in front(points(board, "fvu/1"), "lower")] == ["a(k=16)", "a(k=64)"]
    assert [p.name for p in front(points(board, "pairs/1"), "higher")] == ["a(k=16)", "b<1>", "a(k=64)", "b(k=90)"]
    twins = [Point("x", 5.0, 1.0, 0), Point("y", 5.0, 2.0, 0)]
    assert [p.name for p in front(twins, "higher")] == ["y"]


def test_the_picture_is_whole_and_names_the_front(board: dict[str, Any]) -> None:
    svg = ElementTree.fromstring(picture(board, "pairs/1", "pairs", "higher", ["neurons"]))
    space = "{http://www.w3.org/2000/svg}"
    circles = list(svg.iter(f"{space}circle"))
    assert [c.get("class") for c in circles] == ["front"] * 4
    names = [t.text for t in svg.iter(f"{space}text")]
    assert {"a(k=16)", "b<1>", "a(k=64)", "b(k=90)", "neurons"} <= set(names)
    lower = ElementTree.fromstring(picture(board, "fvu/1", "FVU", "lower", ["neurons"]))
    assert sorted(str(c.get("class")) for c in lower.iter(f"{space}circle")) == ["dot", "dot", "front", "front"]
    assert "neurons" not in [t.text for t in lower.iter(f"{space}text")]


def test_a_metric_that_no_method_has_is_refused(board: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no method of this leaderboard has kl/1"):
        picture(board, "kl/1", "KL", "lower")
