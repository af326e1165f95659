"""`charlm export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from charlm.cli.arguments import CheckpointOption, JsonOption, RunsDirOption, read_checkpoint_choice
from charlm.cli.quoting import program, shell_line
from charlm.errors import printable

MAX_NAME = 1_000


def export(
    run: Annotated[str | None, typer.Argument(help="A run's name or path.", show_default="the newest")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The file to write.", show_default="RUN.charlm"),
    ] = None,
    license_: Annotated[
        str, typer.Option("--license", metavar="TEXT", help="A line about rights, which the file carries.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    checkpoint: CheckpointOption = "best",
    json_: JsonOption = False,
    runs_dir: RunsDirOption = None,
) -> None:
    """Write a run's model into one file, to keep it or to pass it on.

    Examples:

        charlm export my-lyrics

        charlm export my-lyrics -o lyrics.charlm --force --license "CC BY 4.0"

    The file has the weights of the best checkpoint, the configuration, the vocabulary and the results, and no folder
    names. It is taken wherever a run is read: generate, chat, score, info, eval FILE, train --from and Python.
    """
    choice = read_checkpoint_choice(checkpoint)
    from charlm.library.exporting import export_model
    from charlm.runs.model_file import read_model_file

    path = export_model(run, output, checkpoint=choice, license_line=license_, force=force, runs_dir=runs_dir)
    # What was written is read as its users will read it.
    model, size = read_model_file(path), path.stat().st_size
    if json_:
        from charlm.console.terminal import print_json

        print_json({"file": str(path), "run": model.run_name, "step": model.checkpoint.step, "bytes": size})
        return
    name = printable(str(path), MAX_NAME)
    typer.echo(f"{name}: {size:,} bytes, step {model.checkpoint.step:,} of the run {model.run_name}")
    typer.echo(f"use it with: {shell_line([*program(), 'generate', '--run', str(path)])}")
