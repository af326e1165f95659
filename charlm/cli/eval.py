"""`charlm eval`."""

from __future__ import annotations

from typing import Annotated, Literal

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
    checkpoint: CheckpointOption = "best",
    json_: JsonOption = False,
    device: DeviceOption = "auto",
    runs_dir: RunsDirOption = None,
) -> None:
    """Measure a run's perplexity over a whole text.

    Examples:

        charlm eval --split val

        charlm eval --corpus other.txt --json
    """
    if corpus and split:
        raise ConfigError("give either --corpus or --split")
    choice = read_checkpoint_choice(checkpoint)
    from charlm.console.evaluation import evaluation_progress, show_figure
    from charlm.console.terminal import print_json
    from charlm.library import evaluate as evaluate_model
    from charlm.library import open_run
    from charlm.training.reports import figure_record

    model = open_run(run, checkpoint=choice, runs_dir=runs_dir, device=device)
    part = split or "test"
    with evaluation_progress() as report:
        figure = evaluate_model(model, split=part, files=corpus or [], report=report)
    text = ", ".join(corpus) if corpus else f"the {part} part"
    if json_:
        rates = {key.removeprefix("text_"): value for key, value in figure_record("text", figure).items()}
        print_json({"run": model.run.name, "step": model.checkpoint.step, "text": text, "nats": figure.nats, **rates})
    else:
        show_figure(figure, f"run {model.run.name}, step {model.checkpoint.step:,}, {text}")
