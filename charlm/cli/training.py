"""Train one run for a command, show its progress, and say how it goes on where it was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from charlm.cli.asked import Asked
from charlm.cli.quoting import program, shell_line
from charlm.cli.signals import Signals
from charlm.errors import StoppedError, printable

if TYPE_CHECKING:
    from charlm.runs.records import Summary
    from charlm.training.events import End


def train_run(
    context: typer.Context,
    asked: Asked,
    name: str | None,
    runs_dir: Path | None,
    *,
    resume: bool,
    quiet: bool,
) -> End:
    """Train one run, and show its progress."""
    # Imported only after the settings are checked, because importing torch is slow.
    from charlm.console.training import TrainingView
    from charlm.training.events import End
    from charlm.training.launch import train_reports

    signals = context.obj if isinstance(context.obj, Signals) else Signals()
    reports = train_reports(
        asked.settings,
        name=name,
        runs_dir=runs_dir,
        resume=resume,
        overrides=asked.overrides,
        should_stop=signals.requested,
    )
    report = next(reports)
    if isinstance(report, End) and not quiet:
        typer.echo(
            f"charlm: the run {printable(str(report.run), 200)} is already finished, so nothing was trained", err=True
        )
    view = TrainingView(quiet=quiet)
    with view.showing():
        view.show(report)
        for report in reports:
            view.show(report)
    assert isinstance(report, End)
    return report


def check_ended(end: End, runs_dir: Path | None, then: str = "") -> Summary:
    """Return the results of a run; where a signal stopped it, raise an error that says how to resume.

    Args:
        then: what is to be done after that, as the end of the sentence.
    """
    from charlm.runs.records import Interruption

    record = end.record
    if isinstance(record, Interruption):
        folder = ["--runs-dir", str(end.run.parent)] if is_elsewhere(end, runs_dir) else []
        command = shell_line([*program(), "train", "--resume", "--run", end.run.name, *folder])
        raise StoppedError(
            f"stopped at step {record.steps:,} and saved in {end.run}; resume with: {command}{then}", record.stopped_by
        )
    return record


def is_elsewhere(end: End, runs_dir: Path | None) -> bool:
    """Say whether commands must name the folder of the runs; it may have been moved during training."""
    return runs_dir is not None or end.run.parent != Path("runs")
