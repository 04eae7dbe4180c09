"""Charts as SVG strings: histogram, scatter, curves. Colours come from the page's style, by class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from unweave.cards.markup import Markup, join, tag
from unweave.view.axis import Axis, Number, around, logarithmic, written

Curve = Sequence[tuple[Number, Number]]
Box = tuple[Number, Number, Number, Number]
"""Left, top, right, bottom."""

DECADES = (-5, 0)
"""The histogram's range, log10 of an activation frequency; what is rarer is drawn in the lowest bin."""

BINS = 25


def density_counts(density: Sequence[float]) -> tuple[list[int], int]:
    """How many features lie in each of BINS bins of log10 frequency, and how many never fired."""
    low, high = DECADES
    counts = [0] * BINS
    for frequency in density:
        if frequency > 0:
            place = (math.log10(frequency) - low) / (high - low) * BINS
            counts[min(max(int(place), 0), BINS - 1)] += 1
    return counts, sum(not frequency > 0 for frequency in density)


def histogram(density: Sequence[float], *, highest: int, title: str) -> Markup:
    """Features by how often they are active, dead ones in a bar of their own at the left.

    Args: density: each feature's share of positions where it is active; highest: the tallest bar among the charts that
        stand side by side, so that all share one scale.
    """
    counts, dead = density_counts(density)
    low, high = DECADES
    x, y = Axis(low, high, 78, 252), Axis(0, max(highest, 1) * 1.06, 118, 16)
    width = (x.end - x.start) / BINS
    bars = [
        tag(
            "rect",
            tag("title", f"{n} features active at {_share(low, high, i)} of the positions"),
            class_="bar",
            x=x.start + i * width + 0.5,
            y=y.at(n),
            width=width - 1,
            height=y.start - y.at(n),
        )
        for i, n in enumerate(counts)
        if n
    ]
    if dead:
        note = tag("title", f"{dead} of {len(density)} features never fired")
        bars.append(tag("rect", note, class_="bar dead", x=43, y=y.at(dead), width=10, height=y.start - y.at(dead)))
        bars.append(tag("text", str(dead), class_="count", x=48, y=y.at(dead) - 4, text_anchor="middle"))
    names = [
        tag("text", written(10.0**decade), x=x.at(decade), y=134, text_anchor="middle")
        for decade in range(low, high + 1)
    ]
    names.append(tag("text", "dead", x=48, y=134, text_anchor="middle"))
    floor = tag("path", class_="axis", d=f"M38 {y.start}H58M{x.start} {y.start}H{x.end}")
    return chart(260, 140, [rules(y, 38, x.end), *bars, floor, *names], title)


def _share(low: int, high: int, bin_: int) -> str:
    ends = [10 ** (low + (high - low) * (bin_ + side) / BINS) for side in (0, 1)]
    return " to ".join(f"{100 * end:.2g} %" for end in ends)


@dataclass(frozen=True)
class Point:
    """A dot of a scatter chart. group: dots of one group share a colour (0, 1, 2 ...)."""

    name: str
    x: Number
    y: Number
    group: int


def scatter(points: Sequence[Point], *, x_title: str, y_title: str, title: str) -> Markup:
    """Dots with their names beside them. An axis starts at zero unless that would leave half of it empty."""
    x, y = around([p.x for p in points], 46, 420), around([p.y for p in points], 230, 28)
    parts = [rules(y, x.start, x.end)]
    parts += [tag("text", written(v), x=x.at(v), y=246, text_anchor="middle") for v in x.ticks(5)]
    parts.append(tag("path", class_="axis", d=f"M{x.start} {y.start}H{x.end}"))
    parts.append(tag("text", f"{x_title} →", class_="title", x=x.end, y=264, text_anchor="end"))
    parts.append(tag("text", f"↑ {y_title}", class_="title", x=8, y=12))
    taken = [(x.at(p.x) - 6, y.at(p.y) - 6, x.at(p.x) + 6, y.at(p.y) + 6) for p in points]
    for p in points:
        at = (x.at(p.x), y.at(p.y))
        note = tag("title", f"{p.name}: {x_title} {p.x:.4g}, {y_title} {p.y:.4g}")
        parts.append(tag("circle", note, class_=f"dot group-{p.group % 6}", cx=at[0], cy=at[1], r=4.5))
        parts.append(label(p.name, at, taken, x.end))
    return chart(424, 270, parts, title)


