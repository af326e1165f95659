"""Draw learning curves. Only this module uses Matplotlib, which it imports when the first picture is drawn."""

from __future__ import annotations

import io
import logging
import math
import textwrap
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

from charlm.errors import ConfigError, RunError, printable
from charlm.reports.comparison import Comparison
from charlm.reports.curves import AXES, Axis, Curve, CurvePoint, Curves, curves_of
from charlm.runs.durable import replace_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MISSING = "needs Matplotlib, which is not installed: pip install 'charlm[plots]'"
FORMATS = (".svg", ".png")
MAX_SHOWN = 200
TITLES = {"step": "step", "chars": "characters seen", "time": "minutes"}
# The colours of Okabe and Ito (2008), which colour-blind readers can distinguish, without the yellow, which is hard to
# see on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# The line styles of each round through the colours; dashes are reserved for training results.
LINES = ("-", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))
DASHES = ("--", (0, (8, 2)), (0, (2, 2)), (0, (6, 4)))
MARKS = ("o", "s", "^", "D")
MAX_CURVES = len(COLOURS) * len(LINES)
# In inches: three panels are 1,100 pixels wide at 100 pixels per inch, as web pages show them.
WIDTHS = {1: 6.5, 2: 9.0, 3: 11.0}
PANEL_HEIGHT, LEFT, RIGHT, TOP, TICKS = 3.1, 0.62, 0.2, 0.12, 0.5
LEGEND_LINE, TEXT_LINE, GAP = 0.185, 0.14, 0.1
# Characters per inch of text, with room to spare, because the viewer of an SVG may use a wider font.
LEGEND_CHARS, HANDLE_CHARS, TEXT_CHARS = 13, 8, 16
PIXELS_PER_INCH = 200
STYLE: dict[str, Any] = {
    "axes.grid": True,
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.alpha": 0.3,
    # This makes the same runs give the same bytes; by default, Matplotlib names the elements of an SVG at random.
    "svg.fonttype": "none",
    "svg.hashsalt": "charlm",
}


@dataclass(frozen=True)
class Style:
    """The look of a curve: its colour, its Matplotlib line style, and the marker on its best point."""

    colour: str
    line: str | tuple[int, tuple[int, ...]]
    mark: str


def plot_curves(comparison: Comparison, path: str | Path, *, by: Axis | Sequence[Axis] = AXES) -> Curves:
    """Draw the learning curves of compared runs into a file: bits per character, with a panel for each axis in `by`.

    A curve is the mean over the seeds of a row, at the evaluations that all its runs have in common. Sentences below
    the panels say what cannot be compared. The same runs give the same bytes.

    Args:
        comparison: the result of `compare`.
        path: the file to write, whose name ends in .svg or .png.
        by: the horizontal axes: step, chars (seen in training) and time (minutes).
        Returns:
            The curves that were drawn.
        Raises:
            ConfigError: for any other file name, a missing folder or too many curves, or if Matplotlib is missing.
            RunError: if there is nothing to draw yet.
            StorageError: if the file cannot be written.

    Example:
        >>> curves = charlm.plot_curves(charlm.compare("my-run", "both-ways"), "curves.svg", by="step")
        >>> len(curves.curves)
        2
    """
    path = Path(path)
    check_plot(path)
    curves = curves_of(comparison, by=by)
    num_drawn = sum(bool(curve.points) for curve in curves.curves)
    if not num_drawn:
        raise RunError("there is nothing to draw: " + "; ".join(curves.caveats))
    if num_drawn > MAX_CURVES:
        raise ConfigError(f"a picture has room for {MAX_CURVES} curves, not {num_drawn}: name fewer runs")
    replace_file(path, _rendered(curves, path.suffix.lower()))
    return curves


def check_plot(path: Path, what: str = "a picture") -> None:
    """Check everything about a picture that can be checked before any run is read.

    Args:
        path: the file to write.
        what: the name of the option or argument, for error messages.
        Raises:
            ConfigError: if the name ends in no known format, the folder is missing, or Matplotlib is missing.
    """
    shown = printable(str(path), MAX_SHOWN)
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"{what} must be a file that ends in .svg or .png, got {shown}")
    if not path.parent.is_dir():
        raise ConfigError(f"{what} {shown}: there is no folder {printable(str(path.parent), MAX_SHOWN)}")
    if find_spec("matplotlib") is None:
        raise ConfigError(f"{what} {MISSING}")


