"""Say what a picture shows: panels with lines, levels and bars, its legend and its sentences. Nothing is drawn here."""

from __future__ import annotations

from dataclasses import dataclass

from charlm.runs.json_records import Json, to_json


@dataclass(frozen=True)
class Dot:
    """A point of a line: a value, or the mean over seeds with its standard deviation (n - 1)."""

    x: float
    y: float
    deviation: float | None = None


@dataclass(frozen=True)
class Line:
    """A line of a panel.

    Args:
        label: the name of the line.
        number: the number of its look; lines of the same number have the same colour.
        dots: its points, in the order in which they are joined.
        is_training: whether it shows training results, which are dashed.
        measures: what its points are: `validation`, `epoch` (the mean of each whole epoch of training), `recent` (the
            mean of training since the evaluation before) or `result` (of a whole run).
        runs: the names of the runs behind it.
        marked: the numbers of the points that have a mark.
        is_joined: whether its points are joined; otherwise each should have a mark.
    """

    label: str
    number: int
    dots: tuple[Dot, ...]
    is_training: bool = False
    measures: str = "validation"
    runs: tuple[str, ...] = ()
    marked: tuple[int, ...] = ()
    is_joined: bool = True


@dataclass(frozen=True)
class Level:
    """A level line, such as a baseline; its number is that of the line that it belongs to, or None for all of them."""

    label: str
    y: float
    number: int | None = None


@dataclass(frozen=True)
class Bar:
    """A bar of a panel that has bars in place of lines."""

    label: str
    value: float
    deviation: float | None = None


@dataclass(frozen=True)
class Scale:
    """A scale of a panel.

    Args:
        name: its word in `--json`.
        title: its title.
        is_whole: whether it has whole numbers only.
        is_short: whether large numbers are written as 10k and 2M.
        is_log: whether it is logarithmic.
        starts_at_zero: whether it begins at zero, wherever its points begin.
        is_share: whether it goes from 0 to 1.
    """

    name: str
    title: str
    is_whole: bool = False
    is_short: bool = False
    is_log: bool = False
    starts_at_zero: bool = False
    is_share: bool = False


@dataclass(frozen=True)
class Panel:
    """A panel of a picture, with lines or with bars.

    Args:
        x: the horizontal scale; that of the bars' values, if it has bars.
        y: the vertical scale.
        lines: its lines.
        levels: its level lines.
        bars: its bars, from top to bottom.
        title: what is written above it; empty for nothing.
    """

    x: Scale
    y: Scale
    lines: tuple[Line, ...] = ()
    levels: tuple[Level, ...] = ()
    bars: tuple[Bar, ...] = ()
    title: str = ""


@dataclass(frozen=True)
class Key:
    """An entry of the legend: the look of a line, or, without a number, of all lines of a kind.

    Args:
        label: what it says.
        number: the look of the line.
        is_training: whether the line is dashed.
        is_level: whether it is a level line.
    """

    label: str
    number: int | None = None
    is_training: bool = False
    is_level: bool = False


@dataclass(frozen=True)
class Picture:
    """Panels, with the legend and the sentences that belong below them.

    Args:
        panels: the panels, in reading order.
        keys: the legend.
        warnings: sentences about what cannot be compared, which belong to the results.
        caveats: sentences about the limits of what is drawn.
        notes: sentences about how to read the results.
        looks: sentences about what bands and marks show, for where these are drawn.
        left_out: a sentence about each damaged run, which is not drawn.
        spread: what the deviations of points are.
    """

    panels: tuple[Panel, ...]
    keys: tuple[Key, ...] = ()
    warnings: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    looks: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    spread: str = "one standard deviation between seeds (n - 1)"

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(panel.bars or any(line.dots for line in panel.lines) for panel in self.panels)

    def as_record(self) -> Json:
        """Return a JSON object with the points that are drawn and the sentences about them."""
        return {
            "panels": [_panel_record(panel) for panel in self.panels],
            "warnings": [*self.left_out, *self.warnings, *self.caveats],
            "notes": list(self.notes),
        }


def _panel_record(panel: Panel) -> Json:
    record: Json = {"title": panel.title or None, "x": panel.x.name, "y": panel.y.name}
    if panel.bars:
        return record | {"bars": to_json(panel.bars)}
    lines = [
        {"label": line.label, "runs": line.runs, "measures": line.measures, "points": line.dots} for line in panel.lines
    ]
    levels = [{"label": level.label, "y": level.y} for level in panel.levels]
    return record | {"lines": to_json(lines), "levels": to_json(levels)}
