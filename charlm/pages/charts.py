"""Pictures as the page's script reads them: panels with lines or single points, a few digits for each number."""

from __future__ import annotations

import math

from pydantic import JsonValue

from charlm.reports.pictures import Key, Level, Line, Panel, Picture, Scale
from charlm.runs.json_records import Json

DIGITS = 5
CUT = "What is less than a millionth of a millionth of the largest value is not drawn; the table has it."
# What a page can show side by side; more points would only make the file larger.
MAX_POINTS = 400
MANY_UNITS = f"Of layers with more than {MAX_POINTS} units, some units are shown, at even distances."
# Whole numbers below it are written with all their digits.
MAX_WHOLE = 1e15
# A logarithmic scale reaches down to this part of its largest value: further down, all is as good as nothing.
LEAST_SHARE = 1e-12
# What a line shows, where lines of the same name show different things.
MEASURES = {
    "validation": "validation",
    "epoch": "training",
    "recent": "training",
    "hidden": "hidden state h",
    "cell": "cell state c",
}


def chart_record(picture: Picture) -> Json:
    """Return a picture of lines, with all of its sentences."""
    lines = [line for panel in picture.panels for line in panel.lines]
    sentences = [*picture.left_out, *picture.warnings, *picture.caveats, *picture.notes, *picture.looks]
    sentences += [CUT] * any(map(_is_cut, picture.panels))
    sentences += [MANY_UNITS] * any(len(line.dots) > MAX_POINTS and not line.is_joined for line in lines)
    points = {line.number for line in lines if not line.is_joined}
    return {
        "panels": [_panel_record(panel) for panel in picture.panels],
        "keys": [_key_record(key, is_point=key.number in points) for key in picture.keys],
        "sentences": list[JsonValue](sentences),
    }


def line_record(line: Line) -> Json:
    """Return a line: of many points, some that are spread evenly."""
    step = math.ceil(len(line.dots) / MAX_POINTS)
    # Every single point has a mark, so that none is marked by it.
    marked = line.marked if line.is_joined else ()
    kept = [at for at in range(len(line.dots)) if at % step == 0 or at == len(line.dots) - 1 or at in marked]
    dots = [line.dots[at] for at in kept]
    has_band = any(dot.deviation for dot in line.dots)
    return {
        "label": line.label,
        "number": line.number,
        "what": MEASURES.get(line.measures, ""),
        "dashed": line.is_training,
        "joined": line.is_joined,
        "x": [rounded(dot.x) for dot in dots],
        "y": [rounded(dot.y) for dot in dots],
        "low": [rounded(dot.y - (dot.deviation or 0)) for dot in dots] if has_band else None,
        "high": [rounded(dot.y + (dot.deviation or 0)) for dot in dots] if has_band else None,
        "marked": [kept.index(at) for at in marked],
        # Of single points, these are the numbers of the units, from 1.
        "units": None if line.is_joined else list[JsonValue](at + 1 for at in kept),
    }


def _panel_record(panel: Panel) -> Json:
    least = _least(panel)
    return {
        "title": panel.title,
        "x": _scale_record(panel.x, None),
        "y": _scale_record(panel.y, None if least is None else rounded(least)),
        "lines": [line_record(line) for line in panel.lines],
        "levels": [_level_record(level) for level in panel.levels if math.isfinite(level.y)],
    }


def _scale_record(scale: Scale, least: float | None) -> Json:
    return {
        "title": scale.title,
        "log": scale.is_log,
        "whole": scale.is_whole,
        "share": scale.is_share,
        "zero": scale.starts_at_zero,
        "least": least,
    }


def _level_record(level: Level) -> Json:
    return {"label": level.label, "y": rounded(level.y), "number": level.number}


def _key_record(key: Key, *, is_point: bool) -> Json:
    kind = "level" if key.is_level else "dashed" if key.is_training else "point" if is_point else "line"
    return {"label": key.label, "number": key.number, "kind": kind}


def _least(panel: Panel) -> float | None:
    """Return the smallest value that is drawn; None where all are. The table has the others."""
    largest = max((dot.y for line in panel.lines for dot in line.dots if math.isfinite(dot.y)), default=0.0)
    return largest * LEAST_SHARE if panel.y.is_log and largest > 0 else None


def _is_cut(panel: Panel) -> bool:
    """Return whether some values are too small to be drawn."""
    least = _least(panel)
    return least is not None and any(0 < dot.y < least for line in panel.lines for dot in line.dots)


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
