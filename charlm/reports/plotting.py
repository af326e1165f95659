"""Write pictures into files: what is refused, and the formats. Matplotlib is imported when the first one is drawn."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from charlm.errors import ConfigError, RunError, printable
from charlm.reports.comparison import Comparison
from charlm.reports.curves import AXES, Axis, Curves, curves_of, picture_of
from charlm.reports.figures import MAX_CURVES, draw_picture
from charlm.reports.fonts import quiet_matplotlib
from charlm.reports.pictures import Picture
from charlm.runs.durable import replace_file
from charlm.runs.outputs import check_output_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISSING = "needs Matplotlib, which is not installed: pip install 'charlm[plots]'"
FORMATS = (".svg", ".png", ".pdf")
MAX_SHOWN = 200
PIXELS_PER_INCH = 200


def plot_curves(comparison: Comparison, path: str | Path, *, by: Axis | Sequence[Axis] = AXES) -> Curves:
    """Draw the learning curves of compared runs into a file: bits per character, with a panel for each axis in `by`.

    A curve is the mean over the seeds of a row, at the evaluations that all its runs have in common. Sentences below
    the panels say what cannot be compared. The same runs give the same bytes.

    Args:
        comparison: the result of `compare`.
        path: the file to write, whose name ends in .svg, .png or .pdf.
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
    check_picture(picture_of(curves))
    replace_file(path, _rendered(draw_curves(curves), path.suffix.lower()))
    return curves


def save_picture(picture: Picture, path: str | Path, *, force: bool = False) -> None:
    """Draw a picture into a file; the same picture gives the same bytes.

    Args:
        picture: what to draw.
        path: the file to write, whose name ends in .svg, .png or .pdf.
        force: whether to replace a file that exists.
        Raises:
            ConfigError: for any other file name, a file that exists, or too many curves, or if Matplotlib is missing.
            RunError: if there is nothing to draw.
            StorageError: if the file cannot be written.
    """
    path = Path(path)
    check_output(path, force=force)
    check_picture(picture)
    replace_file(path, _rendered(draw_picture(picture), path.suffix.lower()))


def check_picture(picture: Picture) -> None:
    """Check that there is something to draw, and not more than can be told apart.

    Raises:
        RunError: if there is nothing.
        ConfigError: if there is too much.
    """
    if picture.is_empty:
        raise RunError("there is nothing to draw: " + "; ".join(picture.caveats))
    numbers = {line.number for panel in picture.panels for line in panel.lines}
    if len(numbers) > MAX_CURVES:
        raise ConfigError(f"a picture has room for {MAX_CURVES} curves, not {len(numbers)}: name fewer runs")


def check_output(path: Path, *, force: bool, what: str = "a picture") -> None:
    """Check everything about a picture that `charlm plot` writes, before any run is read; see `check_plot`.

    Args:
        path: the file to write.
        force: whether to replace a file that exists.
        what: the name of the option or argument, for error messages.
        Raises:
            ConfigError: also for a file that exists, and for what is not a file.
    """
    check_output_file(path, force=force, example="curves.svg")
    check_plot(path, what)


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
        raise ConfigError(f"{what} must be a file that ends in .svg, .png or .pdf, got {shown}")
    if not path.parent.is_dir():
        raise ConfigError(f"{what} {shown}: there is no folder {printable(str(path.parent), MAX_SHOWN)}")
    if find_spec("matplotlib") is None:
        raise ConfigError(f"{what} {MISSING}")


def draw_curves(curves: Curves) -> Figure:
    """Return a Matplotlib figure of compared runs' curves; see `draw_picture`."""
    return draw_picture(picture_of(curves))


def _rendered(figure: Figure, ending: str) -> bytes:
    """Return a figure as the contents of a file, without the time at which it was drawn."""
    output = io.BytesIO()
    with quiet_matplotlib():
        if ending == ".svg":
            from matplotlib.backends.backend_svg import FigureCanvasSVG

            FigureCanvasSVG(figure).print_svg(output, metadata={"Date": None})
        elif ending == ".pdf":
            from matplotlib.backends.backend_pdf import FigureCanvasPdf

            FigureCanvasPdf(figure).print_pdf(output, metadata={"CreationDate": None})
        else:
            from matplotlib.backends.backend_agg import FigureCanvasAgg

            figure.set_dpi(PIXELS_PER_INCH)
            FigureCanvasAgg(figure).print_png(output)
    return output.getvalue()
