"""`charlm eval`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from charlm.cli.arguments import (
    MAX_DIGITS,
    CheckpointOption,
    DeviceOption,
    JsonOption,
    RunOption,
    RunsDirOption,
    read_checkpoint_choice,
    shown,
)
from charlm.errors import ConfigError


def evaluate(
    run: RunOption = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option(help="Text files instead of a part of the run's own corpus.", metavar="FILE"),
    ] = None,
    split: Annotated[
        Literal["train", "val", "test"] | None,
        typer.Option(help="A part of the run's own corpus.", show_default="test"),
    ] = None,
    gaps: Annotated[
        str | None,
        typer.Option(help="Score the filling of gaps instead: 5/25 is 5 characters out of every 25.", metavar="G/N"),
    ] = None,
    passes: Annotated[int, typer.Option(min=1, max=1_000_000, help="Gibbs passes for each gap.")] = 20,
    baselines: Annotated[
        bool, typer.Option(help="Measure n-grams and compressors that know the training part beside the model.")
    ] = True,
    checkpoint: CheckpointOption = "best",
    json_: JsonOption = False,
    device: DeviceOption = "auto",
    runs_dir: RunsDirOption = None,
) -> None:
    """Measure a run's perplexity over a whole text.

    Examples:

        charlm eval --split val

        charlm eval --corpus other.txt --json

        charlm eval --gaps 5/25   (bidirectional models)
    """
    if corpus and split:
        raise ConfigError("give either --corpus or --split")
    choice = read_checkpoint_choice(checkpoint)
    gap_sizes = _gap_sizes(gaps) if gaps else None
    from charlm.console.evaluation import evaluation_progress, show_figures, show_gaps
    from charlm.console.terminal import print_json
    from charlm.library import assess, open_run, score_gaps

    model = open_run(run, checkpoint=choice, runs_dir=runs_dir, device=device)
    part = split or "test"
    text = ", ".join(corpus) if corpus else f"the {part} part"
    heading = {"run": model.run.name, "step": model.checkpoint.step, "text": text}
    if gap_sizes:
        gap, every = gap_sizes
        with evaluation_progress() as report:
            score = score_gaps(
                model, gap=gap, every=every, split=part, files=corpus or [], passes=passes, report=report
            )
        record = {**heading, **asdict(score), "saving": score.saving}
        print_json(record) if json_ else show_gaps(record)
        return
    with evaluation_progress() as report:
        measured = assess(model, split=part, files=corpus or [], baselines=baselines, report=report)
    record = {**heading, "nats": measured.figures.main.nats, **measured.as_record()}
    if model.warning:
        record["warning"] = model.warning
    print_json(record) if json_ else show_figures(record)


def _gap_sizes(text: str) -> tuple[int, int]:
    """Read `5/25`: the gap, and the characters from one gap to the next."""
    gap, slash, every = text.partition("/")
    are_numbers = all(part.isdecimal() and len(part) <= MAX_DIGITS for part in (gap, every))
    if not (slash and are_numbers and 1 <= int(gap) < int(every)):
        raise ConfigError(f"--gaps must look like 5/25, 5 characters out of every 25, got {shown(text)}")
    return int(gap), int(every)
