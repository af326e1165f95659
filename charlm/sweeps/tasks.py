"""Run one task: train a trial to the end of its budget, wherever it runs and however often it was interrupted.

A task may be run twice, for example by an engine that has lost a worker. It resumes the run from its last checkpoint,
a run that is complete only reports its results, and the run's lock keeps two workers from the same run.
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
# A former worker that is still saving releases the run soon; if its machine is gone, the lease has to expire.
PATIENCE_SECONDS = 90.0
RETRY_SECONDS = 0.2
# Workers notice within this time that the sweep has ended.
WATCH_SECONDS = 0.5
MAX_REASON = 2_000
# The facts that are kept from a run's closing record in addition to its results.
FACTS = (
    *("stopped_by", "steps", "best_step", "seconds", "chars_seen", "chars_per_second", "num_parameters"),
    *("val_chars", "val_sha256", "test_sha256", "warning"),
)
FIGURES = ("_bpc", "_perplexity", "_nats_per_char", "_bits_per_byte")
# The results of a run, by the names in its closing summary.
RunFigures: TypeAlias = Mapping[str, Count | Number | Text | None]


@dataclass(frozen=True)
class Task:
    """A trial and how far to train it.

    Args:
        sweep: the sweep's folder, which contains the run.
        owner: the mark of the process that runs the sweep; when that is gone, the task saves and ends.
        trial: the run's name.
        settings: the run's settings, whose budget says how far to train.
        rung: the step that the budget corresponds to; None means the whole trial.
    """

    sweep: Path
    owner: str
    trial: str
    settings: Settings
    rung: int | None = None


@dataclass(frozen=True)
class Outcome(Record):
    """The outcome of a task.

    Args:
        trial: the run's name.
        rung: the step that it was to be trained to; None means the whole trial.
        status: reached; failed; or cut, if it was interrupted and can be resumed.
        reason: why it failed.
        exit_code: the exit code that `charlm train` would have had.
        figures: the results in the closing summary, by name.
        seconds: how long the task took here.
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
        """Whether a second attempt would end the same way, as with a result or a divergence, but not a full disk."""
        return self.status == "reached" or (self.status == "failed" and self.exit_code == DivergedError.exit_code)


def run_task(task: Task) -> Outcome:
    """Train a trial as far as the task says; everything that happens is reported in the outcome, nothing is raised."""
    began = time.monotonic()

    def outcome(status: Status, exit_code: int, reason: str | None = None) -> Outcome:
        return Outcome(task.trial, task.rung, status, reason, exit_code, {}, round(time.monotonic() - began, 3))

    try:
        record = _train(task, until=began + PATIENCE_SECONDS)
    except CharlmError as error:
        if error.exit_code in STOP_CODES.values():
            return outcome("cut", error.exit_code)
        return outcome("failed", error.exit_code, printable(str(error), MAX_REASON))
    except Exception as error:  # a bug, or memory that ran out: other trials continue
        if told := out_of_memory(error):
            return outcome("failed", told.exit_code, str(told))
        return outcome("failed", 1, printable(f"{type(error).__name__}: {error}", MAX_REASON))
    if record.stopped_by in STOP_CODES:
        return outcome("cut", STOP_CODES[record.stopped_by])
    return replace(outcome("reached", 0), figures=closing_figures(record))


def closing_figures(summary: Mapping[str, Any]) -> RunFigures:
    """Return what a sweep keeps from a run's closing summary."""
    return {key: value for key, value in summary.items() if key in FACTS or key.endswith(FIGURES)}


def number_of(figures: RunFigures, name: str) -> float | None:
    """Return a result by its name; None if the run does not have it, or if it is not a number."""
    value = figures.get(name)
    return None if isinstance(value, str) else value


def watch_owner(sweep: Path, owner: str) -> Callable[[], str | None]:
    """Return a function for runs to call: it returns `terminate` once the sweep's folder no longer has this owner."""
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
    """Run or resume the trial and return its result; wait for a former worker to release it."""
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
                raise StoppedError("stopped while another worker owned the run", word) from None
            if time.monotonic() > until:
                raise
            time.sleep(RETRY_SECONDS)
