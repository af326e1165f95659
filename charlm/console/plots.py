"""Draw pictures in a terminal: panels below each other, lines of Braille dots with marks and names at their ends.

The curves are told apart by marks as well as by colours, so that nothing is lost in a pipe or with NO_COLOR.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from charlm.console.canvas import Canvas
from charlm.console.scales import Span, span_of
from charlm.console.terminal import console_for, escaped, is_live
from charlm.reports.pictures import Key, Line, Panel, Picture

MIN_WIDTH, MAX_WIDTH = 40, 120
MIN_ROWS, MAX_ROWS = 6, 30
# From this width on, names may take a third of the columns.
WIDE = 60
# Names of colours, which follow the terminal's own palette; the last is that of its text.
COLOURS = ("cyan", "red", "green", "magenta", "blue", "yellow", "default")
# ASCII, because the width of other marks depends on the terminal.
MARKS = "ox+*#@%&"
# The fewest columns between two marks of a line, which marks must not hide.
MARK_GAP = 12
TICK_COLUMNS, TICK_ROWS = 12, 3
DASH, DASH_GAP, LEVEL_GAP, BAND_GAP = 3, 3, 3, 5
# What the axes, the title of the panel and the prompt of the shell take.
FRAME_ROWS, PROMPT_ROWS = 4, 1
BLOCK, HALF = "█", "▌"


@dataclass(frozen=True)
class End:
    """What stands at the right of a panel, in the row where a line ends: its mark and, if there is room, its name."""

    y: float
    text: str
    style: str


def show_picture(picture: Picture) -> None:
    """Print a picture on standard output, as wide and as high as the terminal; in a pipe, 80 x 24 as plain text."""
    console, size = console_for(sys.stdout), shutil.get_terminal_size()
    # The last column stays free: some terminals would begin a new line.
    width = min(max(size.columns - is_live(sys.stdout), MIN_WIDTH), MAX_WIDTH)
    for line in picture_lines(picture, width, size.lines):
        console.print(line)
    if is_live(sys.stdout):
        for warning in (*picture.warnings, *picture.caveats):
            console.print(f"warning: {warning}")


def picture_lines(picture: Picture, width: int, height: int) -> Iterator[Text]:
    """Yield the lines of a picture, without spaces at their ends.

    Args:
        picture: what to draw.
        width: the number of columns.
        height: the rows of the terminal, which a picture of one panel fits into.
    """
    legend = [*_legend(picture, width), *_notes(picture, width)]
    rows = min(max(height - FRAME_ROWS - PROMPT_ROWS - len(legend), MIN_ROWS), MAX_ROWS)
    lines: list[Text] = []
    for panel in picture.panels:
        lines += [Text()] if lines else []
        lines += bar_lines(panel, width) if panel.bars else panel_lines(panel, width, rows)
    for line in (*lines, *legend):
        line.rstrip()
        yield line


def panel_lines(panel: Panel, width: int, rows: int) -> Iterator[Text]:
    """Yield the lines of a panel: its title, its curves between their scales, and the horizontal scale.

    Args:
        panel: a panel with lines.
        width: the number of columns.
        rows: the number of rows for the curves.
    """
    dots = [dot for line in panel.lines for dot in line.dots]
    edges = [dot.y + sign * (dot.deviation or 0) for dot in dots for sign in (-1, 0, 1)]
    # A logarithmic scale has no place for the lower edge of a band that is wider than its mean.
    y = span_of(
        [*(edge for edge in edges if edge > 0 or not panel.y.is_log), *(level.y for level in panel.levels)],
        panel.y,
        has_room=True,
    )
    ticks = y.ticks(max(rows // TICK_ROWS, 2))
    left = max(cell_len(text) for _, text in ticks) + 1
    ends = _ends(panel, _end_room(width))
    right = max((cell_len(end.text) for end in ends), default=0) + 1
    canvas = Canvas(max(width - left - 1 - right, 8), rows)
    x = span_of([dot.x for dot in dots], panel.x, has_room=not panel.x.starts_at_zero)
    _draw(canvas, panel, x, y)
    title = f"{panel.title}: {panel.y.title}" if panel.title else panel.y.title
    yield Text(set_cell_size(title, min(cell_len(title), width)), style="bold")
    tick_rows = {canvas.cell(0, y.share(value))[1]: text for value, text in ticks}
    places = _apart(ends, canvas, y)
    for number, row in enumerate(canvas.rows()):
        tick = tick_rows.get(number, "")
        line = Text(f"{tick:>{left - 1}} {'┤' if tick else '│'}") + row
        if end := places.get(number):
            line.append(" ").append(end.text, end.style)
        yield line
    yield from _below(x, left, canvas)


def bar_lines(panel: Panel, width: int) -> Iterator[Text]:
    """Yield the lines of a panel of bars, each with its name before it and its value behind it."""
    yield Text(panel.title or panel.x.title, style="bold")
    texts = [_bar_text(panel, bar.value, bar.deviation) for bar in panel.bars]
    names = min(max(cell_len(bar.label) for bar in panel.bars), width // 2 - 4)
    room = width - names - 2 - max(map(cell_len, texts)) - 1
    most = max(max(bar.value for bar in panel.bars), 1e-300)
    for bar, text in zip(panel.bars, texts, strict=True):
        halves = round(2 * max(room, 1) * max(bar.value, 0) / most)
        drawn = BLOCK * (halves // 2) + HALF * (halves % 2)
        yield Text(_shortened(escaped(bar.label), names)) + Text(" ") + Text(drawn, style=COLOURS[0]) + Text(f" {text}")


def _bar_text(panel: Panel, value: float, deviation: float | None) -> str:
    if panel.x.name == "share":
        return f"{value:.0%}"
    return f"{value:.3g}" + ("" if deviation is None else f" ± {deviation:.2g}")


def _draw(canvas: Canvas, panel: Panel, x: Span, y: Span) -> None:
    for level in panel.levels:
        share = y.share(level.y)
        canvas.draw([(0, share), (1, share)], _style(level.number), dash=1, gap=LEVEL_GAP)
    for line in panel.lines:
        style = _style(line.number)
        _draw_spread(canvas, line, x, y, style, num_kinds=len({each.is_training for each in panel.lines}))
        points = [(x.share(dot.x), y.share(dot.y)) for dot in line.dots]
        if line.is_joined:
            canvas.draw(points, style, dash=DASH, gap=DASH_GAP * line.is_training)
    # Lines that were drawn first would otherwise lose their marks to the others.
    for line in panel.lines:
        _mark(canvas, line, [(x.share(dot.x), y.share(dot.y)) for dot in line.dots])


def _draw_spread(canvas: Canvas, line: Line, x: Span, y: Span, style: str, *, num_kinds: int) -> None:
    """Draw the edges of a line's band, or, where points are not joined, how far each of them spreads."""
    known = [(dot, dot.deviation) for dot in line.dots if dot.deviation]
    low, high = ([(x.share(dot.x), y.share(dot.y + sign * spread)) for dot, spread in known] for sign in (-1, 1))
    if not line.is_joined:
        for ends in zip(low, high, strict=True):
            canvas.draw(ends, style)
    # The bands of dashed lines too would leave little to see.
    elif not line.is_training or num_kinds == 1:
        canvas.draw(low, style, dash=1, gap=BAND_GAP)
        canvas.draw(high, style, dash=1, gap=BAND_GAP)


