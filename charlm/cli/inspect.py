"""`charlm inspect`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from charlm.cli.arguments import MAX_DIGITS, JsonOption, RunsDirOption, shown
from charlm.errors import ConfigError, printable
from charlm.settings.nearest import did_you_mean, nearest_choice

if TYPE_CHECKING:
    from charlm.insight.findings import Findings

MAX_NAME = 1_000
MAX_CHARS = 20_000
SHOWN = ("gradients", "memory", "gates", "neurons")


def inspect(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names or paths of runs, of sweeps or of exported files.", metavar="RUN", show_default="the newest run"
        ),
    ] = None,
    show: Annotated[
        list[str] | None,
        typer.Option(
            "--show", help="What to measure: gradients, memory, gates, neurons.", metavar="WHAT", show_default="all"
        ),
    ] = None,
    checkpoint: Annotated[
        str,
        typer.Option(
            "--checkpoint",
            help="best, last, a step's number, or start for the network before its training; start,best shows both.",
        ),
    ] = "best",
    split: Annotated[
        Literal["train", "val", "test"] | None,
        typer.Option("--split", help="The split of the run's text that is read.", show_default="val"),
    ] = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option("--corpus", help="Read this text instead; may be repeated.", metavar="FILE"),
    ] = None,
    chars: Annotated[int, typer.Option("--chars", help="How many characters are read at most.", min=2)] = MAX_CHARS,
    neuron: Annotated[
        str | None,
        typer.Option(
            "--neuron",
            help="Print the text coloured by this unit, such as 1:37 for layer 1, unit 37; 1:37:c is an LSTM's cell, "
            "1:37:f its forget gate.",
            metavar="LAYER:UNIT",
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            help="Train RNN, GRU and LSTM on a memory task instead, and show who remembers how far: copy, adding, "
            "brackets.",
            metavar="TASK",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            help="About how long --task trains, on a free core of a present server; they decide the number of steps.",
            show_default="1",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            "--seed", help="Random seed that chooses the characters that are measured, or trains for --task.", min=0
        ),
    ] = 0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Draw into a file that ends in .svg, .png or .pdf.", metavar="FILE"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    json_: JsonOption = False,
    runs_dir: RunsDirOption = None,
) -> None:
    """Look inside networks: gradients by lag, how far back they look, gates, and what single units respond to.

    Examples:

        charlm inspect

        charlm inspect rnn gru lstm --show gradients -o gradients.svg

        charlm inspect my-run --show gradients --checkpoint start,best

        charlm inspect my-run --neuron 1:37

        charlm inspect --task copy

    Each network reads text that it was not trained on: its validation split, unless you choose another.
    """
    if task is not None or minutes is not None:
        from charlm.cli.inspect_task import inspect_task

        for_runs = {"a RUN": runs, "--show": show, "--split": split, "--corpus": corpus, "--neuron": neuron}
        changed = {"--checkpoint": checkpoint != "best", "--chars": chars != MAX_CHARS}
        inspect_task(task, minutes, seed=seed, output=output, force=force, as_json=json_, not_with=for_runs | changed)
        return
    wanted = [word for text in show or SHOWN for word in text.split(",")]
    for word in wanted:
        _check_shown(word)
    choices = [_choice(word) for word in checkpoint.split(",")]
    _check_output(output, force=force, neuron=neuron)
    if neuron is not None:
        raise ConfigError("later")
    from charlm.console.evaluation import stages_progress
    from charlm.library.inspecting import inspect as inspect_runs

    with stages_progress() as report:
        found = inspect_runs(
            *runs or (),
            show=wanted,
            checkpoint=choices,
            split=split,
            files=corpus or (),
            max_chars=chars,
            seed=seed,
            runs_dir=runs_dir,
            report=report,
        )
    _print(found, output, force=force, as_json=json_)


def _check_shown(word: str) -> None:
    if word not in SHOWN:
        near = did_you_mean(nearest_choice(word, SHOWN))
        raise ConfigError(f"--show must be among {', '.join(SHOWN)}, got {shown(word)}{near}")


def _choice(word: str) -> str | int:
    """Return best, last, start, or the number of a step."""
    words = ("best", "last", "start")
    if word in words:
        return word
    if word.isdecimal() and len(word) <= MAX_DIGITS:
        return int(word) or "start"
    near = did_you_mean(nearest_choice(word, words))
    raise ConfigError(f"--checkpoint must be best, last, start or a step's number, got {shown(word)}{near}")


def _check_output(output: Path | None, *, force: bool, neuron: str | None) -> None:
    """Refuse a picture that cannot be drawn before anything is measured."""
    if output is None:
        if force:
            raise ConfigError("--force replaces a file that exists, so it needs -o FILE")
        return
    if neuron is not None:
        raise ConfigError("--neuron prints a text: give it without -o FILE")
    from charlm.reports.plotting import check_output

    check_output(output, force=force)


def _print(found: Sequence[Findings], output: Path | None, *, force: bool, as_json: bool) -> None:
    """Print what was found as JSON or for people, and draw it into a file if one was named."""
    from charlm.console.inspection import show_findings
    from charlm.console.terminal import print_json
    from charlm.runs.json_records import to_json

    if output is not None:
        from charlm.reports.insight_pictures import insight_picture
        from charlm.reports.plotting import save_picture

        save_picture(insight_picture(found), output, force=force)
    if as_json:
        print_json({"runs": to_json(list(found))} | ({"file": str(output)} if output else {}))
        return
    show_findings(found)
    if output is not None:
        typer.echo(f"{printable(str(output), MAX_NAME)}: {output.stat().st_size:,} bytes")
