"""Prepare the learning curves of compared runs: points, labels and caveats. Nothing is drawn here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, get_args

from charlm.errors import ConfigError, printable
from charlm.evaluation.spread import Spread, spread
from charlm.reports.comparison import Comparison, short_names
from charlm.reports.pictures import Dot, Key, Line, Panel, Picture, Scale
from charlm.reports.rows import Row, value_text
from charlm.reports.run_results import TRAIN, Reading, RunResult

Axis = Literal["step", "chars", "time"]
AXES: tuple[Axis, ...] = get_args(Axis)
# The horizontal scales of learning curves.
SCALES = {
    "epoch": Scale("epoch", "epoch", is_whole=True, starts_at_zero=True),
    "step": Scale("step", "step", is_whole=True, is_short=True, starts_at_zero=True),
    "chars": Scale("chars", "characters seen", is_whole=True, is_short=True, starts_at_zero=True),
    "time": Scale("time", "minutes", starts_at_zero=True),
}
BANDS = "Bands show one standard deviation between seeds (n - 1) on each side of the mean."
MAX_NAME = 48
MAX_VALUE = 20
MAX_SETTINGS = 60


@dataclass(frozen=True)
class CurvePoint:
    """The mean result of a row's runs after a step.

    Args:
        step: number of steps taken.
        chars_seen: training characters read, mean over the runs.
        minutes: time taken, mean over the runs.
        bits: bits per character, mean over the runs.
    """

    step: int
    chars_seen: float
    minutes: float
    bits: Spread


@dataclass(frozen=True)
class Curve:
    """The learning curve of a row of a comparison.

    Args:
        label: the row's name, the settings that differ, and any caveats about the result.
        is_training: whether it shows the result on recent training windows, as it does without a validation split.
        points: the points at the steps at which all runs of the row were evaluated, in order.
    """

    label: str
    is_training: bool
    points: tuple[CurvePoint, ...]

    @property
    def best(self) -> CurvePoint | None:
        """The first point with the lowest mean; None without points."""
        return min(self.points, key=lambda point: point.bits.mean, default=None)


@dataclass(frozen=True)
class Curves:
    """Learning curves, and the sentences that belong below them.

    Args:
        by: the horizontal axes (step, characters seen or time), with a panel for each.
        curves: one for each row of the comparison, in the same order.
        warnings: the comparison's warnings.
        caveats: sentences about the limits of these curves, in addition to the comparison's.
        notes: sentences about how to read the curves.
    """

    by: tuple[Axis, ...]
    curves: tuple[Curve, ...]
    warnings: tuple[str, ...]
    caveats: tuple[str, ...]
    notes: tuple[str, ...]


def check_axes(by: str | Sequence[str]) -> tuple[Axis, ...]:
    """Return the axes that curves are drawn against, each once.

    Raises:
        ConfigError: if a word is not an axis, or if there is none.
    """
    words = dict.fromkeys((by,) if isinstance(by, str) else by)
    for word in words or ("nothing",):
        if word not in AXES:
            raise ConfigError(f"curves can be drawn by step, chars or time, not by {printable(word)}")
    return tuple(axis for word in words for axis in AXES if axis == word)


def curves_of(comparison: Comparison, *, by: Axis | Sequence[Axis] = AXES) -> Curves:
    """Return the learning curves of compared runs: the mean over seeds at each evaluation.

    Args:
        comparison: the result of `compare`.
        by: the axes to draw against, in this order; repeated ones count once.
        Raises:
            ConfigError: if a word is not an axis, or if there is none.
    """
    axes = check_axes(by)
    short = short_names(comparison)
    curves = tuple(
        _curve(row, [f"{short[key]} {shown_setting(row, key)}" for key in row.settings]) for row in comparison.rows
    )
    pairs = list(zip(comparison.rows, curves, strict=True))
    caveats = [caveat for row, curve in pairs for caveat in curve_caveats(row, is_training=curve.is_training)]
    caveats += _mixture_caveats(pairs, axes)
    drawn = [row for row, curve in pairs if curve.points]
    notes = (*look_notes(drawn), *partial_notes(drawn))
    return Curves(axes, curves, comparison.warnings, tuple(caveats), notes)


def _curve(row: Row, settings: Sequence[str]) -> Curve:
    is_training = all(reading.val_bpc is None for result in row.results for reading in result.readings)
    label = printable(row.name, MAX_NAME) + (f": {fitting_settings(settings)}" if settings else "")
    label += marks_of(row, is_training=is_training)
    return Curve(label, is_training, tuple(_points(row, is_training=is_training)))


def marks_of(row: Row, *, is_training: bool = False) -> str:
    """Return what must be said next to each name of a row, in brackets; empty if there is nothing."""
    direction = row.results[0].settings.get("model.direction")
    marks = {
        f"{len(row.results)} seeds": len(row.results) > 1,
        "recent training": is_training,
        "forward half": direction == "bidirectional",
        "reads its own target": row.results[0].is_leaky,
        row.state: row.state != "finished",
    }
    shown = ", ".join(mark for mark, is_set in marks.items() if is_set)
    return f" ({shown})" if shown else ""


def _points(row: Row, *, is_training: bool) -> Iterator[CurvePoint]:
    """Yield the means over the runs at the steps at which all of them have a result."""
    by_run = [{each.step: (each, bits) for each, bits in _figures(run, is_training)} for run in row.results]
    for step in sorted(set[int].intersection(*map(set, by_run))):
        readings, figures = zip(*(readings[step] for readings in by_run), strict=True)
        bits = spread(figures)
        assert bits is not None
        yield CurvePoint(
            step, fmean(each.chars_seen for each in readings), fmean(each.minutes for each in readings), bits
        )


def _figures(result: RunResult, is_training: bool) -> Iterator[tuple[Reading, float]]:
    """Yield the evaluations that have a finite result, which can be drawn."""
    for reading in result.readings:
        bits = reading.recent_bpc if is_training else reading.val_bpc
        if bits is not None and math.isfinite(bits):
            yield reading, bits


def picture_of(curves: Curves) -> Picture:
    """Return the picture of compared runs' curves: a panel for each axis, all with bits per character."""
    drawn = [(number, curve) for number, curve in enumerate(each for each in curves.curves if each.points)]
    kinds = {curve.is_training for _, curve in drawn}
    of = "" if len(kinds) > 1 else "recent training " if kinds == {True} else "validation "
    bits = Scale("bpc", f"{of}bits per character")
    panels = [Panel(SCALES[axis], bits, tuple(_line(*each, axis) for each in drawn)) for axis in curves.by]
    keys = [Key(curve.label, number, curve.is_training) for number, curve in drawn]
    return Picture(tuple(panels), tuple(keys), curves.warnings, curves.caveats, curves.notes)


