"""`charlm inspect`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypedDict

import typer

from charlm.cli.arguments import MAX_DIGITS, JsonOption, RunsDirOption, UnknownOption, shown
from charlm.errors import ConfigError, printable
from charlm.settings.nearest import did_you_mean, nearest_choice

if TYPE_CHECKING:
    from charlm.insight.findings import Findings
    from charlm.settings.corpus import UnknownPolicy

MAX_NAME = 1_000
NEURON_CHARS = 1_000
SHOWN = ("gradients", "jacobians", "memory", "gates", "neurons")


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
            "--show",
            help="What to measure: gradients, jacobians, memory, gates, neurons.",
            metavar="WHAT",
            show_default="all",
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
    unknown: UnknownOption = None,
    chars: Annotated[
        int | None,
        typer.Option(
            "--chars",
            help="How many characters are read at most.",
            min=2,
            metavar="N",
            show_default="20,000; 1,000 with --neuron",
        ),
    ] = None,
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

        charlm inspect my-lyrics newest --show gradients -o gradients.svg

        charlm inspect my-lyrics --show gradients --checkpoint start,best

        charlm inspect my-lyrics --neuron 1:3

        charlm inspect --task copy

    Each network reads text that it was not trained on: its validation split, unless you choose another.
    """
    if task is not None or minutes is not None:
        from charlm.cli.inspect_task import inspect_task

        for_runs = {"a RUN": runs, "--show": show, "--checkpoint": checkpoint != "best", "--split": split}
        for_runs |= {"--corpus": corpus, "--unknown": unknown, "--chars": chars, "--neuron": neuron}
        inspect_task(task, minutes, seed=seed, output=output, force=force, as_json=json_, not_with=for_runs)
        return
    if corpus and split:
        raise ConfigError("give either --corpus or --split")
    wanted = [word for text in show or SHOWN for word in text.split(",")]
    for word in wanted:
        _check_shown(word)
    choices = [_choice(word) for word in checkpoint.split(",")]
    _check_output(output, force=force, neuron=neuron)
    texts = Texts(checkpoint=choices, split=split, files=corpus or (), unknown=unknown, runs_dir=runs_dir)
    if neuron is not None:
        if show:
            raise ConfigError("--neuron prints a text: give it without --show")
        _print_unit(runs or (), neuron, chars or NEURON_CHARS, texts, as_json=json_)
        return
    from charlm.console.evaluation import stages_progress
    from charlm.library.inspecting import MAX_CHARS
    from charlm.library.inspecting import inspect as inspect_runs

    with stages_progress() as report:
        found = inspect_runs(*runs or (), show=wanted, max_chars=chars or MAX_CHARS, seed=seed, report=report, **texts)
    _print(found, output, force=force, as_json=json_)


class Texts(TypedDict):
    """Which checkpoints read which text."""

    checkpoint: list[str | int]
    split: str | None
    files: Sequence[str]
    unknown: UnknownPolicy | None
    runs_dir: Path | None


def _print_unit(runs: Sequence[str], neuron: str, chars: int, texts: Texts, *, as_json: bool) -> None:
    """Print the text coloured by a unit, or its values."""
    from charlm.console.terminal import print_json
    from charlm.console.unit_text import show_unit
    from charlm.library.inspecting import unit_texts
    from charlm.runs.json_records import to_json

    for found in unit_texts(*runs, neuron=neuron, max_chars=chars, **texts):
        if as_json:
            print_json(to_json(found))
        else:
            show_unit(found)


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