def label(
    name: str,
    at: tuple[Number, Number],
    taken: list[Box],
    right: Number,
    *,
    bottom: Number = math.inf,
    rather_not: Sequence[Box] = (),
) -> Markup:
    """A dot's name where it covers nothing: at its right or left, and as little above or below as will do.

    taken: what it must not cover, to which it is added; rather_not: what it covers only if there is no other place.
    """
    width, (x, y) = 6.8 * len(name), at
    places = [
        (side, x + 9 if side == "start" else x - 9, y + 4 + down) for down in _SHIFTS for side in ("start", "end")
    ]
    boxes = [(left - (width if side == "end" else 0), base - 9, base + 3) for side, left, base in places]
    found = [(left, top, left + width, below) for left, top, below in boxes]
    inside = [box for box in found if box[0] > 46 and box[2] <= right + 4 and box[3] <= bottom] or found
    free = [box for box in inside if not any(_overlap(box, other) for other in taken)] or inside[:1]
    box = next((box for box in free if not any(_overlap(box, other) for other in rather_not)), free[0])
    taken.append(box)
    side, x, base = places[found.index(box)]
    return tag("text", name, class_="name", x=x, y=base, text_anchor=side)


# How far below its dot a name is tried, nearest first.
_SHIFTS = (0, -8, 8, -14, 14, -20, 20, -28, 28, -36, 36)


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def curves(lines: Sequence[Curve], shown: int, *, title: str) -> Markup:
    """One of the curves in colour, the others in grey behind it; all on one scale: x linear, y logarithmic, or linear
    where a value is not above 0.

    Args: lines: (x, y) pairs; shown: the index of the one to draw in colour.
    """
    drawn = [[(a, b) for a, b in line if math.isfinite(b)] for line in lines]
    every = [pair for line in drawn for pair in line]
    if not every:
        return chart(260, 140, [tag("text", "nothing was recorded", x=130, y=70, text_anchor="middle")], title)
    x = Axis(0, max([a for a, _ in every] + [1]), 38, 246)
    values = [b for _, b in every]
    y = logarithmic(values, 118, 14) if min(values) > 0 else around(values, 118, 14)
    parts = [rules(y, x.start, x.end), tag("path", class_="axis", d=f"M{x.start} {y.start}H{x.end}")]
    parts += [tag("text", written(v), x=x.at(v), y=134, text_anchor="middle") for v in x.ticks(3)]
    order = [i for i in range(len(drawn)) if i != shown] + [shown]
    for i in order:
        if drawn[i]:
            path = "M" + "L".join(f"{x.at(a):.1f} {y.at(b):.1f}" for a, b in _thinned(drawn[i]))
            parts.append(tag("path", class_="curve" if i == shown else "curve other", d=path))
    if drawn[shown]:
        a, b = drawn[shown][-1]
        parts.append(tag("circle", class_="end", cx=x.at(a), cy=y.at(b), r=2.6))
        above = y.at(b) - 7 if y.at(b) > 40 else y.at(b) + 15
        parts.append(tag("text", f"{b:.3g}", class_="count", x=x.at(a), y=above, text_anchor="end"))
    return chart(260, 140, parts, title)


def _thinned(line: Curve, most: int = 200) -> Curve:
    """At most so many points, the last one kept: more than a panel can show only makes the page heavy."""
    stride = math.ceil(len(line) / most)
    return [*line[:-1:stride], line[-1]]


def rules(y: Axis, left: Number, right: Number) -> Markup:
    """Hairlines at the ticks of y, with their labels at the left."""
    lines = [
        join([tag("path", class_="rule", d=f"M{left} {y.at(v):.1f}H{right}"), _tick(v, left, y.at(v))])
        for v in y.ticks()
    ]
    return join(lines)


def _tick(value: Number, left: Number, at: Number) -> Markup:
    return tag("text", written(value), x=left - 6, y=at + 3.5, text_anchor="end")


def chart(width: int, height: int, parts: Sequence[str], title: str) -> Markup:
    return tag(
        "svg",
        tag("title", title),
        *parts,
        class_="chart",
        viewBox=f"0 0 {width} {height}",
        role="img",
        aria_label=title,
    )
