"""`charlm plot`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.arguments import JsonOption, RunsDirOption
from charlm.errors import ConfigError, RunError, printable

if TYPE_CHECKING:
    from charlm.reports.pictures import Picture

MAX_NAME = 1_000


def plot(
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Names or paths of runs, or of a sweep.", metavar="RUN", show_default="the newest run"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Draw into a file that ends in .svg, .png or .pdf.",
            metavar="FILE",
            show_default="the terminal",
        ),
    ] = None,
    y: Annotated[
        list[str] | None,
        typer.Option(
            "--y",
            help="The unit: perplexity, bpc or nats; of several (perplexity,bpc), each has its panel.",
            metavar="UNIT",
            show_default="perplexity",
        ),
    ] = None,
    x: Annotated[
        list[str] | None,
        typer.Option(
            "--x",
            help="Draw learning curves by epoch, step, chars or time, also those of a sweep's runs.",
            metavar="AXIS",
            show_default="epoch; for a sweep, its settings",
        ),
    ] = None,
    part: Annotated[
        list[str] | None,
        typer.Option(
            "--part", help="Whose results: train (dashed) or val (whole).", metavar="PART", show_default="train,val"
        ),
    ] = None,
    panels: Annotated[bool, typer.Option("--panels", help="Give each line a panel of its own.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    json_: JsonOption = False,
    runs_dir: RunsDirOption = None,
) -> None:
    """Draw the learning curves of runs, or the results of a sweep by its settings.

    Examples:

        charlm plot

        charlm plot my-lyrics newest -o perplexity.svg

        charlm plot my-lyrics newest --y bpc --x time --part val

    Runs that differ only in their random seed share a line, with a band of one standard deviation.

    Training by epoch is the mean of each whole epoch; otherwise, it is the mean since the evaluation before.

    The level line is the best n-gram. `--json` prints the points that are drawn.
    """
    if force and output is None:
        raise ConfigError("--force replaces a file that exists, so it needs -o FILE")
    from charlm.library.plotting import plot as plot_runs

    picture = plot_runs(
        *runs or (),
        file=output,
        x=x,
        y=y or "perplexity",
        part=part,
        panels=panels,
        force=force,
        runs_dir=runs_dir,
    )
    _print(picture, output, as_json=json_)
    if picture.left_out:
        raise RunError("\n".join(picture.left_out))


def _print(picture: Picture, output: Path | None, *, as_json: bool) -> None:
    """Print the picture, its points, or the file that it is in, and on standard error what cannot be compared."""
    from charlm.console.plots import show_picture
    from charlm.console.terminal import is_live, print_json

    if as_json:
        print_json(picture.as_record() | ({"file": str(output)} if output else {}))
        return
    if output is None:
        show_picture(picture)
    else:
        typer.echo(f"{printable(str(output), MAX_NAME)}: {output.stat().st_size:,} bytes")
    if output is not None or not is_live(sys.stdout):
        for warning in (*picture.warnings, *picture.caveats):
            typer.echo(f"charlm: {warning}", err=True)
