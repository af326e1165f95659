"""Choose what a picture of a memory task shows: right answers by lag, a line for each cell, and chance."""

from __future__ import annotations

from charlm.insight.memory_records import MemoryFindings
from charlm.reports.pictures import Dot, Key, Level, Line, Panel, Picture, Scale

LAG = Scale("lag", "lag, characters in between", is_log=True)
ACCURACY = Scale("accuracy", "right answers, in %", starts_at_zero=True)


def memory_picture(found: MemoryFindings) -> Picture:
    """Return the picture of a memory task."""
    lines = tuple(
        Line(
            each.cell.upper(),
            number,
            tuple(Dot(lag.lag, 100 * lag.accuracy) for lag in each.lags),
            measures="result",
            marked=tuple(range(len(each.lags))),
        )
        for number, each in enumerate(found.cells)
    )
    chance = Level("chance", 100 * found.chance)
    keys = (*(Key(line.label, line.number) for line in lines), Key("chance", is_level=True))
    return Picture(
        (Panel(LAG, ACCURACY, lines, (chance,), title=""),), keys, notes=(f"{found.task}: {found.question}",)
    )
