"""The page's parts that are tables and prose."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from unweave.cards.markup import Markup, join, tag
from unweave.view import table


def document(title: str, parts: Sequence[str]) -> str:
    """A whole page around its parts, with the style inside: nothing is fetched from anywhere."""
    style = resources.files("unweave.view").joinpath("style.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(style)),
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', tag('main', *parts)), lang='en')}\n"


def section(heading: str, *parts: str) -> Markup:
    return tag("section", tag("h2", heading), *parts)


def score_table(rows: Sequence[table.Row]) -> Markup:
    """The chosen metrics: dictionaries, a rule, then the controls."""
    winners = {column: table.best(column, rows) for column in table.COLUMNS}
    lines = []
    for i, row in enumerate(rows):
        before = rows[i - 1] if i else None
        kinds = ["control" if row.is_control else "dictionary"]
        if before and before.is_control != row.is_control:
            kinds.append("first")
        if before and before.name == row.name:
            kinds.append("again")
        cells = [tag("td", column.cell(row), class_=_kind(column, i in winners[column])) for column in table.COLUMNS]
        name = tag("th", tag("span", row.name), tag("small", row.readout), scope="row")
        lines.append(tag("tr", name, tag("td", row.readout, class_="readout"), *cells, class_=" ".join(kinds)))
    return _scrolling(tag("table", _head(), tag("tbody", *lines), class_="scores"), "Scores")


def _kind(column: table.Column, best: bool = False) -> str | None:
    """A cell's classes: where a group of columns starts, and where the best score stands."""
    start = column is next(other for other in table.COLUMNS if other.group == column.group)
    return " ".join([*(["start"] if start else []), *(["best"] if best else [])]) or None


def _head() -> Markup:
    spans: dict[str, int] = {}
    for column in table.COLUMNS:
        spans[column.group] = spans.get(column.group, 0) + 1
    groups = [tag("th", group, colspan=str(span), scope="colgroup") for group, span in spans.items()]
    titles = [
        tag(
            "th",
            column.title + ("\N{NO-BREAK SPACE}↓" if column.better == "lower" else ""),
            scope="col",
            class_=_kind(column),
        )
        for column in table.COLUMNS
    ]
    corner = tag("td"), tag("td")
    readout = tag("th"), tag("th", "read from", scope="col", class_="readout")
    return tag("thead", tag("tr", *corner, *groups, class_="groups"), tag("tr", *readout, *titles))


def definitions(metrics: Mapping[str, Mapping[str, Any]]) -> Markup:
    """What each column of the score table means, in the evaluation's own words."""
    entries = []
    for column in table.COLUMNS:
        if column.note:
            entries.append(_entry(column.name, tag("dd", column.note)))
        elif metric := metrics.get(column.metrics[0]):
            entries.append(_entry(column.name, tag("dd", _sentence(str(metric.get("definition", ""))), _null(metric))))
    return tag("dl", *entries, class_="definitions")


def _entry(name: str, *told: str) -> Markup:
    return tag("div", tag("dt", name), *told)


def _null(metric: Mapping[str, Any]) -> Markup:
    """What a predictor that knows nothing gets, on a line of its own."""
    return _line("Null", metric.get("null"))


def _line(name: str, said: Any) -> Markup:
    return tag("span", f"{name}: {_sentence(str(said))}", class_="line") if said else Markup()


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith(".") else text + "."


def every_metric(rows: Sequence[table.Row], metrics: Mapping[str, Mapping[str, Any]]) -> Markup:
    """All metrics of all rows, folded away, each with its versioned name and definition."""
    names = list(metrics) + sorted({name for row in rows for name in row.scores} - set(metrics))
    heads = [tag("th", tag("span", row.name), tag("small", row.readout), scope="col") for row in rows]
    lines = []
    for name in names:
        metric = metrics.get(name, {})
        what = tag("th", tag("span", str(metric.get("title", name))), tag("small", name), scope="row")
        lines.append(tag("tr", what, *[tag("td", _plain(row.scores.get(name))) for row in rows]))
    wide = tag("table", tag("thead", tag("tr", tag("td"), *heads)), tag("tbody", *lines), class_="every")
    explained = [
        _entry(f"{metric.get('title', name)} · {name}", tag("dd", _about(metric))) for name, metric in metrics.items()
    ]
    return tag(
        "details",
        tag("summary", f"All {len(names)} metrics, with their definitions"),
        _scrolling(wide, "All metrics"),
        tag("dl", *explained, class_="definitions"),
    )


def _about(metric: Mapping[str, Any]) -> Markup:
    """Definition, direction, null and source: whatever the evaluation says of a metric."""
    better = metric.get("better")
    direction = f" {str(better).capitalize()} is better." if better in ("higher", "lower") else ""
    said = _sentence(str(metric.get("definition", ""))) + direction
    return join([said, _null(metric), _line("Source", metric.get("source"))])


def _plain(score: float | None) -> str:
    if score is None:
        return table.MISSING
    decimals = 0 if score.is_integer() else 4 if abs(score) < 10 else 2
    return f"{score:,.{decimals}f}".replace("-", table.MINUS)


def _scrolling(content: Markup, name: str) -> Markup:
    """A wide table that scrolls in its own box, by keyboard too, and never widens the page."""
    return tag("div", content, class_="wide", tabindex="0", role="region", aria_label=name)


def facts(pairs: Sequence[tuple[str, str]]) -> Markup:
    return tag("dl", *[tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs], class_="facts")


def configurations(configs: Sequence[tuple[str, Mapping[str, Any]]]) -> Markup:
    """Each run's resolved configuration, folded away."""
    return join(
        tag("details", tag("summary", f"Configuration of {name}"), tag("pre", json.dumps(config, indent=2)))
        for name, config in configs
    )


def in_letters(n: int) -> str:
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return words[n] if n < len(words) else str(n)
