"""`charlm train`."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.arguments import ConfigOption, JsonOption, RunsDirOption, SetOption
from charlm.cli.signals import Signals
from charlm.errors import ConfigError, StoppedError, printable

if TYPE_CHECKING:
    from charlm.settings.schema import Settings
    from charlm.training.events import End


CorpusOption = Annotated[
    list[str] | None,
    typer.Option(help="A text file, a folder of .txt files, or - for standard input; may be repeated."),
]
ResumeOption = Annotated[
    bool,
    typer.Option(
        "--resume", help="Go on with the run, or start it if there is none; without --run the newest unfinished."
    ),
]
SeedsOption = Annotated[
    int | None,
    typer.Option(min=2, max=1000, help="Train from so many seeds side by side, a sweep; tell mean and deviation."),
]


def train(
    context: typer.Context,
    config: ConfigOption = None,
    corpus: CorpusOption = None,
    set_: SetOption = None,
    run: Annotated[str | None, typer.Option(help="The run's name.", show_default="time and model")] = None,
    resume: ResumeOption = False,
    seeds: SeedsOption = None,
    runs_dir: RunsDirOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but the closing summary.")] = False,
    json_: JsonOption = False,
) -> None:
    """Train a model; without any option, the quick start on a corpus that comes along.

    Examples:

        charlm train

        charlm train --corpus poems.txt --set train.minutes=5

        charlm train --config lyrics-gru --run my-lyrics

        charlm train --resume --run my-lyrics --set train.epochs=400

        charlm train --seeds 3
    """
    if seeds is not None:
        if resume:
            raise ConfigError("--seeds makes a sweep, which goes on by itself: leave --resume out")
        from charlm.cli.sweep import run_plan
        from charlm.sweeps.sweep_file import plan_seeds

        plan = plan_seeds(_settings(config or [], corpus or [], set_ or []), seeds, name=run)
        run_plan(context, plan, jobs=None, scheduler=None, runs_dir=runs_dir, quiet=quiet, as_json=json_)
        return
    # Resumed without a configuration, a run goes on with its own.
    is_its_own = resume and not config and not corpus
    settings = None if is_its_own else _settings(config or [], corpus or [], set_ or [])
    signals = context.obj if isinstance(context.obj, Signals) else Signals()
    overrides = (set_ or []) if is_its_own else ()
    end = _train(settings, run, runs_dir, resume=resume, overrides=overrides, signals=signals, quiet=quiet)
    # A run that was moved meanwhile lies elsewhere.
    _close(end, runs_dir_given=runs_dir is not None or end.run.parent != Path("runs"), as_json=json_)


def _train(
    settings: Settings | None,
    name: str | None,
    runs_dir: Path | None,
    *,
    resume: bool,
    overrides: Sequence[str],
    signals: Signals,
    quiet: bool,
) -> End:
    """Train one run, show it, and return its last report."""
    # After the settings are checked: torch takes its time to load.
    from charlm.console.training import TrainingView
    from charlm.library import train_reports
    from charlm.training.events import End

    reports = train_reports(
        settings, name=name, runs_dir=runs_dir, resume=resume, overrides=overrides, should_stop=signals.requested
    )
    report = next(reports)
    if isinstance(report, End) and not quiet:
        typer.echo(f"charlm: the run {printable(str(report.run), 200)} is done: nothing was left to do", err=True)
    view = TrainingView(quiet=quiet)
    with view.showing():
        view.show(report)
        for report in reports:
            view.show(report)
    assert isinstance(report, End)
    return report


def _settings(config: list[str], corpus: list[str], overrides: list[str]) -> Settings:
    from charlm.settings.layers import keyed_layer
    from charlm.settings.loading import load_settings

    if corpus.count("-") > 1:
        raise ConfigError("--corpus - can stand once: there is one standard input")
    layers = [keyed_layer(("corpus", "path"), [*corpus], "--corpus")] if corpus else []
    return load_settings(*config, overrides=overrides, layers=layers)


def _close(end: End, *, runs_dir_given: bool, as_json: bool) -> None:
    from charlm.console.summary import show_summary
    from charlm.console.terminal import print_json
    from charlm.runs.records import Interruption

    record = end.record
    if isinstance(record, Interruption):
        folder = ["--runs-dir", str(end.run.parent)] if runs_dir_given else []
        command = shlex.join([*_program(), "train", "--resume", "--run", end.run.name, *folder])
        raise StoppedError(
            f"stopped at step {record.steps:,} and saved in {end.run}; go on with: {command}", record.stopped_by
        )
    if as_json:
        print_json(record)
    else:
        show_summary(record, _next_command(end, record.direction, runs_dir_given=runs_dir_given), end.run)


def _next_command(end: End, direction: str | None, *, runs_dir_given: bool) -> str:
    """Return a command that writes with the run's model."""
    option = "--suffix" if direction == "backward" else "--prefix"
    run = str(end.run) if runs_dir_given else end.run.name
    return shlex.join([*_program(), "generate", "--run", run, option, end.prefix or "The "])


def _program() -> list[str]:
    """Return how this program is called here: as it was where a virtual environment is not active."""
    called = Path(sys.argv[0])
    if shutil.which("charlm") is not None or called.name not in ("charlm", "__main__.py"):
        return ["charlm"]
    return [sys.argv[0]] if called.name == "charlm" else [sys.executable, "-m", "charlm"]
