"""The page's sections that are figures: the dictionaries side by side, then the best one square by square."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from unweave.cards import board
from unweave.cards.markup import Markup, join, tag
from unweave.registry import parse
from unweave.view import charts, features, page
from unweave.view.read import Reading


def dictionaries(readings: Sequence[Reading]) -> Markup:
    """Density histograms, L0 against FVU, and what training reported."""
    densities = [reading.tensors["density"].double().tolist() for reading in readings]
    counted = [charts.density_counts(density) for density in densities]
    highest = max(max(*counts, dead) for counts, dead in counted)
    histograms = [
        tag(
            "figure",
            _caption(reading.name, f"{dead} of {len(density):,} dead" if dead else f"{len(density):,}, none dead"),
            charts.histogram(density, highest=highest, title=f"How often the features of {reading.name} are active"),
        )
        for reading, density, (_, dead) in zip(readings, densities, counted, strict=True)
    ]
    note = "Number of features by the share of positions at which they are active, logarithmic."
    return page.section(
        "The dictionaries",
        tag("h3", "How often features are active"),
        tag("p", note, class_="aside"),
        tag("div", *histograms, class_="multiples"),
        _trade(readings),
        *_training(readings),
    )


def _caption(name: str, note: str) -> Markup:
    return tag("figcaption", tag("b", name), " ", tag("span", note))


def _trade(readings: Sequence[Reading]) -> Markup:
    """L0 against FVU, one dot a run, coloured by method."""
    methods = list(dict.fromkeys(_method(reading) for reading in readings))
    points = [
        charts.Point(reading.name, l0, fvu, methods.index(_method(reading)))
        for reading in readings
        if (l0 := reading.score("l0/1")) is not None and (fvu := reading.score("fvu/1")) is not None
    ]
    if not points:
        return Markup()
    found = [
        charts.Point(reading.name, l0, pairs, methods.index(_method(reading)))
        for reading in readings
        if (l0 := reading.score("l0/1")) is not None and (pairs := reading.score("pairs/1")) is not None
    ]
    legend = [tag("span", tag("i", class_=f"key group-{i % 6}"), name) for i, name in enumerate(methods)]
    title = "Sparsity against reconstruction"
    return join(
        [
            tag("h3", title),
            tag(
                "p",
                tag("span", "Left, lower is better; right, higher. Held-out games."),
                *legend,
                class_="aside legend",
            ),
            tag(
                "div",
                tag("figure", charts.scatter(points, x_title="L0", y_title="FVU", title=title)),
                tag("figure", charts.scatter(found, x_title="L0", y_title="pairs", title="Sparsity against pairs")),
                class_="scatters",
            ),
        ]
    )


def _method(reading: Reading) -> str:
    return parse(str(reading.evaluation["method"]))[0]


def _training(readings: Sequence[Reading]) -> Iterator[Markup]:
    """Small multiples of what training reported, one panel a run."""
    for key, heading, note in (
        ("loss", "Training loss", "What each method minimises, so not comparable between methods."),
        ("fvu", "FVU in training", "Of the batch just seen; the score table has the held-out figure."),
    ):
        lines = [[(s["step"], s[key]) for s in reading.steps if s.get(key) is not None] for reading in readings]
        if any(lines):
            panels = [
                tag(
                    "figure",
                    _caption(reading.name, "" if reading.seconds is None else f"{reading.seconds:,.0f} s"),
                    charts.curves(lines, i, title=f"{heading} of {reading.name}"),
                )
                for i, reading in enumerate(readings)
            ]
            grey = " Grey: the other runs." if len(readings) > 1 else ""
            yield tag("h3", heading)
            yield tag("p", f"{note}{grey} Logarithmic, by optimiser step.", class_="aside")
            yield tag("div", *panels, class_="multiples")


def squares(reading: Reading) -> Markup:
    """AUROC by square for each state, beside the linear probe's."""
    edges = ("0", *(f"{step:g}" for step in board.STEPS), "1")
    keys = [
        tag("span", tag("i", class_=f"key shade-{i}"), f"{low} to {high}")
        for i, (low, high) in enumerate(pairwise(edges))
    ]
    rows = [
        join([tag("h3", heading, " ", tag("small", note)), tag("div", *drawings, class_="states")])
        for heading, note, drawings in features.auroc_boards(reading)
    ]
    explained = (
        "How well one feature alone ranks positions by whether a square is in a state, on the scored half of the "
        "games: AUROC, 0.5 by chance, 1 without error. Bold from 0.9 up, where a pair counts. Blank: a state the "
        "square is always or never in. Decimals are cut off, not rounded."
    )
    return page.section("Square by square", tag("p", explained), tag("p", *keys, class_="aside legend"), *rows)


def best_features(reading: Reading) -> Markup:
    """The features that say most about the board, each with the positions where it is most active."""
    chosen = features.best(reading)
    keys = (
        ("key-marked", "the label's square"),
        ("key-last", "disc just played"),
        ("key-turned", "disc just flipped"),
        ("key-legal", "legal move"),
    )
    switch = tag(
        "p",
        tag("label", tag("input", type="checkbox", id="relative"), "Colour discs as mine and theirs"),
        tag("span", tag("i", class_="key mine"), "mine (moves next)", class_="relative"),
        tag("span", tag("i", class_="key theirs"), "theirs", class_="relative"),
        *[tag("span", tag("i", class_=f"key {kind}"), words) for kind, words in keys],
        class_="aside legend",
    )
    counted = page.in_letters(len(chosen))
    explained = (
        f"Features of {reading.name}, each named by the label it fits best on the half of the games used for choosing. "
        f"Shown are {counted}: in turn the best that is left of those for mine, theirs, empty and legal squares, by "
        "within-position AUROC for its label on the other half, at most one for each square; and for each the scored "
        "positions where it is most active, at most one from each game. The bar is the activation as a share of the "
        "feature's largest. ✓ or ✗: whether the label is true there."
    )
    cards = features.cards(chosen, reading)
    return page.section(f"{counted.capitalize()} features", tag("p", explained), switch, *cards)