def draw_curves(curves: Curves) -> Figure:
    """Return a Matplotlib figure: panels that share their vertical axis, then the legend, then sentences."""
    with _quiet_matplotlib():
        from matplotlib.figure import Figure

        width, num_panels = WIDTHS[len(curves.by)], len(curves.by)
        styles = _styles([curve for curve in curves.curves if curve.points])
        names, num_columns = _columns([curve.label for curve, _ in styles], width)
        sentences = _sentences(curves, width)
        num_lines = math.ceil(sum(name.count("\n") + 1 for name in names) / num_columns)
        legend_height = num_lines * LEGEND_LINE + GAP
        text_height = len(sentences) * TEXT_LINE + GAP
        below = TICKS + legend_height + text_height
        height = TOP + PANEL_HEIGHT + below
        figure = Figure(figsize=(width, height))
        panels: Sequence[Axes] = figure.subplots(1, num_panels, sharey=True, squeeze=False)[0]
        figure.subplots_adjust(LEFT / width, below / height, 1 - RIGHT / width, 1 - TOP / height, wspace=0.1)
        for axis, panel in zip(curves.by, panels, strict=True):
            _draw_panel(panel, axis, styles)
        panels[0].set_ylabel(_measure([curve for curve, _ in styles]))
        _add_legend(figure, panels[0], names, num_columns=num_columns, top=(legend_height + text_height) / height)
        text = figure.text(GAP / width, text_height / height, "\n".join(sentences), va="top", fontsize=8)
        text.set_parse_math(False)
    return figure


def _styles(curves: Sequence[Curve]) -> list[tuple[Curve, Style]]:
    """Give each curve a different style: the colour varies first, then the line style and the marker."""
    styles: list[tuple[Curve, Style]] = []
    for number, curve in enumerate(curves):
        turn, place = divmod(number, len(COLOURS))
        styles.append((curve, Style(COLOURS[place], (DASHES if curve.is_training else LINES)[turn], MARKS[turn])))
    return styles


def _draw_panel(panel: Axes, axis: Axis, styles: Sequence[tuple[Curve, Style]]) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    for curve, style in styles:
        _draw_curve(panel, axis, curve, style)
    panel.set_xlabel(TITLES[axis])
    panel.set_xlim(left=0)
    panel.xaxis.set_major_locator(MaxNLocator(5, integer=axis != "time"))
    if axis != "time":
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))


def _draw_curve(panel: Axes, axis: Axis, curve: Curve, style: Style) -> None:
    places = [_place(point, axis) for point in curve.points]
    means = [point.bits.mean for point in curve.points]
    # The markers make a curve with a single evaluation visible too.
    best = [number for number, point in enumerate(curve.points) if point is curve.best]
    panel.plot(
        places, means, color=style.colour, linestyle=style.line, marker=style.mark, markevery=best, markersize=4.5
    )
    bands = [
        (mean - each.bits.deviation, mean + each.bits.deviation)
        for mean, each in zip(means, curve.points, strict=True)
        if each.bits.deviation is not None
    ]
    if bands:
        low, high = zip(*bands, strict=True)
        # The band of a single point is visible only by its edge.
        panel.fill_between(places, low, high, color=style.colour, alpha=0.18, linewidth=1)


def _place(point: CurvePoint, axis: Axis) -> float:
    return {"step": point.step, "chars": point.chars_seen, "time": point.minutes}[axis]


def _add_legend(figure: Figure, panel: Axes, names: Sequence[str], *, num_columns: int, top: float) -> None:
    # Use numbers while it is built: Matplotlib would leave out some names (`_a`) and read others as formulas (`$a$`).
    placeholders = [str(number) for number in range(len(names))]
    legend = figure.legend(
        panel.get_lines(),
        placeholders,
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
        text.set_text(name)


def _measure(curves: Sequence[Curve]) -> str:
    """Return the label of the shared axis: which bits per character it shows."""
    kinds = {curve.is_training for curve in curves}
    return ("" if len(kinds) > 1 else "recent training " if kinds == {True} else "validation ") + "bits per character"


def _sentences(curves: Curves, width: float) -> list[str]:
    """Return the lines below the legend: how to read the curves, then what cannot be compared."""
    warnings_ = [f"Warning: {sentence}." for sentence in (*curves.warnings, *curves.caveats)]
    return [line for text in (" ".join(curves.notes), *warnings_) for line in _wrapped(text, int(width * TEXT_CHARS))]


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


def _rendered(curves: Curves, ending: str) -> bytes:
    """Return the picture as the contents of a file."""
    figure, output = draw_curves(curves), io.BytesIO()
    with _quiet_matplotlib():
        if ending == ".svg":
            from matplotlib.backends.backend_svg import FigureCanvasSVG

            FigureCanvasSVG(figure).print_svg(output, metadata={"Date": None})
        else:
            from matplotlib.backends.backend_agg import FigureCanvasAgg

            figure.set_dpi(PIXELS_PER_INCH)
            FigureCanvasAgg(figure).print_png(output)
    return output.getvalue()


@contextmanager
def _quiet_matplotlib() -> Generator[None]:
    """Import Matplotlib with its default style, whatever a user's matplotlibrc says, and silence its messages."""
    logger = logging.getLogger("matplotlib")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            # These are about characters that its font lacks, and about the font cache that it builds on first use.
            warnings.simplefilter("ignore")
            import matplotlib.style

            with matplotlib.style.context(["default", STYLE]):
                yield
    finally:
        logger.setLevel(before)
