"""A sweep as a person sees it: a live table on a terminal, one plain line for each trial elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rich.live import Live
from rich.table import Table
from rich.text import Text

from charlm.console.terminal import console_for, is_live
from charlm.errors import CharlmError, printable
from charlm.runs.folder import Run
from charlm.sweeps.plan import Trial
from charlm.sweeps.reports import (
    RungDecided,
    SweepEnd,
    SweepReport,
    SweepStart,
    TrialEnd,
    TrialStart,
    Waiting,
    WorkerLost,
)
from charlm.sweeps.results import BEST, Configuration, Results, figure_names, varied_keys

MAX_ENDED = 10
MAX_VALUE = 40


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
        self.folder, self.metric = Path(), ""
        self.num_trials: int | None = None
        self.num_ended = 0
        self.began: dict[str, float] = {}
        self.running: dict[str, tuple[Trial, str]] = {}
        self.ended: list[tuple[Trial, str, str, str]] = []

    @contextmanager
    def showing(self) -> Generator[SweepView]:
        """Show the live table while the sweep lasts; the cursor comes back whatever ends it."""
        if self.live is None:
            yield self
            return
        with self.live:
            yield self

    def show(self, report: SweepReport) -> None:
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
                kept = f"{report.num_kept:,} of {report.num_entered:,} go on"
                self._say(Text(f"rung {report.rung:,} decided: {kept}"))
            case WorkerLost():
                self._say(
                    Text(f"warning: a worker died; {report.num_tasks} trials go on from their checkpoints", "yellow")
                )
            case Waiting() | SweepEnd():
                pass
        if self.live is not None and not isinstance(report, TrialStart):
            self.live.update(self._table() if not isinstance(report, SweepEnd) else Text(""), refresh=True)

    def _begin(self, report: SweepStart) -> None:
        plan = report.plan
        self.folder, self.metric = report.folder, plan.metric
        self.num_trials, self.num_ended = report.num_trials, report.num_known
        count = "trials until the time is up" if report.num_trials is None else f"{report.num_trials:,} trials"
        seeds = f", each of {len(plan.seeds)} seeds" if len(plan.seeds) > 1 else ""
        varying = ", ".join(key for key in plan.space.keys if key in plan.space.varying) or "seeds"
        known = f", {report.num_known:,} of them have ended before" if report.num_known else ""
        self._say(Text(f"sweep {plan.name}: {plan.method} of {varying}{seeds}; {count}{known}"))
        if plan.rungs:
            rungs = ", ".join(f"{rung:,}" for rung in plan.rungs)
            self._say(Text(f"rungs at {rungs} steps, in place of the base's budget; {plan.keep:.0%} of each go on"))
        self._say(Text(f"{report.where}; {plan.direction} {plan.metric}; {printable(str(report.folder), 500)}"))

    def _end(self, report: TrialEnd) -> None:
        trial, outcome = report.trial, report.outcome
        self.running.pop(trial.name, None)
        rung = "" if outcome.rung is None else f"{outcome.rung:,}"
        value = outcome.figures.get(self.metric)
        shown = outcome.status if value is None else f"{value:.4f}"
        self.ended.append((trial, rung, shown, f"{outcome.seconds:.1f} s"))
        self.num_ended += outcome.status != "cut"
        if self.live is not None and outcome.status != "failed":
            return
        total = "" if self.num_trials is None else f"/{self.num_trials:,}"
        step = f" step {rung}" if rung else ""
        told = (
            f"failed: {outcome.reason}"
            if outcome.status == "failed"
            else shown
            if value is None
            else f"{self.metric} {shown}"
        )
        line = f"{self.num_ended:,}{total} {trial.name}{step}  {told}  {outcome.seconds:.1f} s"
        self._say(Text(line, style="red" if outcome.status == "failed" else ""))

    def _say(self, text: Text) -> None:
        self.console.print(text)

    def _table(self) -> Table:
        """Return the running trials, and the last that have ended."""
        keys = list(dict.fromkeys(key for trial, *_ in self._shown() for key in trial.varied))
        table = Table(box=None, padding=(0, 2, 0, 0), title=self._title(), title_justify="left")
        for name in ("trial", *(key.rpartition(".")[2] for key in keys), "rung", self.metric, "time"):
            table.add_column(name, overflow="ellipsis", no_wrap=True)
        for trial, rung, figure, seconds in self._shown():
            values = [value_text(trial.varied.get(key)) for key in keys]
            style = "bold" if trial.name in self.running else "red" if figure == "failed" else "dim"
            table.add_row(trial.name, *values, rung, figure, seconds, style=style)
        return table

    def _shown(self) -> Iterator[tuple[Trial, str, str, str]]:
        yield from self.ended[-MAX_ENDED:]
        for trial, rung in self.running.values():
            yield (
                trial,
                rung,
                _latest(Run(self.folder / trial.name), self.metric),
                f"{time.monotonic() - self.began[trial.name]:.0f} s",
            )

    def _title(self) -> str:
        return f"{self.num_ended:,}" + ("" if self.num_trials is None else f" of {self.num_trials:,}") + " trials"


def show_results(results: Results, folder: Path) -> None:
    """Print the closing table on standard output: a row for each configuration, the best first."""
    console = console_for(sys.stdout)
    figures = figure_names(results)
    keys = varied_keys(results.configurations)
    rows = [[*(key.rpartition(".")[2] for key in keys), "trials", "steps", *figures, "parameters"]]
    rows += [_cells(each, keys, figures) for each in results.configurations]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        console.print(line, style="bold" if number == 0 and is_live(sys.stdout) else None, markup=False)
    if any(value is not None for each in results.configurations for value in each.deviations.values()):
        console.print("(mean +- standard deviation over seeds, n - 1)", markup=False)
    if results.importance:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in results.importance.items())
        console.print(f"importance: {shares}", markup=False)
    for figure, numbers in results.fronts.items():
        if len(numbers) > 1:
            console.print(f"best bpc for its {figure.replace('_', ' ')}: {_named(results, numbers)}", markup=False)
    for warning in results.warnings:
        console.print(f"warning: {warning}", markup=False)
    if results.best is not None:
        console.print(f"best: {printable(str(folder / BEST), 500)}", markup=False)


def _named(results: Results, numbers: Sequence[int]) -> str:
    """Return configurations by their values."""
    by_number = {each.number: each for each in results.configurations}
    return "; ".join(" ".join(map(value_text, by_number[number].settings.values())) for number in numbers)


def value_text(value: Any) -> str:
    """Return a setting's value for a table."""
    text = f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
    return printable(text, MAX_VALUE) if text else "-"


def _cells(each: Configuration, keys: list[str], figures: list[str]) -> list[str]:
    cells = [value_text(each.settings.get(key)) for key in keys]
    cells.append(f"{each.num_finished}/{each.num_trials}" + (" failed" if each.state == "failed" else ""))
    cells.append("-" if each.num_steps is None else f"{each.num_steps:,}")
    for figure in figures:
        mean, deviation = each.means.get(figure), each.deviations.get(figure)
        digits = ",.0f" if figure == "chars_per_second" else ".3f"
        spread = "" if deviation is None else f" +- {deviation:{digits}}"
        cells.append("-" if mean is None else f"{mean:{digits}}{spread}")
    cells.append("-" if each.num_parameters is None else f"{each.num_parameters:,}")
    return cells


def _latest(run: Run, metric: str) -> str:
    """Return a running trial's last evaluation and its step; nothing before it has one."""
    with suppress(CharlmError, OSError):
        evaluations = [
            each for each in run.metrics() if each.get("kind") == "evaluation" and each.get(metric) is not None
        ]
        if evaluations:
            return f"{evaluations[-1][metric]:.4f} at {evaluations[-1].get('step', 0):,}"
    return ""
