"""Choose what a picture of learning curves shows: which results, in which unit, against what. Nothing is drawn here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from charlm.errors import ConfigError, printable
from charlm.evaluation.spread import spread
from charlm.reports.comparison import Comparison, short_names
from charlm.reports.curves import (
    MAX_NAME,
    SCALES,
    curve_caveats,
    fitting_settings,
    look_notes,
    machine_caveats,
    marks_of,
    partial_notes,
    shown_setting,
    training_text_caveats,
)
from charlm.reports.pictures import Dot, Key, Level, Line, Panel, Picture, Scale
from charlm.reports.requests import PARTS, UNITS, Against, Request, Unit, in_unit
from charlm.reports.rows import Row
from charlm.reports.run_results import Reading, RunResult

CELL = "model.cell"
ITEMS = "Results on a list are per character, the end of each item included."
MAX_PANELS = 12
# A linear scale would show nothing but the first evaluation.
MAX_RATIO = 100
MEASURES = {"epoch": "mean of each epoch", "recent": "since the evaluation before", "validation": ""}


def learning_picture(comparison: Comparison, request: Request, *, labels: Sequence[str] | None = None) -> Picture:
    """Return the picture of compared runs' learning curves: means over seeds, training dashed and validation whole.

    Training is the mean of each whole epoch where it is drawn against epochs and such means are recorded; otherwise,
    the mean since the evaluation before. The two are never in one picture.

    Args:
        comparison: the runs.
        request: what to draw.
        labels: a name for each row of the comparison; None names rows by what differs.
    Raises:
        ConfigError: if it would have too many panels.
    """
    kind = _training_kind(comparison.rows, request)
    measures = [kind if part == "train" else "validation" for part in PARTS if part in request.parts]
    drawn = [
        _Row(number, row, label, {measure: found for measure in measures if (found := _shared(row, measure))})
        for number, (row, label) in enumerate(zip(comparison.rows, labels or _labels(comparison), strict=True))
    ]
    shown = [each for each in drawn if each.found]
    groups = [[each] for each in shown] if request.has_panels else [shown]
    num_panels = len(groups) * len(request.x) * len(request.y)
    if num_panels > MAX_PANELS:
        raise ConfigError(
            f"a picture has room for {MAX_PANELS} panels, not {num_panels}: name fewer runs, axes or units"
        )
    levels = _levels(shown) if "val" in request.parts else ()
    panels = [
        _panel(group, x, y, levels, title=group[0].label if request.has_panels and group else "")
        for y in request.y
        for group in groups
        for x in request.x
    ]
    caveats = [*_caveats(drawn, measures, request)]
    has_both = any("validation" in each.found and len(each.found) > 1 for each in shown)
    rows = [each.row for each in shown]
    has_items = any(run.has_items for row in rows for run in row.results)
    return Picture(
        panels=tuple(panels),
        keys=tuple(_keys(shown, levels)),
        warnings=comparison.warnings,
        caveats=tuple(caveats),
        notes=(*partial_notes(rows), *[ITEMS] * has_items),
        looks=tuple(look_notes(rows, marked="validation result" if has_both else "point")),
        left_out=comparison.left_out,
    )


@dataclass(frozen=True)
class _Row:
    """A row of the comparison and its points.

    Args:
        number: its look.
        row: the row.
        label: its name in the legend.
        found: the points of each measure that it has: for each, the readings of all its runs and their bits.
    """

    number: int
    row: Row
    label: str
    found: Mapping[str, Sequence[tuple[tuple[Reading, ...], tuple[float, ...]]]]


def _training_kind(rows: Iterable[Row], request: Request) -> str:
    """Return which training results are drawn, the same for all rows."""
    readings = [each for row in rows for run in row.results for each in run.readings]
    return "epoch" if request.x == ("epoch",) and any(each.epoch_bpc is not None for each in readings) else "recent"


def _shared(row: Row, measure: str) -> list[tuple[tuple[Reading, ...], tuple[float, ...]]]:
    """Return the points at which all runs of a row have a finite result, in order."""
    by_run = [dict(_found(run, measure)) for run in row.results]
    places = sorted(set[int].intersection(*map(set, by_run)))
    points = [[found[place] for found in by_run] for place in places]
    return [(tuple(reading for reading, _ in each), tuple(bits for _, bits in each)) for each in points]


def _found(run: RunResult, measure: str) -> Iterator[tuple[int, tuple[Reading, float]]]:
    """Yield each finite result of a run with its place: a step, or the number of a whole epoch."""
    known: set[int] = set()
    for reading in run.readings:
        bits = {"validation": reading.val_bpc, "epoch": reading.epoch_bpc, "recent": reading.recent_bpc}[measure]
        place = reading.whole_epochs if measure == "epoch" else reading.step
        # Several evaluations within an epoch all tell the results of the epoch before.
        if bits is not None and is_drawable(bits) and place not in known:
            known.add(place)
            yield place, (reading, bits)


def is_drawable(bits: float) -> bool:
    """Say whether a result is finite in every unit: the perplexity of a run that diverges may be beyond all floats."""
    return math.isfinite(bits) and math.isfinite(in_unit(bits, "perplexity"))


def _panel(rows: Sequence[_Row], x: Against, y: Unit, levels: Sequence[Level], *, title: str) -> Panel:
    lines = [_line(each, measure, x, y) for each in rows for measure in each.found]
    numbers = {each.number for each in rows}
    shown = [
        Level(level.label, in_unit(level.y, y), level.number)
        for level in levels
        if level.number is None or level.number in numbers
    ]
    values = [dot.y for line in lines for dot in line.dots]
    is_log = y == "perplexity" and bool(values) and max(values) > MAX_RATIO * min(values)
    kinds = {line.measures for line in lines}
    of = (
        {"epoch": "training ", "recent": "training ", "validation": "validation "}[kinds.pop()]
        if len(kinds) == 1
        else ""
    )
    scale = Scale(y, f"{of}{UNITS[y]}{' (logarithmic)' * is_log}", is_log=is_log)
    return Panel(SCALES[x], scale, tuple(lines), tuple(shown), title=title)


def _line(row: _Row, measure: str, x: Against, y: Unit) -> Line:
    dots = tuple(_dot(*each, measure, x, y) for each in row.found[measure])
    best = min(range(len(dots)), key=lambda place: dots[place].y)
    # The mark makes a line of one point visible; of two lines that belong together, only validation chooses.
    is_marked = measure == "validation" or "validation" not in row.found or len(dots) == 1
    return Line(
        label=row.label,
        number=row.number,
        dots=dots,
        is_training=measure != "validation",
        measures=measure,
        runs=tuple(result.name for result in row.row.results),
        marked=(best,) if is_marked else (),
    )


def _dot(readings: Sequence[Reading], bits: Sequence[float], measure: str, x: Against, y: Unit) -> Dot:
    values = spread(in_unit(each, y) for each in bits)
    assert values is not None
    places = {
        "epoch": [each.whole_epochs if measure == "epoch" else each.epochs for each in readings],
        "step": [each.step for each in readings],
        "chars": [each.chars_seen for each in readings],
        "time": [each.minutes for each in readings],
    }[x]
    return Dot(fmean(places), values.mean, values.deviation)


def _levels(rows: Sequence[_Row]) -> tuple[Level, ...]:
    """Return the best n-gram of the validation text, or, where rows have different ones, that of each row."""
    found = {each.number: ngram for each in rows if (ngram := each.row.results[0].ngram) and "validation" in each.found}
    if len(set(found.values())) <= 1:
        return tuple(Level(name, bits) for name, bits in set(found.values()))
    labels = {each.number: each.label for each in rows}
    return tuple(Level(f"{name} of {labels[number]}", bits, number) for number, (name, bits) in found.items())


def _labels(comparison: Comparison) -> list[str]:
    """Return a name for each row: the settings that differ, or the runs' names where these do not tell rows apart."""
    short, rows = short_names(comparison), comparison.rows
    told = [fitting_settings([_setting(row, key, short[key]) for key in row.settings] or [""]) for row in rows]
    if len(set(told)) < len(told) or "" in told:
        told = [printable(row.name, MAX_NAME) for row in rows]
    return [f"{label}{marks_of(row)}" for label, row in zip(told, rows, strict=True)]


