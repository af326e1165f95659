"""`charlm score`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

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
    from collections.abc import Iterable, Iterator

    from charlm.evaluation.characters import ScoredCharacter
    from charlm.evaluation.lines import ScoredLine
    from charlm.library import Model


def score(
    text: Annotated[str | None, typer.Argument(help="The text; - reads standard input.")] = None,
    file: Annotated[
        list[str] | None,
        typer.Option(help="Read the text from a file, - for standard input; may be repeated.", metavar="FILE"),
    ] = None,
    per_line: Annotated[bool, typer.Option("--per-line", help="Tell of each line, in order.")] = False,
    odd: Annotated[
        int | None,
        typer.Option(min=1, max=1_000_000, help="Tell of the N oddest lines: most bits per character first."),
    ] = None,
    alone: Annotated[
        bool | None,
        typer.Option(
            "--alone/--in-context",
            help="Judge each line by itself, between two newlines, or as it stands in the text.",
            show_default="alone with --odd, in context with --per-line",
        ),
    ] = None,
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
    from charlm.console.terminal import print_json
    from charlm.library import open_run, score_lines
    from charlm.library import score as score_characters

    model = open_run(run, checkpoint=choice, runs_dir=runs_dir, device=device)
    source: dict[str, Any] = {"files": files} if files else {"text": text}
    if has_lines:
        with evaluation_progress() as report:
            scored = score_lines(model, **source, odd=odd, alone=alone, report=report)
    else:
        scored = score_characters(model, **source)
    records = _records(scored, model)
    if json_:
        for record in records:
            print_json(record)
        return
    heading = {"run": model.run.name, "step": model.checkpoint.step, "warning": model.warning}
    show_lines(heading, records) if has_lines else show_characters(heading, records)


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


def _records(scored: Iterable[ScoredCharacter | ScoredLine], model: Model) -> Iterator[dict[str, Any]]:
    """Yield what is told of each: cloze figures of bidirectional models alone, a leaky model's warning with each."""
    has_cloze = model.direction == "bidirectional"
    warning = {"warning": model.warning} if model.warning else {}
    for each in scored:
        record = each.as_record()
        yield {key: value for key, value in record.items() if has_cloze or not key.startswith("cloze")} | warning
