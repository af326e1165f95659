"""`charlm eval`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from charlm.cli.arguments import (
    CheckpointOption,
    DeviceOption,
    JsonOption,
    RunOption,
    RunsDirOption,
    read_checkpoint_choice,
)
from charlm.cli.eval_dynamic import DecayOption, DynamicEvaluation, DynamicOption, RateOption, SegmentOption
from charlm.cli.eval_gaps import GapFilling, GapsOption, PassesOption
from charlm.cli.eval_novelty import (
    LengthOption,
    NgramsOption,
    NoveltyOption,
    PrefixOption,
    SampleNovelty,
    SeedOption,
    TemperatureOption,
)
from charlm.cli.measures import Request, Where, choose_measure
from charlm.errors import ConfigError

if TYPE_CHECKING:
    from charlm.library.models import Model

CorpusOption = Annotated[
    list[str] | None,
    typer.Option(help="Text files instead of a part of the run's own corpus.", metavar="FILE"),
]
SplitOption = Annotated[
    Literal["train", "val", "test"] | None,
    typer.Option(help="A part of the run's own corpus.", show_default="test"),
]
BaselinesOption = Annotated[
    bool, typer.Option(help="Measure n-grams and compressors that know the training part beside the model.")
]


def eval_command(
    run: RunOption = None,
    corpus: CorpusOption = None,
    split: SplitOption = None,
    baselines: BaselinesOption = True,
    gaps: GapsOption = None,
    passes: PassesOption = None,
    dynamic: DynamicOption = False,
    learning_rate: RateOption = None,
    decay: DecayOption = None,
    segment_chars: SegmentOption = None,
    novelty: NoveltyOption = False,
    ngrams: NgramsOption = None,
    length: LengthOption = None,
    prefix: PrefixOption = None,
    temperature: TemperatureOption = None,
    seed: SeedOption = None,
    checkpoint: CheckpointOption = "best",
    json_: JsonOption = False,
    device: DeviceOption = "auto",
    runs_dir: RunsDirOption = None,
) -> None:
    """Measure a run's perplexity over a whole text.

    Examples:

        charlm eval --split val

        charlm eval --corpus other.txt --json

        charlm eval --dynamic --learning-rate 5e-4 --decay 1e-2

        charlm eval --novelty --length 5000 --temperature 0.8

        charlm eval --gaps 5/25   (bidirectional models)
    """
    if corpus and split:
        raise ConfigError("give either --corpus or --split")
    choice = read_checkpoint_choice(checkpoint)
    measure = choose_measure(
        GapFilling(gaps, passes),
        DynamicEvaluation(dynamic, learning_rate, decay, segment_chars),
        SampleNovelty(novelty, ngrams, length, prefix, temperature, seed),
    )
    request = Request(Where(split=split or "test", files=corpus or []), has_baselines=baselines, as_json=json_)
    from charlm.library import open_run

    model = open_run(run, checkpoint=choice, runs_dir=runs_dir, device=device)
    measure.show(model, request) if measure else _show_figures(model, request)


def _show_figures(model: Model, request: Request) -> None:
    """Print the figure, in all its units, with its interval and its baselines."""
    from charlm.console.evaluation import show_figures
    from charlm.console.terminal import print_json

    measured = request.assess(model)
    if request.as_json:
        nats = {"nats": measured.figures.main.nats}
        print_json(request.heading(model) | nats | measured.as_record() | model.subject.warning_record())
    else:
        show_figures(model.subject, request.text, measured)
