"""`charlm score`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.arguments import (
    CheckpointOption,
    DeviceOption,
    JsonOption,
    RunOption,
    RunsDirOption,
    read_checkpoint_choice,
)
from charlm.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from charlm.evaluation.characters import ScoredCharacter
    from charlm.evaluation.lines import ScoredLine
    from charlm.evaluation.subject import Subject

TextArgument = Annotated[str | None, typer.Argument(help="The text; - reads standard input.")]
FileOption = Annotated[
    list[str] | None,
    typer.Option(help="Read the text from a file, - for standard input; may be repeated.", metavar="FILE"),
]
PerLineOption = Annotated[bool, typer.Option("--per-line", help="Tell of each line, in order.")]
OddOption = Annotated[
    int | None,
    typer.Option(min=1, max=1_000_000, help="Tell of the N oddest lines: most bits per character first."),
]
AloneOption = Annotated[
    bool | None,
    typer.Option(
        "--alone/--in-context",
        help="Judge each line by itself, between two newlines, or as it stands in the text.",
        show_default="alone with --odd, in context with --per-line",
    ),
]


def score_command(
    text: TextArgument = None,
    file: FileOption = None,
    per_line: PerLineOption = False,
    odd: OddOption = None,
    alone: AloneOption = None,
    run: RunOption = None,
    checkpoint: CheckpointOption = "best",
    json_: JsonOption = False,
    device: DeviceOption = "auto",
    runs_dir: RunsDirOption = None,
) -> None:
    """Show how much each character of a text surprises a run's model, or each line.

    The character that reading begins with, the first or a backward model's last, has no figure: null in JSON.

    Examples:

        charlm score "The fox went home."

        charlm score --file poems.txt --json

        charlm score --file poems.txt --odd 3   (which lines do not belong?)
    """
    files = _files(text, file or [])
    has_lines = _has_lines(per_line, odd, alone)
    choice = read_checkpoint_choice(checkpoint)
    from charlm.console.evaluation import evaluation_progress
    from charlm.console.surprise import show_characters, show_lines
    from charlm.library import open_run, score, score_lines

    model = open_run(run, checkpoint=choice, runs_dir=runs_dir, device=device)
    text, subject, has_cloze = None if files else text, model.subject, model.direction == "bidirectional"
    if has_lines:
        with evaluation_progress() as report:
            lines = score_lines(model, text, files=files, odd=odd, alone=alone, report=report)
        show = _print_json if json_ else show_lines
        show(subject, lines, has_cloze=has_cloze)
    else:
        characters = score(model, text, files=files)
        show = _print_json if json_ else show_characters
        show(subject, characters, has_cloze=has_cloze)


def _files(text: str | None, files: list[str]) -> list[str]:
    """Return the files to read; none where the text is given."""
    if (text is None) == (not files):
        raise ConfigError("give either a text or --file FILE, - for standard input")
    # Of a text of one character there would be nothing to tell.
    return ["-"] if text == "-" else files


def _has_lines(per_line: bool, odd: int | None, alone: bool | None) -> bool:
    """Say whether lines are asked for; refuse options that do not go together."""
    if per_line and odd is not None:
        raise ConfigError("give either --per-line or --odd")
    has_lines = per_line or odd is not None
    if alone is not None and not has_lines:
        raise ConfigError("--alone and --in-context are about lines: give --per-line or --odd N")
    return has_lines


def _print_json(subject: Subject, scored: Iterable[ScoredCharacter | ScoredLine], *, has_cloze: bool) -> None:
    """Print an object for each: cloze figures of bidirectional models alone, a leaky model's warning with each."""
    from charlm.console.terminal import print_json

    for each in scored:
        print_json(each.as_record(has_cloze=has_cloze) | subject.warning_record())
