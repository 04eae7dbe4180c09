"""Squares as players write them: column a-h from the left, row 1-8 from the top. "f5" has index 8 * 4 + 5 = 37."""

from __future__ import annotations

CENTRE = (27, 28, 35, 36)
"""d4, e4, d5 and e5: occupied from the start, so never played."""


def name(square: int) -> str:
    """The name of a square index 0..63: 37 -> "f5"."""
    if not 0 <= square < 64:
        raise ValueError(f"no square has index {square}: they run from 0 (a1) to 63 (h8)")
    return f"{'abcdefgh'[square % 8]}{square // 8 + 1}"


def index(name: str) -> int:
    """The index of a square's name, in either case: "f5" -> 37."""
    if len(name) != 2 or name[0].lower() not in "abcdefgh" or name[1] not in "12345678":
        raise ValueError(f"{name!r} is not a square: write the column a-h, then the row 1-8, as in f5")
    return "abcdefgh".index(name[0].lower()) + 8 * (int(name[1]) - 1)
