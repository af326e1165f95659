"""`charlm train`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.arguments import ConfigOption, JsonOption, RunsDirOption, SetOption
from charlm.cli.asked import Asked, asked_for, resumed_settings
from charlm.cli.corpora import GlobOption
from charlm.cli.ensemble_training import EnsembleOption, train_ensemble
from charlm.cli.flags import (
    BatchOption,
    CellOption,
    DropoutOption,
    EpochsOption,
    Flags,
    HiddenOption,
    LayersOption,
    MinutesOption,
    RateOption,
    SeedOption,
    StepsOption,
    asked_seed,
)
from charlm.cli.item_options import ItemsOption, LinesOption, SeparatorOption, item_layers
from charlm.cli.quoting import program, prompt_words, shell_line
from charlm.cli.starts import FromOption, NewCharactersOption, start_layers
from charlm.cli.training import check_ended, is_elsewhere, train_run
from charlm.errors import ConfigError

if TYPE_CHECKING:
    from charlm.settings.schema import Settings
    from charlm.training.events import End


TextsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        help="Texts, folders of them, or a known corpus; compressed too.",
        metavar="TEXT",
    ),
]
CorpusOption = Annotated[
    list[str] | None,
    typer.Option("--corpus", help="Same as TEXT; - is standard input; may be repeated.", metavar="TEXT"),
]
ResumeOption = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Resume the run, or start it if it does not exist; without --run, resume the newest unfinished run.",
    ),
]
SeedsOption = Annotated[
    int | None,
    typer.Option(
        "--seeds",
        min=2,
        max=1000,
        metavar="N",
        help="Train with N random seeds in parallel; report mean and standard deviation.",
    ),
]
RunNameOption = Annotated[
    str | None, typer.Option("--run", help="The name of the run.", metavar="NAME", show_default="time and model")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be trained, in which time, memory and space; write nothing.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Print only the closing lines.")]


def train(
    context: typer.Context,
    texts: TextsArgument = None,
    epochs: EpochsOption = None,
    steps: StepsOption = None,
    minutes: MinutesOption = None,
    cell: CellOption = None,
    hidden_size: HiddenOption = None,
    num_layers: LayersOption = None,
    dropout: DropoutOption = None,
    learning_rate: RateOption = None,
    batch_size: BatchOption = None,
    seed: SeedOption = None,
    lines: LinesOption = False,
    separator: SeparatorOption = None,
    items: ItemsOption = None,
    config: ConfigOption = None,
    corpus: CorpusOption = None,
    glob: GlobOption = None,
    set_: SetOption = None,
    run: RunNameOption = None,
    from_: FromOption = None,
    new_characters: NewCharactersOption = None,
    resume: ResumeOption = False,
    seeds: SeedsOption = None,
    ensemble: EnsembleOption = False,
    runs_dir: RunsDirOption = None,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
    json_: JsonOption = False,
) -> None:
    """Train a model on your own text; without a text, run the quick start.

    Examples:

        charlm train poems.txt --minutes 5

        charlm train names.txt --lines

        charlm train --config lyrics-gru --run my-lyrics

        charlm train --resume --run my-lyrics --epochs 400
    """
    typed = set_ or []
    seed = asked_seed(seed, resume=resume, seeds=seeds, quiet=quiet)
    asked = asked_for(
        config=config or [],
        texts=texts or [],
        corpus=corpus or [],
        glob=glob or [],
        items=item_layers(typed, lines=lines, items=items, separator=separator),
        flags=Flags(epochs, steps, minutes, cell, hidden_size, num_layers, dropout, learning_rate, batch_size, seed),
        starts=start_layers(from_, new_characters, typed, resume=resume),
        overrides=typed,
        resumed=resumed_settings(run, runs_dir) if resume and seeds is None else None,
        resume=resume,
    )
    if dry_run:
        _forecast(asked, runs_dir, is_one=not resume and seeds is None, as_json=json_)
    elif ensemble:
        train_ensemble(context, asked, run, runs_dir, is_one=not resume and seeds is None, quiet=quiet, as_json=json_)
    elif seeds is not None:
        _train_seeds(context, asked.settings, seeds, run, runs_dir, resume=resume, quiet=quiet, as_json=json_)
    else:
        _close(train_run(context, asked, run, runs_dir, resume=resume, quiet=quiet), runs_dir, as_json=json_)


def _forecast(asked: Asked, runs_dir: Path | None, *, is_one: bool, as_json: bool) -> None:
    """Print what a run will be and take."""
    if not is_one or asked.settings is None:
        raise ConfigError("--dry-run describes one new run: leave --resume and --seeds out")
    from charlm.console.forecast import show_forecast
    from charlm.console.terminal import console_for, print_json
    from charlm.training.forecast import forecast

    found = forecast(asked.settings, runs_dir=runs_dir)
    if as_json:
        print_json(found.as_record())
    else:
        show_forecast(console_for(sys.stdout), found)


def _train_seeds(
    context: typer.Context,
    settings: Settings | None,
    num_seeds: int,
    name: str | None,
    runs_dir: Path | None,
    *,
    resume: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train one run for each of several random seeds, as a sweep."""
    if resume or settings is None:
        raise ConfigError("--seeds makes a sweep, which always resumes: leave --resume out")
    from charlm.cli.sweep import run_plan
    from charlm.sweeps.sweep_file import plan_seeds

    plan = plan_seeds(settings, num_seeds, name=name)
    run_plan(context, plan, jobs=None, scheduler=None, runs_dir=runs_dir, quiet=quiet, as_json=as_json)


def _close(end: End, runs_dir: Path | None, *, as_json: bool) -> None:
    """Print the results of a run."""
    from charlm.console.summary import Closing, show_closing
    from charlm.console.terminal import print_json
    from charlm.reports.diagnosis import diagnose_run
    from charlm.runs.run import CONFIG, Run

    record, runs_dir_given = check_ended(end, runs_dir), is_elsewhere(end, runs_dir)
    if as_json:
        print_json(record)
        return
    run = Run(end.run)
    samples = [sample for table in run.samples() for sample in table.samples[:1]]
    name = str(end.run) if runs_dir_given else end.run.name
    option = "--suffix" if record.direction == "backward" else "--prefix"
    prompt = [] if end.prefix is None else prompt_words(option, end.prefix)
    if run.settings().corpus.items is not None:
        prompt = ["--new", "-n", "20"]
    # Fitted to the time, the schedule is stretched too; a resumed run would go on at the rate that it ended with.
    minutes = run.settings().train.fit_minutes or record.seconds / 60
    longer = f"{2 * minutes:g}" if minutes >= 1 else f"{max(0.1, 2 * minutes):.1g}"
    closing = Closing(
        summary=record,
        path=end.run,
        sample=samples[-1] if samples else None,
        diagnosis=diagnose_run(run),
        next_command=shell_line([*program(), "generate", "--run", name, *prompt]),
        info_command=shell_line([*program(), "info", name]),
        longer_command=shell_line([*program(), "train", "--config", str(end.run / CONFIG), "--minutes", longer]),
        parent=run.environment().parent,
    )
    show_closing(closing)
