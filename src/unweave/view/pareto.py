"""Sparsity against what it costs or brings, over every method of a leaderboard: standalone SVG pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unweave.cards.markup import Markup, tag
from unweave.view.axis import around, logarithmic, written
from unweave.view.charts import Point, chart, label, rules

_STYLE = """
svg { font: 11px system-ui, sans-serif; background: #fffefb; }
text { fill: #5d6269; } .title, .name { fill: #1b1d20; }
.name, .control-name { font-size: 11.5px; paint-order: stroke; stroke: #fffefb; stroke-width: 3px; }
.rule { stroke: #dfdcd3; } .axis { stroke: #8c8f94; } path { fill: none; }
.dot { fill: #b9bcc0; } .front { fill: #0a5c9e; } .line { stroke: #0a5c9e; stroke-opacity: .5; }
.control { stroke: #c2571a; stroke-dasharray: 5 4; } .control-name { fill: #c2571a; }
"""
WIDTH, HEIGHT = 720, 460


def points(board: Mapping[str, Any], metric: str) -> list[Point]:
    """Every level of every method: mean L0 and mean score over its seeds. group: 0."""
    return [
        Point(level["call"], own["l0/1"]["mean"], own[metric]["mean"], 0)
        for method in board["methods"]
        for level in method["levels"]
        if (own := level["activations"]).get(metric) and own["l0/1"]["mean"] > 0
    ]


def front(found: Sequence[Point], better: str) -> list[Point]:
    """Those that no sparser point equals or beats, the sparsest first."""
    kept: list[Point] = []
    for point in sorted(found, key=lambda p: (p.x, p.y if better == "lower" else -p.y)):
        if not kept or (point.y < kept[-1].y if better == "lower" else point.y > kept[-1].y):
            kept.append(point)
    return kept


def picture(board: Mapping[str, Any], metric: str, title: str, better: str, controls: Sequence[str] = ()) -> str:
    """L0, logarithmic, against a metric: all levels as dots, the front named and joined, controls as dashed lines. What
    is better the lower it is, is logarithmic too: most methods are near 0.

    Raises ValueError if no method has that metric.
    """
    found = points(board, metric)
    if not found:
        raise ValueError(f"no method of this leaderboard has {metric}")
    heights = {
        row["name"]: row["scores"][metric]
        for row in board["controls"]
        if row["name"] in controls and row["scores"].get(metric) is not None
    }
    x = logarithmic([p.x for p in found], 50, WIDTH - 12)
    scale = logarithmic if better == "lower" and min(p.y for p in found) > 0 else around
    y = scale([*(p.y for p in found), *heights.values()], HEIGHT - 40, 30)
    best = front(found, better)
    parts = [rules(y, x.start, x.end), tag("path", class_="axis", d=f"M{x.start} {y.start}H{x.end}")]
    parts += [tag("text", written(v), x=x.at(v), y=HEIGHT - 24, text_anchor="middle") for v in x.ticks(6)]
    parts.append(tag("text", "L0: active features →", class_="title", x=x.end, y=HEIGHT - 6, text_anchor="end"))
    parts.append(tag("text", f"↑ {title} ({better} is better)", class_="title", x=8, y=14))
    for name, height in heights.items():
        parts.append(tag("path", class_="control", d=f"M{x.start} {y.at(height):.1f}H{x.end}"))
        parts.append(tag("text", name, class_="control-name", x=x.end, y=y.at(height) - 4, text_anchor="end"))
    steps = "L".join(f"{x.at(p.x):.1f} {y.at(p.y):.1f}" for p in best)
    parts.append(tag("path", class_="line", d=f"M{steps}"))
    for p in sorted(found, key=best.__contains__):
        note = tag("title", f"{p.name}: L0 {p.x:.4g}, {title} {p.y:.4g}")
        kind = "front" if p in best else "dot"
        parts.append(tag("circle", note, class_=kind, cx=x.at(p.x), cy=y.at(p.y), r=4))
    dots = {p: (x.at(p.x) - 5, y.at(p.y) - 5, x.at(p.x) + 5, y.at(p.y) + 5) for p in found}
    taken, others = [dots[p] for p in best], [dots[p] for p in found if p not in best]
    parts += [label(p.name, (x.at(p.x), y.at(p.y)), taken, x.end, bottom=y.start, rather_not=others) for p in best]
    drawn = chart(WIDTH, HEIGHT, [tag("style", Markup(_STYLE)), *parts], f"{title} against L0")
    return drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
