"""`charlm train`."""

from __future__ import annotations

import shlex
import shutil
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.arguments import ConfigOption, JsonOption, RunsDirOption, SetOption
from charlm.errors import ConfigError, StoppedError

if TYPE_CHECKING:
    from charlm.settings.schema import Settings
    from charlm.training.reports import End

EXIT_CODES = {"interrupt": 130, "terminate": 143}


def train(
    config: ConfigOption = None,
    corpus: Annotated[
        list[str] | None,
        typer.Option(help="A text file, a folder of .txt files, or - for standard input; may be repeated."),
    ] = None,
    set_: SetOption = None,
    run: Annotated[str | None, typer.Option(help="The new run's name.", show_default="time and model")] = None,
    runs_dir: RunsDirOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but the closing summary.")] = False,
    json_: JsonOption = False,
) -> None:
    """Train a model; without any option, the quick start on a corpus that comes along.

    Examples:

        charlm train

        charlm train --corpus poems.txt --set train.minutes=5

        charlm train --config lyrics-gru --run my-lyrics
    """
    settings = _settings(config or [], corpus or [], set_ or [])
    # After the settings are checked: torch takes its time to load.
    from charlm.console.training import TrainingView
    from charlm.library import train_reports
    from charlm.training.reports import End

    request = StopRequest()
    reports = train_reports(settings, name=run, runs_dir=runs_dir, should_stop=request.word)
    view = TrainingView(quiet=quiet)
    report = None
    with view.showing():
        view.show(next(reports))
        with request.listening():
            for report in reports:
                view.show(report)
    assert isinstance(report, End)
    _close(report, runs_dir_given=runs_dir is not None, as_json=json_)


class StopRequest:
    """A signal to end the run at its next step; a second interrupt ends it at once."""

    def __init__(self) -> None:
        self.received: str | None = None

    def word(self) -> str | None:
        """Return interrupt or terminate once a signal has come, else None."""
        return self.received

    @contextmanager
    def listening(self) -> Generator[None]:
        """Take SIGINT, SIGTERM and SIGUSR1 as requests."""
        words = {signal.SIGINT: "interrupt", signal.SIGTERM: "terminate"}
        if hasattr(signal, "SIGUSR1"):
            words[signal.SIGUSR1] = "terminate"

        def receive(number: int, frame: FrameType | None) -> None:
            del frame
            if self.received is not None and number == signal.SIGINT:
                raise KeyboardInterrupt
            self.received = words[signal.Signals(number)]

        before = {number: signal.signal(number, receive) for number in words}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _settings(config: list[str], corpus: list[str], overrides: list[str]) -> Settings:
    from charlm.settings.layers import keyed_layer, load_settings

    if corpus.count("-") > 1:
        raise ConfigError("--corpus - can stand once: there is one standard input")
    layers = [keyed_layer(("corpus", "path"), corpus, "--corpus")] if corpus else []
    return load_settings(*config, overrides=overrides, layers=layers)


def _close(end: End, *, runs_dir_given: bool, as_json: bool) -> None:
    from charlm.console.terminal import print_json
    from charlm.console.training import show_summary

    if end.stopped_by in EXIT_CODES:
        raise StoppedError(
            f"stopped at step {end.record['steps']:,}; its checkpoint is saved in {end.run}",
            EXIT_CODES[end.stopped_by],
        )
    if as_json:
        print_json(end.record)
        return
    show_summary(end.record, _next_command(end, runs_dir_given=runs_dir_given), end.run)


def _next_command(end: End, *, runs_dir_given: bool) -> str:
    """Return a command that writes with the run's model."""
    prefix = end.samples.prefixes[0] if end.samples and end.samples.prefixes else "The "
    option = "--suffix" if end.record["direction"] == "backward" else "--prefix"
    run = str(end.run) if runs_dir_given else end.run.name
    return shlex.join([_program(), "generate", "--run", run, option, prefix])


def _program() -> str:
    """Return how this program is called here: by its path where a virtual environment is not active."""
    is_script = Path(sys.argv[0]).name == "charlm"
    return sys.argv[0] if is_script and shutil.which("charlm") is None else "charlm"
