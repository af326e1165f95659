"""Draw a picture as a Matplotlib figure: panels, legend and sentences, none of which overlap."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unicodedata import bidirectional, east_asian_width

from charlm.reports.fonts import fonts_for, quiet_matplotlib
from charlm.reports.pictures import Key, Line, Panel, Picture, Scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis as DrawnAxis
    from matplotlib.figure import Figure

# The colours of Okabe and Ito (2008), which colour-blind readers can distinguish, without the yellow, which is hard to
# see on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# What stands for all lines, and a baseline.
GREY = "#666666"
# The line styles of each round through the colours; dashes are reserved for training results.
LINES = ("-", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))
DASHES = ("--", (0, (8, 2)), (0, (2, 2)), (0, (6, 4)))
LEVEL = (0, (1, 3))
MARKS = ("o", "s", "^", "D")
MAX_DECADES = 1e4
MAX_CURVES = len(COLOURS) * len(LINES)
# In inches: three panels are 1,100 pixels wide at 100 pixels per inch, as web pages show them.
WIDTHS = {1: 6.5, 2: 9.0, 3: 11.0}
PANEL_HEIGHT, LEFT, POWERS, RIGHT, TOP, TICKS, TITLE = 3.1, 0.62, 0.82, 0.2, 0.12, 0.5, 0.22
LEGEND_LINE, TEXT_LINE, GAP = 0.185, 0.14, 0.1
BAR_HEIGHT, BAR_CHARS = 0.28, 24
LEFT_TO_RIGHT = "\N{LEFT-TO-RIGHT MARK}"
# Characters per inch of text, with room to spare, because the viewer of an SVG may use a wider font.
LEGEND_CHARS, HANDLE_CHARS, TEXT_CHARS = 13, 8, 16


@dataclass(frozen=True)
class Style:
    """The look of a line: its colour, its Matplotlib line style, and the marker on its best point."""

    colour: str
    line: str | tuple[int, tuple[int, ...]]
    mark: str


def draw_picture(picture: Picture) -> Figure:
    """Return a Matplotlib figure: panels that share a vertical axis if they can, then the legend, then sentences."""
    with quiet_matplotlib(fonts_for(_texts(picture))):
        from matplotlib.figure import Figure

        num_columns = min(len(picture.panels), max(WIDTHS))
        num_rows = math.ceil(len(picture.panels) / num_columns)
        width = WIDTHS[num_columns]
        names, num_names = _columns([key.label for key in picture.keys], width)
        sentences = _sentences(picture, width)
        num_lines = math.ceil(sum(name.count("\n") + 1 for name in names) / num_names)
        legend_height = num_lines * LEGEND_LINE + GAP
        text_height = len(sentences) * TEXT_LINE + GAP
        title = TITLE if any(panel.title for panel in picture.panels) else 0
        below, above = TICKS + legend_height + text_height, TOP + title
        height = above + num_rows * PANEL_HEIGHT + (num_rows - 1) * (TICKS + title) + below
        figure = Figure(figsize=(width, height))
        places = _places(figure, picture.panels, num_rows, num_columns)
        figure.subplots_adjust(
            _left(picture) / width,
            below / height,
            1 - RIGHT / width,
            1 - above / height,
            wspace=_gap(picture, num_columns),
            hspace=(TICKS + title) / PANEL_HEIGHT,
        )
        for number, (panel, axes) in enumerate(zip(picture.panels, places, strict=True)):
            _draw_panel(axes, panel, has_label=not _has_twin(picture.panels, number, num_columns))
        if names:
            _add_legend(figure, picture.keys, names, num_columns=num_names, top=(legend_height + text_height) / height)
        text = figure.text(GAP / width, text_height / height, "\n".join(sentences), va="top", fontsize=8)
        text.set_parse_math(False)
    return figure


def _places(figure: Figure, panels: Sequence[Panel], num_rows: int, num_columns: int) -> list[Axes]:
    """Return axes for the panels; those of one vertical scale share it."""
    places: list[Axes] = []
    first: dict[Scale, Axes] = {}
    for number, panel in enumerate(panels):
        shared = None if panel.bars else first.get(panel.y)
        places.append(figure.add_subplot(num_rows, num_columns, number + 1, sharey=shared))
        first.setdefault(panel.y, places[-1])
    return places


def _has_twin(panels: Sequence[Panel], number: int, num_columns: int) -> bool:
    """Say whether the panel to the left of one has the same vertical scale."""
    panel, left = panels[number], panels[number - 1]
    return number % num_columns > 0 and panel.y == left.y and not panel.bars and not left.bars


def style_of(number: int | None, *, is_training: bool = False) -> Style:
    """Return the look of a line by its number: the colour varies first, then the line style and the marker."""
    if number is None:
        return Style(GREY, DASHES[0] if is_training else LINES[0], "")
    turn, place = divmod(number % MAX_CURVES, len(COLOURS))
    return Style(COLOURS[place], (DASHES if is_training else LINES)[turn], MARKS[turn])


def _draw_panel(axes: Axes, panel: Panel, *, has_label: bool) -> None:
    if panel.bars:
        _draw_bars(axes, panel)
    for line in panel.lines:
        _draw_line(axes, line)
    for level in panel.levels:
        axes.axhline(level.y, **_level_look(level.number))
        # By itself, the level may lie on the very edge of the panel.
        axes.update_datalim([(dot.x, level.y) for line in panel.lines for dot in line.dots[:1]])
        axes.autoscale_view()
    axes.set_xlabel(panel.x.title, parse_math=False)
    if panel.title:
        axes.set_title(panel.title, fontsize=9, parse_math=False)
    _scale(axes.xaxis, axes.set_xscale, panel.x)
    if panel.x.starts_at_zero:
        axes.set_xlim(left=0)
    if not panel.bars:
        _scale(axes.yaxis, axes.set_yscale, panel.y, is_plain=True)
    if not panel.bars:
        axes.tick_params(labelleft=has_label)
        axes.set_ylabel(panel.y.title if has_label else "", parse_math=False)


def _scale(axis: DrawnAxis, set_scale: Any, scale: Scale, *, is_plain: bool = False) -> None:
    from matplotlib.ticker import (
        EngFormatter,
        LogFormatterMathtext,
        LogLocator,
        MaxNLocator,
        NullFormatter,
        StrMethodFormatter,
    )

    if scale.is_log:
        set_scale("log")
        low, high = axis.get_view_interval()
        # Over many powers of ten, whole ones are enough.
        is_long = high > low * MAX_DECADES
        axis.set_major_locator(LogLocator(subs=(1,) if is_long else (1, 2, 5), numticks=8 if is_long else 12))
        axis.set_major_formatter(LogFormatterMathtext() if is_long else StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())
    elif not is_plain:
        axis.set_major_locator(MaxNLocator(5, integer=scale.is_whole))
    if scale.is_short:
        axis.set_major_formatter(EngFormatter(sep=""))


def _draw_line(axes: Axes, line: Line) -> None:
    style = style_of(line.number, is_training=line.is_training)
    places, means = [dot.x for dot in line.dots], [dot.y for dot in line.dots]
    # The markers make a curve with a single evaluation visible too.
    axes.plot(
        places,
        means,
        color=style.colour,
        linestyle=style.line if line.is_joined else "",
        marker=style.mark,
        markevery=list(line.marked),
        markersize=4.5,
    )
    bands = [(dot.x, dot.y - dot.deviation, dot.y + dot.deviation) for dot in line.dots if dot.deviation is not None]
    if bands and line.is_joined:
        xs, low, high = zip(*bands, strict=True)
        # The band of a single point is visible only by its edge.
        axes.fill_between(xs, low, high, color=style.colour, alpha=0.18, linewidth=1)
    elif bands:
        axes.vlines(*zip(*bands, strict=True), color=style.colour, linewidth=1)


def _draw_bars(axes: Axes, panel: Panel) -> None:
    places = range(len(panel.bars))
    errors = [bar.deviation or 0.0 for bar in panel.bars]
    axes.barh(
        places, [bar.value for bar in panel.bars], height=0.6, color=COLOURS[0], xerr=errors if any(errors) else None
    )
    names = ["\n".join(_wrapped(bar.label, BAR_CHARS)) for bar in panel.bars]
    for text in axes.set_yticks(places, names):
        text.label1.set_parse_math(False)
    axes.invert_yaxis()
    axes.set_axisbelow(True)
    axes.grid(visible=False, axis="y")


def _level_look(number: int | None) -> Mapping[str, Any]:
    return {"color": style_of(number).colour, "linestyle": LEVEL, "linewidth": 1.6}


def _add_legend(figure: Figure, keys: Sequence[Key], names: Sequence[str], *, num_columns: int, top: float) -> None:
    from matplotlib.lines import Line2D

    # Use numbers while it is built: Matplotlib would leave out some names (`_a`) and read others as formulas (`$a$`).
    legend = figure.legend(
        [Line2D([], [], **_key_look(key)) for key in keys],
        [str(number) for number in range(len(names))],
        loc="upper center",
        bbox_to_anchor=(0.5, top),
        borderaxespad=0,
        borderpad=0,
        frameon=False,
        handlelength=3,
        labelspacing=0.35,
        ncols=num_columns,
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(_from_left(name))


def _from_left(name: str) -> str:
    """Return a name whose remarks in brackets stay behind it, whichever way its script is written."""
    return LEFT_TO_RIGHT + name if any(bidirectional(each) in ("R", "AL") for each in name) else name


def _key_look(key: Key) -> Mapping[str, Any]:
    if key.is_level:
        return _level_look(key.number)
    style = style_of(key.number, is_training=key.is_training)
    return {"color": style.colour, "linestyle": style.line, "marker": style.mark, "markersize": 4.5}


def _sentences(picture: Picture, width: float) -> list[str]:
    """Return the lines below the legend: how to read the curves, then what cannot be compared."""
    warnings_ = [f"Warning: {sentence}." for sentence in (*picture.warnings, *picture.caveats)]
    return [
        line
        for text in (" ".join((*picture.looks, *picture.notes)), *warnings_)
        for line in _wrapped(text, int(width * TEXT_CHARS))
    ]


def _wrapped(text: str, num_chars: int) -> list[str]:
    """Break a sentence into lines by its width; some characters are twice as wide as others."""
    is_wide = _num_cells(text) > len(text)
    return textwrap.wrap(text, num_chars // 2 if is_wide else num_chars, break_on_hyphens=False)


def _columns(labels: Sequence[str], width: float) -> tuple[list[str], int]:
    """Return the labels, broken if they are wider than the picture, and the number of columns."""
    room, longest = int(width * LEGEND_CHARS), max(map(_num_cells, labels), default=0)
    names = ["\n".join(_wrapped(label, room - HANDLE_CHARS)) for label in labels]
    return names, max(1, min(len(labels), room // (longest + HANDLE_CHARS)))


def _num_cells(text: str) -> int:
    return sum(2 if east_asian_width(each) in "WF" else 1 for each in text)


def _left(picture: Picture) -> float:
    """Return the room at the left in inches: for powers of ten, or for the names of bars, if there are any."""
    columns = min(len(picture.panels), max(WIDTHS))
    longest = max((_longest(panel) for panel in picture.panels[::columns]), default=0)
    has_powers = any(panel.y.is_log and not panel.bars for panel in picture.panels)
    return max(POWERS if has_powers else LEFT, longest / TEXT_CHARS + 0.2)


def _gap(picture: Picture, num_columns: int) -> float:
    """Return the room between panels, as a share of their width: for their scales, and for the names of bars."""
    inner = [number for number in range(len(picture.panels)) if number % num_columns]
    if all(_has_twin(picture.panels, number, num_columns) for number in inner):
        return 0.14
    return max(0.28, max(_longest(picture.panels[number]) for number in inner) / TEXT_CHARS / 2.2)


def _longest(panel: Panel) -> int:
    return max((_num_cells(line) for bar in panel.bars for line in _wrapped(bar.label, BAR_CHARS)), default=0)


def _texts(picture: Picture) -> str:
    """Return all that is written in a picture."""
    names = [text for panel in picture.panels for text in (panel.title, panel.x.title, panel.y.title)]
    names += [bar.label for panel in picture.panels for bar in panel.bars]
    names += [key.label for key in picture.keys]
    return "".join((*names, *picture.warnings, *picture.caveats, *picture.looks, *picture.notes))
