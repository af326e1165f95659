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
    typer.Option("--plot", help="Draw the learning curves too, into a file that ends in .svg or .png.", metavar="FILE"),
]
ByOption = Annotated[
    list[str] | None,
    typer.Option("--by", help="step, chars or time; may be repeated; without it, all three.", metavar="AXIS"),
]


def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Runs' names or paths; one that is named twice counts once.", metavar="RUN"),
    ] = None,
    json_: JsonOption = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print unrounded values between commas.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a table for a README.")] = False,
    plot: PlotOption = None,
    by: ByOption = None,
    runs_dir: RunsDirOption = None,
) -> None:
    """Compare runs: the settings that differ, and what each came to, over its seeds.

    Runs that differ only by their seed are one row: the mean and the standard deviation (n - 1) of each figure.

    The final validation figure is the best checkpoint's over the whole part; a run that goes on has its best so far.
    The training figures are the last epoch's: the results of runs without a validation part.

    Examples:

        charlm compare my-lyrics newest

        charlm compare my-lyrics newest --markdown

        charlm compare my-lyrics newest --plot curves.svg
    """
    formats = {"--json": json_, "--csv": csv, "--markdown": markdown}
    if len(asked := [flag for flag, is_asked in formats.items() if is_asked]) > 1:
        raise ConfigError(f"{' and '.join(asked)} exclude each other: give one of them")
    if by and plot is None:
        raise ConfigError("--by says what curves are drawn against: it needs --plot FILE")
    if not runs:
        raise ConfigError("name the runs to compare: charlm compare RUN RUN; in a shell, runs/* are all")
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
    """Print the rows in the form that a flag asks for, and on standard error what does not compare."""
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
        # What programs read holds nothing but the rows.
        for warning in comparison.warnings:
            typer.echo(f"charlm: {warning}", err=True)
