"""`charlm compare`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.arguments import JsonOption, RunsDirOption
from charlm.errors import ConfigError, RunError, printable

if TYPE_CHECKING:
    from charlm.reports.comparison import Comparison

MAX_SHOWN = 200
PlotOption = Annotated[
    Path | None,
    typer.Option(
        "--plot", help="Also draw the learning curves, into a file that ends in .svg, .png or .pdf.", metavar="FILE"
    ),
]
ByOption = Annotated[
    list[str] | None,
    typer.Option(
        "--by",
        help="The horizontal axis of the curves: step, chars or time; may be repeated.",
        metavar="AXIS",
        show_default="all three",
    ),
]


def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="The runs' names or paths; naming one twice changes nothing.", metavar="RUN"),
    ] = None,
    json_: JsonOption = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values, unrounded.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    plot: PlotOption = None,
    by: ByOption = None,
    runs_dir: RunsDirOption = None,
) -> None:
    """Compare runs: show the settings that differ and the results of each, averaged over seeds.

    Runs that differ only in their random seed share a row: the mean and standard deviation (n - 1) of each result.

    Final validation results cover the whole split, with the best checkpoint; training results cover the last epoch.

    Examples:

        charlm compare my-lyrics newest

        charlm compare my-lyrics newest --markdown

        charlm compare my-lyrics newest --plot curves.svg
    """
    formats = {"--json": json_, "--csv": csv, "--markdown": markdown}
    if len(asked := [flag for flag, is_asked in formats.items() if is_asked]) > 1:
        raise ConfigError(f"{' and '.join(asked)} cannot be combined: give only one of them")
    if by and plot is None:
        raise ConfigError("--by chooses the horizontal axis of the curves, so it needs --plot FILE")
    if not runs:
        raise ConfigError(
            "name the runs to compare, as in charlm compare RUN RUN; in a shell, runs/* stands for all of them"
        )
    from charlm.reports.comparison import compare as compare_runs
    from charlm.reports.curves import AXES, check_axes
    from charlm.reports.plotting import check_plot, plot_curves

    axes = check_axes(by or AXES)
    if plot is not None:
        check_plot(plot, "--plot")
    comparison = compare_runs(*runs, runs_dir=runs_dir)
    _print(comparison, "".join(asked))
    if plot is not None:
        for caveat in plot_curves(comparison, plot, by=axes).caveats:
            typer.echo(f"charlm: {caveat}", err=True)
        typer.echo(f"charlm: the learning curves are in {printable(str(plot), MAX_SHOWN)}", err=True)
    if comparison.left_out:
        raise RunError("\n".join(comparison.left_out))


def _print(comparison: Comparison, flag: str) -> None:
    """Print the rows in the requested format, and on standard error whatever is not comparable."""
    from charlm.console.compared_runs import print_csv, print_markdown, show_comparison
    from charlm.console.terminal import is_live, print_json

    if flag == "--json":
        print_json(comparison.as_record())
    elif flag == "--csv":
        print_csv(comparison)
    elif flag == "--markdown":
        print_markdown(comparison)
    else:
        show_comparison(comparison)
    if flag == "--csv" or not (flag or is_live(sys.stdout)):
        # Programs read this output: it must hold the rows only.
        for warning in comparison.warnings:
            typer.echo(f"charlm: {warning}", err=True)
