"""One task: take a trial to the end of its budget, wherever it runs and however often it was cut.

A task may be run twice, or again by an engine that has lost its worker: it goes on where its run stands, a run that is
done only tells its figures, and the run's lock keeps two workers from the same run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from charlm.errors import STOP_CODES, CharlmError, DivergedError, RunInUseError, StoppedError, out_of_memory, printable
from charlm.runs.json_records import Count, Number, Record, Text
from charlm.settings.schema import Settings

if TYPE_CHECKING:
    from charlm.runs.records import Interruption, Summary

Status = Literal["reached", "failed", "cut"]
# A former worker that is still saving lets go soon; one whose machine is gone, when its lease is void.
PATIENCE_SECONDS = 90.0
RETRY_SECONDS = 0.2
# A sweep that has ended is noticed so soon by its workers.
WATCH_SECONDS = 0.5
MAX_REASON = 2_000
# What is kept of a run's closing record beside its figures.
FACTS = (
    *("stopped_by", "steps", "best_step", "seconds", "chars_seen", "chars_per_second", "num_parameters"),
    *("val_chars", "val_sha256", "test_sha256", "warning"),
)
FIGURES = ("_bpc", "_perplexity", "_nats_per_char", "_bits_per_byte")
# What a run came to, by the names of its closing summary.
RunFigures: TypeAlias = Mapping[str, Count | Number | Text | None]


@dataclass(frozen=True)
class Task:
    """A trial and how far to take it.

    Args:
        sweep: the sweep's folder, in which the run lies.
        owner: the mark of the process that runs the sweep: with it gone, the task saves and ends.
        trial: the run's name.
        settings: of the run, its budget how far to take it.
        rung: the step that the budget stands for, None for the whole trial.
    """

    sweep: Path
    owner: str
    trial: str
    settings: Settings
    rung: int | None = None


@dataclass(frozen=True)
class Outcome(Record):
    """What became of a task.

    Args:
        trial: the run's name.
        rung: the step it was to be taken to, None for the whole trial.
        status: reached; failed; or cut, to be gone on with.
        reason: why it failed.
        exit_code: what `charlm train` would have ended with.
        figures: of the closing summary, by its names.
        seconds: that the task took here.
    """

    trial: Text
    rung: Count | None
    status: Status
    reason: Text | None
    exit_code: Count
    figures: RunFigures
    seconds: Number

    @property
    def is_final(self) -> bool:
        """Whether trying again would tell the same: a figure, or a loss that diverged; a full disk might not."""
        return self.status == "reached" or (self.status == "failed" and self.exit_code == DivergedError.exit_code)


def run_task(task: Task) -> Outcome:
    """Take a trial as far as it shall go; whatever happens is told, nothing is raised."""
    began = time.monotonic()

    def outcome(status: Status, exit_code: int, reason: str | None = None) -> Outcome:
        return Outcome(task.trial, task.rung, status, reason, exit_code, {}, round(time.monotonic() - began, 3))

    try:
        record = _train(task, until=began + PATIENCE_SECONDS)
    except CharlmError as error:
        if error.exit_code in STOP_CODES.values():
            return outcome("cut", error.exit_code)
        return outcome("failed", error.exit_code, printable(str(error), MAX_REASON))
    except Exception as error:  # a bug, or memory that ran out: the other trials go on
        if told := out_of_memory(error):
            return outcome("failed", told.exit_code, str(told))
        return outcome("failed", 1, printable(f"{type(error).__name__}: {error}", MAX_REASON))
    if record.stopped_by in STOP_CODES:
        return outcome("cut", STOP_CODES[record.stopped_by])
    return replace(outcome("reached", 0), figures=closing_figures(record))


def closing_figures(summary: Mapping[str, Any]) -> RunFigures:
    """Return what a sweep keeps of a run's closing summary."""
    return {key: value for key, value in summary.items() if key in FACTS or key.endswith(FIGURES)}


def number_of(figures: RunFigures, name: str) -> float | None:
    """Return a figure by its name; None where the run does not have it, or it is no number."""
    value = figures.get(name)
    return None if isinstance(value, str) else value


def watch_owner(sweep: Path, owner: str) -> Callable[[], str | None]:
    """Return what a run asks whether to stop: `terminate` once the sweep's folder is no longer its owner's."""
    from charlm.runs.ownership import owner_of

    asked_at = 0.0
    answer: str | None = None

    def should_stop() -> str | None:
        nonlocal asked_at, answer
        now = time.monotonic()
        if answer is None and now - asked_at >= WATCH_SECONDS:
            asked_at = now
            found = owner_of(sweep)
            answer = None if found is not None and found.mark == owner else "terminate"
        return answer

    return should_stop


def _train(task: Task, *, until: float) -> Summary | Interruption:
    """Run or go on with the trial and return what it came to; wait for a former worker to let go of it."""
    from charlm.training.events import End
    from charlm.training.launch import train_reports

    should_stop = watch_owner(task.sweep, task.owner)
    while True:
        try:
            reports = train_reports(
                task.settings, name=task.trial, runs_dir=task.sweep, resume=True, should_stop=should_stop
            )
            for report in reports:
                if isinstance(report, End):
                    return report.record
            raise AssertionError
        except RunInUseError:
            if word := should_stop():
                raise StoppedError("stopped while the run was another worker's", word) from None
            if time.monotonic() > until:
                raise
            time.sleep(RETRY_SECONDS)
