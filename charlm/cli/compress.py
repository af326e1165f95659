"""`charlm compress`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from charlm.cli.arguments import CheckpointOption, JsonOption, RunOption, RunsDirOption, read_checkpoint_choice
from charlm.cli.eval_dynamic import PANEL, DecayOption, RateOption, SegmentOption
from charlm.errors import ConfigError, printable

MAX_NAME = 1_000


def compress(
    file: Annotated[Path, typer.Argument(help="Any file: a text, code, or anything else.", metavar="FILE")],
    run: RunOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The file to write.", show_default="FILE.cz"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    checkpoint: CheckpointOption = "best",
    json_: JsonOption = False,
    runs_dir: RunsDirOption = None,
    dynamic: Annotated[
        bool,
        typer.Option("--dynamic", help="Let the model learn from the file that it codes.", rich_help_panel=PANEL),
    ] = False,
    learning_rate: RateOption = None,
    decay: DecayOption = None,
    segment_chars: SegmentOption = None,
) -> None:
    """Write a file in the bits that a model needs for it.

    Examples:

        charlm compress poems.txt

        charlm compress poems.txt --run my-lyrics -o poems.cz --force

    With the same model, charlm decompress gives back every byte. The size is that of the bits that charlm eval prints,
    and some 60 bytes for the name of the run, checksums and the like. What the model does not know, such as other
    characters or line ends, is kept beside the code. This needs a package: pip install 'charlm[coder]'.
    """
    given = {"--learning-rate": learning_rate, "--decay": decay, "--segment-chars": segment_chars}
    if not dynamic and (names := ", ".join(name for name, value in given.items() if value is not None)):
        raise ConfigError(f"{names} {'belong' if ',' in names else 'belongs'} to --dynamic")
    choice = read_checkpoint_choice(checkpoint)
    from charlm.console.evaluation import evaluation_progress
    from charlm.library.compressing import compress as compress_file
    from charlm.library.models import open_run

    model = open_run(run, checkpoint=choice, runs_dir=runs_dir)
    with evaluation_progress("coding") as report:
        written = compress_file(
            model,
            file,
            output,
            dynamic=dynamic,
            learning_rate=learning_rate,
            decay=decay,
            segment_chars=segment_chars,
            force=force,
            report=report,
        )
    if json_:
        from charlm.console.terminal import print_json

        print_json(written.as_record())
        return
    name, size = printable(str(written.path), MAX_NAME), f"{written.num_bytes:,} bytes of {written.length:,}"
    rate = f", {8 * written.num_bytes / written.length:.3f} bits per byte" if written.length else ""
    typer.echo(f"{name}: {size}{rate}, with {origin(written.run, written.step)}")
    if written.length and not written.is_coded:
        typer.echo("the model would have made this file longer: it was packed without it")


def origin(run: str, step: int) -> str:
    """Name the model of a coded file; an ensemble has no steps."""
    return f"step {step:,} of the run {printable(run)}" if step else f"the ensemble {printable(run)}"