def _setting(row: Row, key: str, name: str) -> str:
    return shown_setting(row, key) if key == CELL else f"{name} {shown_setting(row, key)}"


def _keys(rows: Sequence[_Row], levels: Sequence[Level]) -> Iterator[Key]:
    """Yield the legend: the rows, then what dashed and whole lines are, then the level lines."""
    measures = dict.fromkeys(measure for each in rows for measure in each.found)
    for each in rows:
        yield Key(each.label, each.number, "validation" not in each.found)
    for measure in measures:
        part = PARTS["val" if measure == "validation" else "train"]
        if len(measures) > 1 or MEASURES[measure]:
            yield Key(f"{part} ({MEASURES[measure]})" if MEASURES[measure] else part, None, measure != "validation")
    for level in levels:
        yield Key(level.label, level.number, is_level=True)


def _caveats(rows: Sequence[_Row], measures: Sequence[str], request: Request) -> Iterator[str]:
    """Yield sentences about what is missing, and about what does not measure the same thing."""
    for each in rows:
        has_val = any(reading.val_bpc is not None for run in each.row.results for reading in run.readings)
        yield from curve_caveats(each.row, is_training=not has_val or "validation" not in measures)
        if not any(run.readings for run in each.row.results):
            continue
        readings = [reading for run in each.row.results for reading in run.readings]
        told = [bits for reading in readings for bits in (reading.val_bpc if has_val else reading.recent_bpc,) if bits]
        if num_vast := sum(math.isfinite(bits) and not is_drawable(bits) for bits in told):
            yield f"{each.row.name}: evaluations whose perplexity is beyond all numbers are not drawn ({num_vast:,})"
        if "validation" in measures and not has_val:
            yield f"{each.row.name} has no validation split: only its training can be drawn"
        if "epoch" in measures and "epoch" not in each.found:
            yield f"{each.row.name} has no training curve: no whole epoch of it is recorded"
    shown = [each for each in rows if each.found]
    yield from training_text_caveats([each.row for each in shown if set(each.found) - {"validation"}])
    if "time" in request.x:
        yield from machine_caveats([each.row for each in shown])
