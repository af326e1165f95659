"""The scales of pictures in a terminal: where they begin and end, and round numbers along them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from charlm.reports.pictures import Scale

# Round numbers are these times a power of ten.
ROUND = (1, 2, 5, 10)
SHORT = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Span:
    """A scale with its first and last value.

    Args:
        scale: the scale.
        low: the first value.
        high: the last value, which is larger.
    """

    scale: Scale
    low: float
    high: float

    def share(self, value: float) -> float:
        """Return where a value is, from 0 to 1."""
        low, high, value = (math.log(max(each, 1e-300)) if self.scale.is_log else each for each in self._ends(value))
        return (value - low) / (high - low)

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """Return round values within it and their texts, at most as many as asked for, but at least one."""
        values = self._powers(most) if self.scale.is_log else []
        values = values if len(values) > 1 else self._steps(most)
        return [(value, number_text(value, values, is_short=self.scale.is_short)) for value in values]

    def _ends(self, value: float) -> tuple[float, float, float]:
        return self.low, self.high, value

    def _steps(self, most: int) -> list[float]:
        size = (self.high - self.low) / max(most, 1)
        power = 10.0 ** math.floor(math.log10(size))
        step = next(each * power for each in ROUND if each * power >= size * (1 - 1e-9))
        # Of an epoch that is not over yet, there are fractions.
        step = max(step, 1.0) if self.scale.is_whole and self.high - self.low >= 1 else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)] or [self.low]

    def _powers(self, most: int) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for factors in ((1, 2, 5), (1,)):
            values = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
            values = [value for value in values if self.low * 0.999 <= value <= self.high * 1.001]
            if len(values) <= most:
                return values
        return values[:: math.ceil(len(values) / max(most, 1))]


def span_of(values: Sequence[float], scale: Scale, *, has_room: bool) -> Span:
    """Return a scale that has room for values.

    Args:
        values: the values, at least one.
        scale: the scale.
        has_room: whether some room is left above and below them.
    """
    low, high = min(values), max(values)
    if scale.is_log and low > 0:
        return Span(scale, low / 1.05, high * 1.05)
    low = min(low, 0.0) if scale.starts_at_zero else low
    if high <= low:
        low, high = (low, low + 1) if scale.is_whole else (low - (abs(low) or 1) * 0.1, low + (abs(low) or 1) * 0.1)
    room = (high - low) * 0.04 if has_room else 0.0
    return Span(scale, low - room, high + room)


def number_text(value: float, others: Sequence[float], *, is_short: bool = False) -> str:
    """Return a number with as many decimals as it takes to tell it from its neighbours."""
    if is_short:
        unit, letter = next(((unit, letter) for unit, letter in SHORT if max(map(abs, others)) >= unit), (1.0, ""))
        return f"{value / unit:g}{letter}" if value else "0"
    steps = [abs(high - low) for low, high in pairwise(others) if high != low]
    smallest = min((*steps, *(abs(each) for each in others if each)), default=1.0)
    if smallest < 1e-4 or max(map(abs, others)) >= 1e7:
        return f"{value:.2g}"
    digits = max(0, -math.floor(math.log10(smallest) + 1e-9))
    return f"{value:,.{digits}f}"
