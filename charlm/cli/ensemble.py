"""`charlm ensemble`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from charlm.cli.arguments import JsonOption, RunsDirOption
from charlm.cli.quoting import program, shell_line
from charlm.errors import printable

MAX_NAME = 1_000


def ensemble_command(
    name: Annotated[str, typer.Argument(help="The name of the ensemble, which is new.", metavar="NAME")],
    runs: Annotated[
        list[str], typer.Argument(help="Runs that have learned the same text, or exported files.", metavar="RUN...")
    ],
    ngrams: Annotated[
        bool, typer.Option("--ngrams", help="Let n-grams of the training text take part, of all orders up to 12.")
    ] = False,
    json_: JsonOption = False,
    runs_dir: RunsDirOption = None,
) -> None:
    """Join runs, and n-grams of their text, into one model that predicts better than each of them.

    Examples:

        charlm ensemble joined my-lyrics newest --ngrams

        charlm ensemble with-counts my-lyrics --ngrams

    The runs may have different cells and sizes, but must have the same text, split and vocabulary. Their weights are
    fitted to the validation split. The ensemble is taken wherever a run is read: generate, chat, score, eval, compress,
    compare, info and Python. It names the runs and does not copy them: they must stay as they are.
    """
    make_ensemble(name, runs, ngrams=ngrams, as_json=json_, runs_dir=runs_dir)


def make_ensemble(name: str, runs: list[str], *, ngrams: bool, as_json: bool, runs_dir: Path | None) -> None:
    """Join runs into an ensemble, and print its members and results."""
    from charlm.console.ensembles import show_ensemble
    from charlm.console.evaluation import evaluation_progress
    from charlm.console.terminal import print_json
    from charlm.library.ensembling import ensemble

    with evaluation_progress() as report:
        made = ensemble(name, *runs, ngrams=ngrams, runs_dir=runs_dir, report=report)
    if as_json:
        print_json(made.as_record())
        return
    show_ensemble(made.ensemble, made.summary)
    path = printable(str(made.run.path), MAX_NAME)
    typer.echo(f"ensemble {path}")
    typer.echo(f"next: {shell_line([*program(), 'generate', '--run', str(made.run.path)])}")
