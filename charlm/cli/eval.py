"""`charlm eval`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

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

if TYPE_CHECKING:
    from charlm.library import Model

MAX_SAMPLE_LENGTH = 1_000_000
MAX_SEGMENT = 1_000_000
GAPS, DYNAMIC, NOVELTY = "Gap filling", "Dynamic evaluation", "Novelty"


class _Where(TypedDict):
    """Which text is measured."""

    split: str
    files: Sequence[str]


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
GapsOption = Annotated[
    str | None,
    typer.Option(
        help="Score the filling of gaps instead: 5/25 is 5 characters out of every 25.",
        metavar="G/N",
        rich_help_panel=GAPS,
    ),
]
PassesOption = Annotated[
    int | None,
    typer.Option(min=1, max=1_000_000, help="Gibbs passes for each gap.", show_default="20", rich_help_panel=GAPS),
]
DynamicOption = Annotated[
    bool,
    typer.Option(
        "--dynamic",
        help="Measure the model as it goes on learning from what it has predicted too, beside the figure without.",
        rich_help_panel=DYNAMIC,
    ),
]
RateOption = Annotated[
    float | None,
    typer.Option(help="Of each step.", show_default="tuned on validation", rich_help_panel=DYNAMIC),
]
DecayOption = Annotated[
    float | None,
    typer.Option(help="Back to the trained weights.", show_default="tuned on validation", rich_help_panel=DYNAMIC),
]
SegmentOption = Annotated[
    int | None,
    typer.Option(
        min=1, max=MAX_SEGMENT, help="Characters predicted between steps.", show_default="20", rich_help_panel=DYNAMIC
    ),
]
NoveltyOption = Annotated[
    bool,
    typer.Option(
        "--novelty",
        help="Write a sample, and say how much of it stands in the training part, beside the held-out text.",
        rich_help_panel=NOVELTY,
    ),
]
NgramsOption = Annotated[
    str | None,
    typer.Option(
        help="Lengths that are compared.", metavar="N,...", show_default="4,8,12,16,20,30,50", rich_help_panel=NOVELTY
    ),
]
LengthOption = Annotated[
    int | None,
    typer.Option(min=1, max=MAX_SAMPLE_LENGTH, help="Characters of it.", show_default="10000", rich_help_panel=NOVELTY),
]
PrefixOption = Annotated[
    str | None,
    typer.Option(
        help="The text to write on from.", show_default="the held-out text's first 100", rich_help_panel=NOVELTY
    ),
]
TemperatureOption = Annotated[
    float | None, typer.Option(help="Of the draws.", show_default="1.0", rich_help_panel=NOVELTY)
]
SeedOption = Annotated[
    int | None, typer.Option(min=0, max=2**63 - 1, help="Of the draws.", show_default="0", rich_help_panel=NOVELTY)
]


def evaluate(
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
    filling = {"passes": passes}
    learning = {"learning_rate": learning_rate, "decay": decay, "segment_chars": segment_chars}
    writing = {"ngrams": ngrams, "length": length, "prefix": prefix, "temperature": temperature, "seed": seed}
    asked = {"--gaps": gaps is not None, "--dynamic": dynamic, "--novelty": novelty}
    _check(asked, {"--gaps": filling, "--dynamic": learning, "--novelty": writing})
    gap_sizes = None if gaps is None else _gap_sizes(gaps)
    sizes = None if ngrams is None else _ngram_sizes(ngrams)
    from charlm.library import open_run

    model = open_run(run, checkpoint=choice, runs_dir=runs_dir, device=device)
    where = _Where(split=split or "test", files=corpus or [])
    if gap_sizes:
        _fill_gaps(model, where, gap_sizes, _given(filling), as_json=json_)
    elif dynamic:
        _measure_dynamically(model, where, _given(learning), baselines=baselines, as_json=json_)
    elif novelty:
        _measure_novelty(model, where, _given({**writing, "ngrams": sizes}), as_json=json_)
    else:
        _measure(model, where, baselines=baselines, as_json=json_)


def _measure(model: Model, where: _Where, *, baselines: bool, as_json: bool) -> None:
    """Print the figure."""
    from charlm.console.evaluation import evaluation_progress, show_figures
    from charlm.console.terminal import print_json
    from charlm.library import assess

    with evaluation_progress() as report:
        measured = assess(model, **where, baselines=baselines, report=report)
    record = _heading(model, where) | {"nats": measured.figures.main.nats} | measured.as_record() | _warning(model)
    print_json(record) if as_json else show_figures(record)


def _measure_dynamically(
    model: Model,
    where: _Where,
    options: Mapping[str, Any],
    *,
    baselines: bool,
    as_json: bool,
) -> None:
    """Print the figure and, under a name of its own, that of the model as it goes on learning."""
    from charlm.console.evaluation import evaluation_progress, show_dynamic
    from charlm.console.terminal import print_json
    from charlm.library import assess, evaluate_dynamically

    with evaluation_progress("learning") as report:
        learned = evaluate_dynamically(model, **where, **options, report=report)
    with evaluation_progress() as report:
        measured = assess(model, **where, baselines=baselines, report=report)
    static = measured.figures.main
    record = _heading(model, where) | {
        "static": {"nats": static.nats, **measured.as_record()},
        "dynamic": learned.as_record(),
        "saving": 1 - learned.figure.nats / static.nats,
    }
    print_json(record) if as_json else show_dynamic(record)


def _measure_novelty(model: Model, where: _Where, options: Mapping[str, Any], *, as_json: bool) -> None:
    """Print how much of a sample stands in the training part."""
    from charlm.console.evaluation import evaluation_progress, show_novelty
    from charlm.console.terminal import print_json
    from charlm.library import novelty

    with evaluation_progress("comparing") as report:
        found = novelty(model, **where, **options, report=report)
    drawn = {"temperature": 1.0, "seed": 0} | {key: options[key] for key in ("temperature", "seed") if key in options}
    record = _heading(model, where) | drawn | found.as_record() | _warning(model)
    print_json(record) if as_json else show_novelty(record)


def _fill_gaps(
    model: Model, where: _Where, sizes: tuple[int, int], options: Mapping[str, Any], *, as_json: bool
) -> None:
    """Print what gap filling costs."""
    from charlm.console.evaluation import evaluation_progress, show_gaps
    from charlm.console.terminal import print_json
    from charlm.library import score_gaps

    gap, every = sizes
    with evaluation_progress() as report:
        score = score_gaps(model, **where, gap=gap, every=every, **options, report=report)
    record = {**_heading(model, where), **asdict(score), "saving": score.saving}
    print_json(record) if as_json else show_gaps(record)


def _heading(model: Model, where: _Where) -> dict[str, Any]:
    text = ", ".join(where["files"]) or f"the {where['split']} part"
    return {"run": model.run.name, "step": model.checkpoint.step, "text": text}


def _warning(model: Model) -> dict[str, str]:
    return {"warning": model.warning} if model.warning else {}


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given; the library has the defaults of the others."""
    return {name: value for name, value in options.items() if value is not None}


