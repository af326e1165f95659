"""`charlm compare`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from charlm.cli.arguments import JsonOption, RunsDirOption
from charlm.errors import ConfigError, RunError


def compare(
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Runs' names or paths; one that is named twice counts once.", metavar="RUN"),
    ] = None,
    json_: JsonOption = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print unrounded values between commas.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a table for a README.")] = False,
    runs_dir: RunsDirOption = None,
) -> None:
    """Compare runs: the settings that differ, and what each came to, over its seeds.

    Runs that differ only by their seed are one row: the mean and the standard deviation (n - 1) of each figure.

    The final validation figure is the best checkpoint's over the whole part; a run that goes on has its best so far.

    Examples:

        charlm compare my-lyrics newest

        charlm compare my-lyrics newest --markdown
    """
    formats = {"--json": json_, "--csv": csv, "--markdown": markdown}
    if len(asked := [flag for flag, is_asked in formats.items() if is_asked]) > 1:
        raise ConfigError(f"{' and '.join(asked)} exclude each other: give one of them")
    if not runs:
        raise ConfigError("name the runs to compare: charlm compare RUN RUN; in a shell, runs/* are all")
    from charlm.console.comparison import print_csv, print_markdown, show_comparison
    from charlm.console.terminal import is_live, print_json
    from charlm.reports.comparison import compare as compare_runs

    comparison = compare_runs(*runs, runs_dir=runs_dir)
    if json_:
        print_json(comparison.as_record())
    elif csv:
        print_csv(comparison)
    elif markdown:
        print_markdown(comparison)
    else:
        show_comparison(comparison)
    if csv or not (json_ or markdown or is_live(sys.stdout)):
        # What programs read holds nothing but the rows.
        for warning in comparison.warnings:
            typer.echo(f"charlm: {warning}", err=True)
    if comparison.left_out:
        raise RunError("\n".join(comparison.left_out))