def _mark(canvas: Canvas, line: Line, points: Sequence[tuple[float, float]]) -> None:
    """Mark points of a line that are far enough apart; of dashed lines and whole ones alike."""
    last = -MARK_GAP
    for point in points:
        column, _ = canvas.cell(*point)
        if not line.is_joined or column - last >= MARK_GAP:
            last = column if canvas.mark(point, _mark_of(line.number), _style(line.number)) else last


def _ends(panel: Panel, room: int) -> list[End]:
    """Return what stands at the ends of lines: names where all of them have room, and otherwise only marks."""
    # Of the two lines of a run, the whole one comes first; the mark of the other can be found in the line itself.
    lines = {line.number: line for line in sorted(panel.lines, key=lambda line: not line.is_training)}
    texts = [
        (line.dots[-1].y, _mark_of(number), "" if panel.title else escaped(line.label), number)
        for number, line in lines.items()
        if line.dots and line.is_joined
    ]
    has_names = all(cell_len(name) + 2 <= room for _, _, name, _ in texts)
    ends = [End(y, f"{mark} {name}".rstrip() if has_names else mark, _style(number)) for y, mark, name, number in texts]
    levels = [End(level.y, level.label, _style(level.number)) for level in panel.levels]
    return ends + [end for end in levels if cell_len(end.text) <= room]