def _line(number: int, curve: Curve, axis: Axis) -> Line:
    dots = tuple(
        Dot({"step": each.step, "chars": each.chars_seen, "time": each.minutes}[axis], each.bits.mean, deviation)
        for each in curve.points
        for deviation in [each.bits.deviation]
    )
    marked = tuple(place for place, each in enumerate(curve.points) if each is curve.best)
    return Line(
        curve.label, number, dots, curve.is_training, "recent" if curve.is_training else "validation", (), marked
    )


def curve_caveats(row: Row, *, is_training: bool) -> Iterator[str]:
    """Yield sentences about the evaluations of a row's runs that its curve leaves out.

    Args:
        is_training: whether the curve shows the recent training results.
    """
    steps = [{reading.step for reading in result.readings} for result in row.results]
    num_readings = sum(map(len, steps))
    num_figures = sum(len({reading.step for reading, _ in _figures(run, is_training)}) for run in row.results)
    if not all(steps):
        waiting = ", ".join(result.name for result, known in zip(row.results, steps, strict=True) if not known)
        yield f"{row.name} has no curve: there is no evaluation of {waiting} yet"
        return
    if num_figures < num_readings:
        yield f"{row.name}: evaluations without a finite result are not drawn ({num_readings - num_figures:,})"
    common, every = set[int].intersection(*steps), set[int].union(*steps)
    if len(common) < len(every):
        yield (
            f"{row.name}: its runs were evaluated at different steps, and the curve shows the {len(common):,} of "
            f"{len(every):,} that they have in common"
        )


def _mixture_caveats(pairs: Iterable[tuple[Row, Curve]], axes: Sequence[Axis]) -> Iterator[str]:
    """Yield a sentence about each way in which the drawn curves do not measure the same thing."""
    drawn = [(row, curve) for row, curve in pairs if curve.points]
    trained = [row for row, curve in drawn if curve.is_training]
    if trained and len(trained) < len(drawn):
        yield f"the dashed curves show training results, not comparable with validation results: {_names(trained)}"
    yield from training_text_caveats(trained)
    if "time" in axes:
        yield from machine_caveats([row for row, _ in drawn])


def training_text_caveats(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a sentence if the training results of rows are for different texts, and the comparison does not say so."""
    texts = _sorted_by(rows, [row.results[0].train_sha256 or row.results[0].corpus_sha256 for row in rows])
    is_told = all(TRAIN in run.figures for row in rows for run in row.results)
    if len(texts) > 1 and not is_told:
        yield f"the training results are for different texts and cannot be compared: {'; '.join(texts.values())}"


def machine_caveats(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a sentence if the minutes of rows were measured on different kinds of machine."""
    machines = _sorted_by(rows, ["; ".join(row.machines) for row in rows])
    if len(machines) > 1:
        on = "; ".join(f"{names} on {machine}" for machine, names in machines.items())
        yield f"the minutes were measured on different machines: {on}"


def look_notes(rows: Sequence[Row], *, marked: str = "point") -> Iterator[str]:
    """Yield sentences about what bands and marks show.

    Args:
        rows: the rows that are drawn.
        marked: what a mark shows, as in `the lowest point of each curve`.
    """
    if any(len(row.results) > 1 for row in rows):
        yield BANDS
    if rows:
        yield f"Marks show the lowest {marked} of each curve."


def partial_notes(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a sentence if curves are about the beginning of the validation split only."""
    partial = [row for row in rows if any(each.is_partial for run in row.results for each in run.readings)]
    if partial:
        whose = "Curves" if len(partial) == len(rows) else f"The curves of {_names(partial)}"
        yield f"{whose} cover the beginning of the validation split (eval.max_chars)."


def _sorted_by(rows: Sequence[Row], kinds: Sequence[str]) -> dict[str, str]:
    """Return, for each kind, the names of its rows."""
    return {
        kind: _names([row for row, other in zip(rows, kinds, strict=True) if other == kind])
        for kind in dict.fromkeys(kinds)
    }


def _names(rows: Sequence[Row]) -> str:
    return ", ".join(row.name for row in rows)


def shown_setting(row: Row, key: str) -> str:
    """Return the value of a setting, shortened."""
    return printable(value_text(row.settings[key]), MAX_VALUE)


def fitting_settings(settings: Sequence[str]) -> str:
    """Return as many settings as a label has room for, but at least the first."""
    kept = list(settings)
    while len(kept) > 1 and len(", ".join(kept)) > MAX_SETTINGS:
        kept.pop()
    return ", ".join(kept) + (", ..." if len(kept) < len(settings) else "")
