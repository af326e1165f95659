"""`charlm score`."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.arguments import (
    CheckpointOption,
    DeviceOption,
    JsonOption,
    RunOption,
    RunsDirOption,
    UnknownOption,
    is_there,
    read_checkpoint_choice,
    shown,
)
from charlm.cli.standard_input import has_input
from charlm.errors import CharlmWarning, ConfigError, printable

if TYPE_CHECKING:
    from charlm.library.models import Model
    from charlm.settings.corpus import UnknownPolicy

DEFAULT_TOP = 10
MAX_TOP = 1_114_113
MAX_SHOWN_NAME = 1_000
NO_TEXT = "give either a text or --file FILE; - is standard input"
FILE_NAME = re.compile(r"\S+\.(txt|text|log|md|csv|tsv|json|jsonl|py|xml|html)(\.(gz|bz2|xz|zst))?", re.IGNORECASE)
TextArgument = Annotated[
    list[str] | None,
    typer.Argument(
        help="The text to score; - or no text at all reads standard input.", metavar="TEXT", show_default=False
    ),
]
TextOption = Annotated[
    str | None, typer.Option("--text", help="Same as TEXT, even if a file of that name exists.", metavar="TEXT")
]
FileOption = Annotated[
    list[str] | None,
    typer.Option("--file", help="Read the text from a file; may be repeated.", metavar="FILE"),
]
PerLineOption = Annotated[bool, typer.Option("--per-line", help="Print one row per line of the text, in order.")]
OddOption = Annotated[
    int | None,
    typer.Option(
        "--odd",
        min=1,
        max=1_000_000,
        help="Print the N oddest lines: first those with unknown characters, then those with most bits per character.",
        metavar="N",
    ),
]
AloneOption = Annotated[
    bool | None,
    typer.Option(
        "--alone/--in-context",
        help="Judge each line on its own, or after the lines before it.",
        show_default="alone with --odd",
    ),
]
NextOption = Annotated[bool, typer.Option("--next", help="Print the characters that the model expects after the text.")]
TopOption = Annotated[
    int | None,
    typer.Option(
        "--top", min=1, max=MAX_TOP, help="Number of characters to print with --next.", metavar="N", show_default="10"
    ),
]


def score_command(
    texts: TextArgument = None,
    file: FileOption = None,
    per_line: PerLineOption = False,
    odd: OddOption = None,
    next_: NextOption = False,
    top: TopOption = None,
    run: RunOption = None,
    unknown: UnknownOption = None,
    json_: JsonOption = False,
    alone: AloneOption = None,
    text: TextOption = None,
    checkpoint: CheckpointOption = "best",
    device: DeviceOption = "auto",
    runs_dir: RunsDirOption = None,
) -> None:
    """Show how much each character, or each line, of a text surprises a run's model.

    Examples:

        charlm score "The fox went home."

        charlm score --file poems.txt --odd 3   (which lines do not belong?)

        charlm score --next "The fox w"   (which character comes next?)

    The character that reading begins with (the first; for a backward model, the last) has no result: it is null in
    JSON. An unknown character that was skipped has none either. With --next, a backward model predicts the character
    before the text.
    """
    _check(per_line=per_line, odd=odd, alone=alone, is_next=next_, top=top)
    choice = read_checkpoint_choice(checkpoint)
    given, files = _given(texts or [], text, file or [])
    from charlm.library.models import open_run

    model = open_run(run, checkpoint=choice, runs_dir=runs_dir, device=device)
    if next_:
        _show_next(model, given, files, top or DEFAULT_TOP, unknown, as_json=json_)
    elif per_line or odd is not None:
        _show_lines(model, given, files, odd, alone, unknown, as_json=json_)
    else:
        _show_characters(model, given, files, unknown, as_json=json_)


def _show_characters(
    model: Model, text: str | None, files: list[str], unknown: UnknownPolicy | None, *, as_json: bool
) -> None:
    from charlm.console.surprise import Shape, print_records, show_characters
    from charlm.library.scoring import read_scored_text, score

    read = read_scored_text(model, text, files=files, unknown=unknown)
    shape = Shape(has_cloze=model.direction == "bidirectional", num_unknown=len(read.unknown))
    show = print_records if as_json else show_characters
    show(model.subject, score(model, read), shape)


def _show_lines(
    model: Model,
    text: str | None,
    files: list[str],
    odd: int | None,
    alone: bool | None,
    unknown: UnknownPolicy | None,
    *,
    as_json: bool,
) -> None:
    from charlm.console.evaluation import evaluation_progress
    from charlm.console.surprise import Shape, print_records, show_lines
    from charlm.library.scoring import read_scored_lines, score_lines

    read = read_scored_lines(model, text, files=files, unknown=unknown, odd=odd)
    shape = Shape(
        has_cloze=model.direction == "bidirectional",
        num_unknown=len(read.unknown),
        files=tuple(start.name for start in read.files),
    )
    with evaluation_progress() as report:
        lines = score_lines(model, read, odd=odd, alone=alone, report=report)
    show = print_records if as_json else show_lines
    show(model.subject, lines, shape)


def _show_next(
    model: Model, text: str | None, files: list[str], top: int, unknown: UnknownPolicy | None, *, as_json: bool
) -> None:
    from charlm.console.next_character import show_next
    from charlm.console.terminal import print_json
    from charlm.library.scoring import next_characters

    expected = next_characters(model, text, files=files, top=top, unknown=unknown)
    if not as_json:
        show_next(model.subject, expected, direction=model.direction, vocab_size=len(model.checkpoint.vocabulary))
        return
    for each in expected:
        print_json(each.as_record())


def _check(*, per_line: bool, odd: int | None, alone: bool | None, is_next: bool, top: int | None) -> None:
    """Refuse options that cannot be combined."""
    if per_line and odd is not None:
        raise ConfigError("give either --per-line or --odd")
    if is_next and (per_line or odd is not None or alone is not None):
        raise ConfigError(
            "--next predicts one character and does not judge lines: leave --per-line, --odd and --alone out"
        )
    if top is not None and not is_next:
        raise ConfigError(
            "--top applies to --next, the characters that may come next; for the oddest lines, give --odd N"
        )
    if alone is not None and not (per_line or odd is not None):
        raise ConfigError("--alone and --in-context apply to lines: they need --per-line or --odd N")


def _given(texts: list[str], text: str | None, files: list[str]) -> tuple[str | None, list[str]]:
    """Return the text to score, or the files to read it from.

    Raises:
        ConfigError: for both or neither of them, for an argument that names a file, and for several arguments.
    """
    named = [each for each in texts if each != "-" and is_there(each)]
    if named:
        name = printable(named[0], MAX_SHOWN_NAME)
        options = " ".join(f"--file {printable(each, MAX_SHOWN_NAME)}" for each in [*files, *named][:3])
        more = " ..." if len(files) + len(named) > 3 else ""
        raise ConfigError(f"{name} is a file: {options}{more} scores its content, --text scores the name itself")
    if len(texts) > 1:
        raise ConfigError(
            f"the text must be one argument: put it in quotes, as in charlm score {shown(' '.join(texts))}"
        )
    if sum((bool(texts), text is not None, bool(files))) > 1:
        raise ConfigError(NO_TEXT)
    if files or text is not None:
        return text, files
    if not texts and not has_input("a text"):
        raise ConfigError(NO_TEXT)
    if texts in ([], ["-"]):
        return None, ["-"]
    if FILE_NAME.fullmatch(texts[0]):
        warnings.warn(
            f"{shown(texts[0])} is scored as a text, because there is no file of that name", CharlmWarning, stacklevel=2
        )
    return texts[0], []
