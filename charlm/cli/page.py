"""`charlm page`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from charlm.cli.arguments import CheckpointOption, JsonOption, RunsDirOption, read_checkpoint_choice
from charlm.errors import printable

MAX_NAME = 1_000


def page(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN]...", help="Runs' names or paths, or exported files.", show_default="the newest"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The file to write.", show_default="RUN.html"),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Keep weights with 8 bits a number: a smaller page, slightly other texts.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    checkpoint: CheckpointOption = "best",
    json_: JsonOption = False,
    runs_dir: RunsDirOption = None,
) -> None:
    """Write a run's network into one HTML page that runs in any browser.

    Examples:

        charlm page my-lyrics

        charlm page my-lyrics newest -o page.html --force

    The page opens from disk, without a server, and makes no requests. It writes the same text as charlm generate does
    with the same seed, shows how much each character of a text surprises the network, and what its units do. Its
    weights are float32 below a million parameters, else float16. The text that was learned is not needed.
    """
    choice = read_checkpoint_choice(checkpoint)
    from charlm.library.paging import page as write_page

    written = write_page(*(runs or ()), file=output, int8=int8, force=force, checkpoint=choice, runs_dir=runs_dir)
    if json_:
        from charlm.console.terminal import print_json

        print_json({"file": str(written.path), "bytes": written.num_bytes, "runs": list(map(asdict, written.runs))})
        return
    for run in written.runs:
        weights = f"{run.num_parameters:,} weights as {run.weight_format}, {run.weight_bytes:,} bytes"
        typer.echo(f"{printable(run.run)}: step {run.step:,}, {weights}")
        if run.note:
            typer.echo(f"{printable(run.run)}: {run.note}")
    typer.echo(f"{printable(str(written.path), MAX_NAME)}: {written.num_bytes:,} bytes; open it in a browser")
