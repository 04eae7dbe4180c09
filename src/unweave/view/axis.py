"""One axis of a chart: from values to the drawing's units, its ticks, and how they are written."""

from __future__ import annotations

import math
from dataclasses import dataclass

Number = int | float
"""What JSON and counting give; a chart makes no difference between them."""


@dataclass(frozen=True)
class Axis:
    """A linear or logarithmic scale. low, high: in values (above 0 when log); start, end: in the drawing's units."""

    low: Number
    high: Number
    start: Number
    end: Number
    log: bool = False

    def at(self, value: Number) -> Number:
        """Where a value lies; values outside the scale lie at its ends."""
        low, high, value = (math.log10(v) if self.log else v for v in (self.low, self.high, self._inside(value)))
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, about: int = 4) -> list[Number]:
        """Round values on the scale, about so many."""
        if self.log:
            return self._log_ticks(about)
        step = _round_step((self.high - self.low) / about)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        if last == first:  # a single one says nothing of the scale
            return self.ticks(2 * about)
        return [i * step for i in range(first, last + 1)]

    def _inside(self, value: Number) -> Number:
        return min(max(value, self.low), self.high)

    def _log_ticks(self, about: int) -> list[Number]:
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for factors in ((1,), (1, 3), (1, 2, 5)):
            ticks = [f * 10.0**d for d in decades for f in factors]
            ticks = [tick for tick in ticks if self.low * (1 - 1e-9) <= tick <= self.high * (1 + 1e-9)]
            if len(ticks) >= min(3, about):
                break
        return ticks[:: max(1, math.ceil(len(ticks) / (about + 2)))]


def around(values: list[Number], start: Number, end: Number) -> Axis:
    """A linear axis with room around the values: from zero, unless that would leave half of it empty."""
    low, high = min(values), max(values)
    room = 0.2 * (high - low) or 0.2 * abs(high) or 1.0
    return Axis(0.0 if 0 <= low < 0.5 * high else low - room, high + room, start, end)


def logarithmic(values: list[Number], start: Number, end: Number) -> Axis:
    """A logarithmic axis that holds the values, all above 0."""
    return Axis(min(values) / 1.1, max(values) * 1.1, start, end, log=True)


def _round_step(step: Number) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))


def written(value: Number) -> str:
    """A tick's label: 0.05, 12, 12k, 10⁻⁵."""
    if value and abs(value) < 0.001:
        exponent = math.floor(math.log10(abs(value)) + 1e-9)
        mantissa = round(value / 10**exponent)
        return ("" if mantissa == 1 else f"{mantissa}·") + "10" + str(exponent).translate(_RAISED)
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:.4g}"


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
