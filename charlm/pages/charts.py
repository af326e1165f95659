"""Charts as the page draws them: panels with lines or single points, in JSON of a few digits for each number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from charlm.runs.json_records import Json

DIGITS = 5
CUT = "What is less than a millionth of a millionth of the largest value is not drawn; the table has it."
# What a page can show side by side; more points would only make the file larger.
MAX_POINTS = 400
# Whole numbers below it are written with all their digits.
MAX_WHOLE = 1e15
# A logarithmic axis reaches down to this part of its largest value: further down, all is as good as nothing.
LEAST_SHARE = 1e-12


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis of a panel.

    Args:
        title: what is written beside it.
        is_log: whether it is logarithmic.
        is_whole: whether it has whole numbers only.
        is_share: whether it goes from 0 to 1 and is written in per cent.
        starts_at_zero: whether it begins at zero, wherever its points begin.
    """

    title: str
    is_log: bool = False
    is_whole: bool = False
    is_share: bool = False
    starts_at_zero: bool = False

    def as_json(self) -> Json:
        """Return what the script reads."""
        return {
            "title": self.title,
            "log": self.is_log,
            "whole": self.is_whole,
            "share": self.is_share,
            "zero": self.starts_at_zero,
        }


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A line of a panel, or points that are not joined.

    Args:
        label: its name.
        number: the number of its look: lines of the same number have the same colour and marks.
        x: where its points are.
        y: their values; what is not finite is left out.
        low: the lower ends of their intervals; None without a band.
        high: the upper ends.
        what: what it shows, where lines of the same name show different things; may be empty.
        is_dashed: whether it is dashed, as training is.
        is_joined: whether its points are joined; single points are the units of a layer.
        marked: the numbers of the points that have a mark.
    """

    label: str
    number: int
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    what: str = ""
    is_dashed: bool = False
    is_joined: bool = True
    marked: Sequence[int] = ()

    def as_json(self) -> Json:
        """Return what the script reads: of many points, some that are spread evenly."""
        step = math.ceil(len(self.x) / MAX_POINTS)
        kept = [at for at in range(len(self.x)) if at % step == 0 or at == len(self.x) - 1 or at in self.marked]
        return {
            "label": self.label,
            "number": self.number,
            "what": self.what,
            "dashed": self.is_dashed,
            "joined": self.is_joined,
            "x": [rounded(self.x[at]) for at in kept],
            "y": [rounded(self.y[at]) for at in kept],
            "low": None if self.low is None else [rounded(self.low[at]) for at in kept],
            "high": None if self.high is None else [rounded(self.high[at]) for at in kept],
            "marked": [kept.index(at) for at in self.marked],
            # Of single points, these are the numbers of the units, from 1.
            "units": None if self.is_joined else list[JsonValue](at + 1 for at in kept),
        }


@dataclass(frozen=True, kw_only=True)
class LevelLine:
    """A level line, such as a baseline; its number is that of the line that it belongs to, or None for all."""

    label: str
    y: float
    number: int | None = None

    def as_json(self) -> Json:
        """Return what the script reads."""
        return {"label": self.label, "y": rounded(self.y), "number": self.number}


@dataclass(frozen=True, kw_only=True)
class ChartPanel:
    """A panel of a chart.

    Args:
        x: the horizontal axis.
        y: the vertical axis.
        curves: its lines.
        levels: its level lines.
        title: what is written above it; may be empty.
    """

    x: Axis
    y: Axis
    curves: Sequence[Curve]
    levels: Sequence[LevelLine] = ()
    title: str = ""

    @property
    def least(self) -> float | None:
        """The smallest value that is drawn; None where all are. The table has the others."""
        largest = max((y for curve in self.curves for y in curve.y if math.isfinite(y)), default=0.0)
        return largest * LEAST_SHARE if self.y.is_log and largest > 0 else None

    @property
    def is_cut(self) -> bool:
        """Whether some values are too small to be drawn."""
        return self.least is not None and any(0 < y < self.least for curve in self.curves for y in curve.y)

    def as_json(self) -> Json:
        """Return what the script reads."""
        least = None if self.least is None else rounded(self.least)
        return {
            "title": self.title,
            "x": {**self.x.as_json(), "least": None},
            "y": {**self.y.as_json(), "least": least},
            "lines": [curve.as_json() for curve in self.curves],
            "levels": [level.as_json() for level in self.levels if math.isfinite(level.y)],
        }


@dataclass(frozen=True, kw_only=True)
class ChartKey:
    """An entry of the legend.

    Args:
        label: what it says.
        number: the look of the line; None for what is true of all lines.
        kind: line, dashed, level or point.
    """

    label: str
    number: int | None = None
    kind: str = "line"

    def as_json(self) -> Json:
        """Return what the script reads."""
        return {"label": self.label, "number": self.number, "kind": self.kind}


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Panels with a legend, and the sentences that belong below them."""

    panels: Sequence[ChartPanel]
    keys: Sequence[ChartKey]
    sentences: Sequence[str] = ()

    def as_json(self) -> Json:
        """Return what the script reads."""
        return {
            "panels": [panel.as_json() for panel in self.panels],
            "keys": [key.as_json() for key in self.keys],
            "sentences": list[JsonValue]([*self.sentences, *[CUT] * any(panel.is_cut for panel in self.panels)]),
        }


def rounded(value: float) -> float | int | None:
    """Return a number with a few digits, as a page carries it; None for one that JSON does not have.

    Example:
        >>> rounded(20.524431), rounded(1_234_567.0), rounded(1 / 3e9), rounded(float("nan"))
        (20.524, 1234567, 3.3333e-10, None)
    """
    if not math.isfinite(value):
        return None
    if value == int(value) and abs(value) < MAX_WHOLE:
        return int(value)
    return float(f"{value:.{DIGITS}g}")
