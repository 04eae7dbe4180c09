"""Charts: everything that was given is drawn, inside the drawing, and every count adds up."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from unweave.view import axis, charts


def test_a_histogram_loses_no_feature() -> None:
    density = [0.0, 0.0, 1e-9, 1e-5, 0.003, 0.5, 1.0]
    counts, dead = charts.density_counts(density)
    assert dead == 2
    assert sum(counts) == 5
    assert (counts[0], counts[-1]) == (2, 1)
    svg = ElementTree.fromstring(charts.histogram(density, highest=3, title="density"))
    bars = [r for r in svg.iter("rect") if "bar" in r.get("class", "")]
    assert len(bars) == sum(n > 0 for n in counts) + 1


def test_bars_are_as_high_as_their_counts() -> None:
    svg = ElementTree.fromstring(charts.histogram([0.5] * 4 + [0.001] * 2, highest=8, title="density"))
    low, high = sorted(float(r.get("height", "")) for r in svg.iter("rect"))
    assert high == pytest.approx(2 * low, abs=0.02)


def test_a_scatter_names_every_dot_and_no_two_names_overlap() -> None:
    points = [charts.Point(f"run & {i}", 30 + i % 2, 0.1 + 0.001 * i, i) for i in range(5)]
    svg = ElementTree.fromstring(charts.scatter(points, x_title="L0", y_title="FVU", title="t"))
    names = [t for t in svg.iter("text") if t.get("class") == "name"]
    assert [t.text for t in names] == [p.name for p in points]
    assert len({(t.get("x"), t.get("y")) for t in names}) == len(points)
    assert len(list(svg.iter("circle"))) == len(points)


def test_one_dot_alone_is_drawn() -> None:
    ElementTree.fromstring(charts.scatter([charts.Point("one", 0.0, 0.0, 0)], x_title="x", y_title="y", title="t"))


def test_curves_keep_the_last_point_and_leave_out_what_is_no_number() -> None:
    line = [(float(step), 5.0 / (1 + step)) for step in range(1, 1001)]
    svg = ElementTree.fromstring(charts.curves([line, [(1.0, math.nan), (2.0, 0.5), (3.0, 1.0)]], 0, title="loss"))
    (shown,) = [p for p in svg.iter("path") if p.get("class") == "curve"]
    points = re.findall(r"[\d.]+ [\d.]+", shown.get("d", ""))
    assert len(points) <= 202
    (end,) = svg.iter("circle")
    assert points[-1].split()[0] == f"{float(end.get('cx', '')):.1f}"


def test_curves_with_a_zero_are_on_a_linear_scale_and_draw_it() -> None:
    svg = ElementTree.fromstring(charts.curves([[(0.0, 0.0), (1.0, 0.5), (2.0, 1.0)]], 0, title="dead"))
    (shown,) = [p for p in svg.iter("path") if p.get("class") == "curve"]
    first, middle, last = [float(pair.split()[1]) for pair in re.findall(r"[\d.]+ [\d.]+", shown.get("d", ""))]
    assert first - middle == pytest.approx(middle - last, abs=0.11)


def test_curves_of_nothing_say_so() -> None:
    assert "nothing was recorded" in charts.curves([[], []], 1, title="loss")


@example(values=[2.0625], log=False)
@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=20), st.booleans())
def test_an_axis_holds_its_values_and_some_ticks(values: list[float], log: bool) -> None:
    scale = (axis.logarithmic if log else axis.around)(values, 10.0, 200.0)
    assert all(10 <= scale.at(value) <= 200 for value in values)
    ticks = scale.ticks()
    assert all(scale.low * (1 - 1e-6) - 1e-12 <= tick <= scale.high * (1 + 1e-6) for tick in ticks)
    assert len(ticks) <= 9
    assert log or len(ticks) >= 2


@pytest.mark.parametrize(
    ("value", "label"),
    [(0, "0"), (0.05, "0.05"), (12, "12"), (20000, "20k"), (1e-5, "10⁻⁵"), (0.0002, "2·10⁻⁴"), (1000, "1000")],
)
def test_ticks_are_written_shortly(value: float, label: str) -> None:
    assert axis.written(value) == label
