"""`charlm eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
from charlm.cli.eval_prove import ProveOption, Proving
from charlm.cli.measures import Request, Where, choose_measure
from charlm.errors import ConfigError, printable

if TYPE_CHECKING:
    from charlm.library.models import Model

FilesArgument = Annotated[
    list[str] | None,
    typer.Argument(help="Text files; - is standard input.", metavar="FILE", show_default="the run's test split"),
]
CorpusOption = Annotated[
    list[str] | None,
    typer.Option("--corpus", help="Same as FILE; may be repeated.", metavar="FILE"),
]
PARTS = ("train", "val", "test")
MEASURES = ("dynamic", "gaps", "novelty", "prove")
SplitOption = Annotated[
    Literal["train", "val", "test"] | None,
    typer.Option("--split", help="A split of the run's own corpus.", show_default="test"),
]
BaselinesOption = Annotated[bool, typer.Option(help="Also measure baselines: n-grams and compressors.")]


def eval_command(
    files: FilesArgument = None,
    run: RunOption = None,
    split: SplitOption = None,
    corpus: CorpusOption = None,
    unknown: UnknownOption = None,
    json_: JsonOption = False,
    baselines: BaselinesOption = True,
    checkpoint: CheckpointOption = "best",
    device: DeviceOption = "auto",
    runs_dir: RunsDirOption = None,
    prove: ProveOption = False,
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
    gaps: GapsOption = None,
    passes: PassesOption = None,
) -> None:
    """Measure a run's perplexity on a whole text: the test split of its own corpus, another split, or files.

    Examples:

        charlm eval other.txt --prove

        charlm eval --dynamic --learning-rate 5e-4 --decay 1e-2

        charlm eval --novelty --length 5000 --temperature 0.8

        charlm eval --gaps 5/25   (bidirectional models)
    """
    texts = [*(files or []), *(corpus or [])]
    _check_texts(texts, split, runs_dir, option="--corpus" if corpus else "FILE")
    choice = read_checkpoint_choice(checkpoint)
    measure = choose_measure(
        GapFilling(gaps, passes),
        DynamicEvaluation(dynamic, learning_rate, decay, segment_chars),
        SampleNovelty(novelty, ngrams, length, prefix, temperature, seed),
        Proving(prove),
    )
    where = Where(split=split or "test", files=texts, unknown=unknown)
    request = Request(where, has_baselines=baselines, as_json=json_)
    from charlm.library.models import open_run

    model = open_run(run, checkpoint=choice, runs_dir=runs_dir, device=device)
    measure.show(model, request) if measure else _show_figures(model, request)


def _check_texts(texts: list[str], split: str | None, runs_dir: Path | None, *, option: str) -> None:
    """Refuse files combined with a split, and words that are not files but were meant for another option."""
    if texts and split:
        raise ConfigError(f"give either {option} or --split")
    from charlm.runs.run import runs_folder

    for text in texts:
        if text in PARTS and not is_there(text):
            raise ConfigError(f"there is no file {text}: --split {text} measures that split of the run's own corpus")
        if text in MEASURES and not is_there(text):
            raise ConfigError(f"there is no file {text}; did you mean --{text}?")
        if text != "-" and not is_there(text) and is_there(str(runs_folder(runs_dir) / text)):
            name = printable(text)
            raise ConfigError(f"there is no file {name}: --run {name} measures the run of that name")


def _show_figures(model: Model, request: Request) -> None:
    """Print the result in all its units, with its interval and the baselines."""
    from charlm.console.evaluation import show_figures
    from charlm.console.terminal import print_json

    measured = request.assess(model)
    if request.as_json:
        nats = {"nats": measured.figures.main.nats}
        beside = request.adaptive_record(measured) | measured.unknown.as_record() | model.subject.warning_record()
        print_json(request.heading(model) | nats | measured.as_record() | beside)
    else:
        show_figures(model.subject, request.text, measured)
