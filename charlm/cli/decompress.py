"""`charlm decompress`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from charlm.cli.arguments import JsonOption, RunsDirOption
from charlm.cli.compress import origin
from charlm.errors import printable

MAX_NAME = 1_000


def decompress(
    file: Annotated[Path, typer.Argument(help="A file that charlm compress wrote.", metavar="FILE")],
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            help="The run it was compressed with, or its exported file.",
            show_default="the one that the file names",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The file to write.", show_default="FILE without .cz"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    json_: JsonOption = False,
    runs_dir: RunsDirOption = None,
) -> None:
    """Get back the file that charlm compress was given, byte for byte.

    Examples:

        charlm decompress poems.cz -o again.txt

        charlm decompress poems.cz --run my-lyrics -o again.txt --force

    Nothing is written unless the checksum is right. The file names its run and step, and another model is refused. So
    is a machine whose probabilities differ in the last bits, because it could not decode the file.
    """
    from charlm.console.evaluation import evaluation_progress
    from charlm.library.compressing import decompress as decompress_file

    with evaluation_progress("decoding") as report:
        found = decompress_file(file, output, model=run, runs_dir=runs_dir, force=force, report=report)
    if json_:
        from charlm.console.terminal import print_json

        print_json({"file": str(found.path), "bytes": found.num_bytes, "run": found.run, "step": found.step})
        return
    name = printable(str(found.path), MAX_NAME)
    told = f"{found.num_bytes:,} bytes, with {origin(found.run, found.step)}"
    typer.echo(f"{name}: {told}; the checksum is right")