def _check(asked: Mapping[str, bool], belongings: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse two measures at once, and options of one that was not asked for."""
    chosen = [flag for flag, is_asked in asked.items() if is_asked]
    if len(chosen) > 1:
        raise ConfigError(f"{' and '.join(chosen)} are different measures: ask for one at a time")
    for flag, options in belongings.items():
        if flag not in chosen and (given := _given(options)):
            names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            raise ConfigError(f"{names} {'belongs' if len(given) == 1 else 'belong'} to {flag}")


def _gap_sizes(text: str) -> tuple[int, int]:
    """Read `5/25`: the gap, and the characters from one gap to the next."""
    gap, slash, every = text.partition("/")
    are_numbers = all(part.isdecimal() and len(part) <= MAX_DIGITS for part in (gap, every))
    if not (slash and are_numbers and 1 <= int(gap) < int(every)):
        raise ConfigError(f"--gaps must look like 5/25, 5 characters out of every 25, got {shown(text)}")
    return int(gap), int(every)


def _ngram_sizes(text: str) -> list[int]:
    """Read `4,8,12`."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) <= MAX_DIGITS and int(part) >= 1 for part in parts):
        raise ConfigError(f"--ngrams must look like 4,8,12, numbers of characters, got {shown(text)}")
    return [int(part) for part in parts]
