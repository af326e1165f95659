"""Show the progress of a sweep: a live table on a terminal, one plain line for each trial elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from charlm.console.terminal import console_for, is_live
from charlm.errors import CharlmError, printable
from charlm.reports.rows import value_text
from charlm.runs.run import Run
from charlm.sweeps.events import (
    RungDecided,
    SweepEnd,
    SweepEvent,
    SweepProgress,
    SweepStart,
    TrialEnd,
    TrialStart,
    Waiting,
    WorkerLost,
)
from charlm.sweeps.plan import Trial
from charlm.sweeps.tasks import number_of

MAX_ENDED = 10
MAX_VALUE = 40
# Lines for the bar and the titles, and those kept free at the bottom of the terminal.
OTHER_LINES = 4
# Trials may take many minutes, and the time left is estimated from those that have ended.
SPEED_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Line:
    """A row of the live table."""

    trial: Trial
    rung: str
    figure: str
    time: str
    style: str


class SweepView:
    """Draw the reports of a sweep on standard error.

    Args:
        quiet: draw nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.is_live = is_live(sys.stderr) and not quiet
        self.console = console_for(sys.stderr)
        self.live = Live(console=self.console, auto_refresh=False, transient=True) if self.is_live else None
        self.bar = Bar(
            BarColumn(bar_width=16),
            TextColumn("{task.fields[told]}", markup=False),
            TimeRemainingColumn(compact=True),
            TextColumn("left", markup=False),
            speed_estimate_period=SPEED_SECONDS,
        )
        self.task = self.bar.add_task("", told="")
        self.folder, self.metric, self.sign = Path(), "", 1.0
        self.best: float | None = None
        self.began: dict[str, float] = {}
        self.running: dict[str, tuple[Trial, str]] = {}
        self.ended: list[Line] = []

    @contextmanager
    def showing(self) -> Generator[SweepView]:
        """Show the live table while the sweep runs; the cursor is restored however it ends."""
        if self.live is None:
            yield self
            return
        with self.live:
            yield self

    def show(self, report: SweepEvent) -> None:
        """Draw one report."""
        if self.quiet:
            return
        match report:
            case SweepStart():
                self._begin(report)
            case TrialStart():
                self.began[report.trial.name] = time.monotonic()
                self.running[report.trial.name] = (report.trial, "" if report.rung is None else f"{report.rung:,}")
            case TrialEnd():
                self._end(report)
            case RungDecided():
                self._say(
                    f"rung {report.rung:,} is decided: {report.num_kept:,} of {report.num_entered:,} trials continue"
                )
                # Results of the next rung come after more steps, so they are compared only with each other.
                self.best = None
                self._restart_bar(report.progress)
            case WorkerLost():
                resumed = "its trial resumes" if report.num_tasks == 1 else f"{report.num_tasks} trials resume"
                self._say(f"warning: a worker died; {resumed} from the last checkpoint", "yellow")
            case Waiting() | SweepEnd():
                pass
        if self.live is not None and not isinstance(report, TrialStart):
            is_over = isinstance(report, SweepEnd)
            self.live.update(Text("") if is_over else Group(self.bar, self._table()), refresh=True)

    def _begin(self, report: SweepStart) -> None:
        plan = report.plan
        self.folder, self.metric, self.sign = report.folder, plan.metric, plan.sign
        count = "trials until the time is up" if report.num_trials is None else f"{report.num_trials:,} trials"
        seeds = f", each with {len(plan.seeds)} random seeds" if len(plan.seeds) > 1 else ""
        varying = ", ".join(key for key in plan.space.keys if key in plan.space.varying) or "random seeds"
        known = f", of which {report.num_known:,} ended earlier" if report.num_known else ""
        self._say(f"sweep {plan.name}: {plan.method} over {varying}{seeds}; {count}{known}")
        if plan.rungs:
            rungs = ", ".join(f"{rung:,}" for rung in plan.rungs)
            self._say(
                f"rungs at {rungs} steps replace the budget of the base; {plan.keep:.0%} of the trials continue at each"
            )
        self._say(f"{report.where}; {plan.direction} {plan.metric}; {printable(str(report.folder), 500)}")
        self._restart_bar(report.progress)

    def _end(self, report: TrialEnd) -> None:
        trial, outcome = report.trial, report.outcome
        self.running.pop(trial.name, None)
        rung = "" if outcome.rung is None else f"{outcome.rung:,}"
        value = number_of(outcome.figures, self.metric)
        is_best = value is not None and (self.best is None or self.sign * value < self.sign * self.best)
        self.best = value if is_best else self.best
        shown = outcome.status if value is None else f"{value:.4f}"
        style = "red" if outcome.status == "failed" else "green" if is_best else "dim"
        self.ended.append(Line(trial, rung, shown, f"{outcome.seconds:.1f} s", style))
        self.bar.update(self.task, completed=report.progress.num_ended, told=_count_text(report.progress))
        if self.live is not None and outcome.status != "failed":
            return
        step = f" step {rung}" if rung else ""
        told = f"{self.metric} {shown}" if value is not None else shown
        reason = f": {outcome.reason}" if outcome.reason else ""
        line = f"{_count_text(report.progress)}  {trial.name}{step}  {told}{reason}  {outcome.seconds:.1f} s"
        self._say(line, "red" if outcome.status == "failed" else "")

    def _say(self, text: str, style: str = "") -> None:
        self.console.print(Text(text, style))

    def _restart_bar(self, progress: SweepProgress) -> None:
        """Restart the bar for a rung, at the number of trials that have already ended."""
        self.bar.reset(self.task, total=progress.num_trials, completed=progress.num_ended, told=_count_text(progress))

    def _table(self) -> Table:
        """Return a table of the running trials, below the last trials that ended, as many as fit."""
        lines = list(self._lines())
        keys = list(dict.fromkeys(key for line in lines for key in line.trial.varied))
        table = Table(box=None, padding=(0, 2, 0, 0))
        # Only the name is shortened on a narrow terminal, because the settings identify the trial as well.
        table.add_column("trial", overflow="ellipsis")
        rung = ["rung"] if any(line.rung for line in lines) else []
        for name in (*(key.rpartition(".")[2] for key in keys), *rung, self.metric, "time"):
            table.add_column(name, overflow="ellipsis", no_wrap=True)
        for line in lines:
            values = [value_text(line.trial.varied[key], MAX_VALUE) if key in line.trial.varied else "" for key in keys]
            told = [line.rung, line.figure, line.time] if rung else [line.figure, line.time]
            table.add_row(line.trial.name, *values, *told, style=line.style)
        return table

    def _lines(self) -> Iterator[Line]:
        room = max(1, self.console.height - OTHER_LINES)
        running = list(self.running.values())[:room]
        yield from self.ended[max(0, len(self.ended) - min(MAX_ENDED, room - len(running))) :]
        for trial, rung in running:
            seconds = time.monotonic() - self.began[trial.name]
            yield Line(trial, rung, _latest(Run(self.folder / trial.name), self.metric), f"{seconds:.0f} s", "bold")


def _count_text(progress: SweepProgress) -> str:
    total = "" if progress.num_trials is None else f"/{progress.num_trials:,}"
    return f"{progress.num_ended:,}{total}" + ("" if progress.rung is None else f" at step {progress.rung:,}")


def _latest(run: Run, metric: str) -> str:
    """Return a running trial's last evaluation and its step, or an empty text before the first one."""
    with suppress(CharlmError, OSError):
        # In an evaluation, `epoch` is the last whole epoch, and `train` is the former name of the recent windows.
        key = metric.replace("train_", "epoch_")
        measured = [each for each in run.history().evaluations if each.get(key) is not None]
        if measured:
            return f"{measured[-1][key]:.4f} at {measured[-1].step:,}"
    return ""
