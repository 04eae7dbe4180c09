"""HTML and SVG as strings in which nothing is left unescaped by accident."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape


class Markup(str):
    """Text that is markup already, so that it is not escaped again."""


# The elements that HTML or SVG closes at once; any other empty one would swallow what follows it.
_EMPTY = ("meta", "input", "rect", "circle", "path")


def tag(name: str, /, *children: str, **attributes: str | float | int | None) -> Markup:
    """One element, well formed as XML too. Children that are plain strings are escaped, and so are all attributes.

    An attribute that is a Python word takes a trailing underscore (class_), a hyphen is written as an underscore
    (stroke_width), and None leaves the attribute out.
    """
    written = [
        f' {key.rstrip("_").replace("_", "-")}="{escape(value) if isinstance(value, str) else format(value, ".6g")}"'
        for key, value in attributes.items()
        if value is not None
    ]
    inner = join(children)
    if name in _EMPTY and not inner:
        return Markup(f"<{name}{''.join(written)}/>")
    return Markup(f"<{name}{''.join(written)}>{inner}</{name}>")


def join(parts: Iterable[str], between: str = "") -> Markup:
    """The parts one after another, each escaped unless it is markup."""
    return Markup(between.join(part if isinstance(part, Markup) else escape(part) for part in parts))