def _apart(ends: Sequence[End], canvas: Canvas, y: Span) -> dict[int, End]:
    """Return the row of each end, moved as little as possible where several have the same; some may have no room."""
    ordered = sorted(ends, key=lambda end: -end.y)[: canvas.height]
    rows = [canvas.cell(1, y.share(end.y))[1] for end in ordered]
    for number in range(1, len(rows)):
        rows[number] = max(rows[number], rows[number - 1] + 1)
    limit = canvas.height - 1
    for number in reversed(range(len(rows))):
        rows[number] = min(rows[number], limit)
        limit = rows[number] - 1
    return dict(zip(rows, ordered, strict=True))


def _below(x: Span, left: int, canvas: Canvas) -> Iterator[Text]:
    """Yield the horizontal axis, its numbers, and its title."""
    axis, numbers = ["─"] * canvas.width, ""
    for value, text in x.ticks(max(canvas.width // TICK_COLUMNS, 2)):
        column, _ = canvas.cell(x.share(value), 0)
        start = min(max(column - len(text) // 2, 0), canvas.width - len(text))
        if not numbers or start > len(numbers):
            axis[column] = "┬"
            numbers = numbers.ljust(start) + text
    yield Text(f"{'':{left}}└{''.join(axis)}")
    title, room = x.scale.title, canvas.width - len(numbers)
    if len(title) + 2 <= room:
        yield Text(f"{'':{left + 1}}{numbers}{title:>{room}}")
    else:
        yield Text(f"{'':{left + 1}}{numbers}")
        yield Text(f"{'':{left + 1}}{title:>{canvas.width}}")


def _end_room(width: int) -> int:
    """Return how many columns the names at the ends of lines may take."""
    return width // 5 if width < WIDE else width // 3


def _legend(picture: Picture, width: int) -> list[Text]:
    """Return the lines of the legend, with as many entries in each as it has room for."""
    lines = [Text()]
    for key in _needed_keys(picture, width):
        entry = _entry(key, width)
        if lines[-1] and cell_len(lines[-1].plain) + cell_len(entry.plain) + 3 > width:
            lines.append(Text())
        lines[-1] += Text("   " if lines[-1] else "") + entry
    return [line for line in lines if line]


def _needed_keys(picture: Picture, width: int) -> list[Key]:
    """Return the entries of the legend that do not stand at the ends of lines in each panel."""
    panels = [{end.text for end in _ends(panel, _end_room(width))} for panel in picture.panels if not panel.bars]
    named = set[str].intersection(*panels) if panels else set[str]()
    return [key for key in picture.keys if not {key.label, f"{_mark_of(key.number or 0)} {key.label}"} & named]


def _entry(key: Key, width: int) -> Text:
    dashes, levels = "⠤⠄⠤⠄", "⠄⠄⠄⠄"
    sign = levels if key.is_level else dashes if key.is_training else "⠤⠤⠤⠤"
    sign = sign if key.number is None or key.is_level else _mark_of(key.number)
    return Text(f"{sign} {_shortened(escaped(key.label), width - len(sign) - 1).rstrip()}", style=_style(key.number))


def _notes(picture: Picture, width: int) -> list[Text]:
    has_bands = any(dot.deviation for panel in picture.panels for line in panel.lines for dot in line.dots)
    notes = [*[f"Dotted edges and bars show {picture.spread}."] * has_bands, *picture.notes]
    return [Text(line) for note in notes for line in textwrap.wrap(note, width, break_on_hyphens=False)]


def _shortened(text: str, width: int) -> str:
    """Return a text that fills `width` cells; a long one loses its end."""
    return set_cell_size(text if cell_len(text) <= width else f"{set_cell_size(text, width - 1).rstrip()}…", width)


def _style(number: int | None) -> str:
    return "dim" if number is None else COLOURS[number % len(COLOURS)]


def _mark_of(number: int) -> str:
    # Eight marks and seven colours: together, they differ in all that a picture has room for.
    return MARKS[number % len(MARKS)]
