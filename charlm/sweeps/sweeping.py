"""The sweep itself: give trials to workers until none is left, write down what becomes of each.

Whatever is decided follows from the plan and the ledger alone, so that a sweep may be killed at any moment and started
again: a trial that has ended is not run again, one that was cut goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from charlm.errors import ConfigError, StoppedError
from charlm.runs.creation import check_run_name
from charlm.runs.durable import storage_error
from charlm.runs.ownership import Ownership
from charlm.runs.run import runs_folder
from charlm.settings.loading import check_layer
from charlm.sweeps.cluster import cluster_workers
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
from charlm.sweeps.folder import own_folder
from charlm.sweeps.halving import entrants, value_at
from charlm.sweeps.ledger import Ledger
from charlm.sweeps.output import write_results
from charlm.sweeps.plan import Plan, Trial, by_point, make_trials, run_settings
from charlm.sweeps.results import Results, summarise, trial_rows
from charlm.sweeps.search import belongs, suggest
from charlm.sweeps.space import Point
from charlm.sweeps.sweep_file import read_plan
from charlm.sweeps.tasks import Task
from charlm.sweeps.workers import Workers, divide_cores, local_workers

POLL_SECONDS = 0.5


def sweep_reports(
    source: str | Path | Plan,
    *,
    runs_dir: Path | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    overrides: Sequence[str] = (),
    should_stop: Callable[[], str | None] = lambda: None,
) -> Iterator[SweepEvent]:
    """Run a sweep, or go on with it, yielding its reports; the last holds the results.

    Its trials are runs in a folder of the sweep's name. Workers are spawned: a script that calls this does so under
    `if __name__ == "__main__":`.

    Args:
        source: a sweep file, the name of a shipped one, or a plan.
        runs_dir: where the sweep's folder lies; None takes CHARLM_RUNS_DIR or ./runs.
        jobs: worker processes; None has one for each core.
        scheduler: the address of a Dask scheduler, whose workers share the runs folder; None runs them here.
        overrides: texts `section.key=value`, laid over the file's base.
        should_stop: asked twice a second; a word, interrupt or terminate, has every running trial save and ends the
            sweep, to be started again.
    Raises:
        CharlmError: for a bad file before anything has started; what fails in a trial is told in its outcome.
    """
    plan = source if isinstance(source, Plan) else read_plan(source, overrides=overrides)
    check_run_name(plan.name)
    settings = check_layer(plan.base)
    if scheduler is not None and jobs is not None:
        raise ConfigError(
            "jobs are processes of this machine, and a scheduler has workers of its own: give one of them"
        )
    jobs, threads = divide_cores(jobs, settings) if scheduler is None else (0, settings.train.threads or 1)
    if word := should_stop():
        raise StoppedError("stopped before anything was written", word)
    # Workers of a cluster have folders of their own to start from.
    folder = (runs_folder(runs_dir) / plan.name).absolute() if scheduler else runs_folder(runs_dir) / plan.name
    each = f"of {threads} thread{'s' * (threads != 1)}"
    if scheduler is None:
        crew = f"{jobs} worker{'s' * (jobs != 1)} {each}"
        yield from _run(
            plan, folder, lambda sweep: local_workers(sweep.num_useful(jobs)), crew, threads=threads, stop=should_stop
        )
        return
    # Connected to before anything is written.
    with cluster_workers(scheduler, settings) as workers:
        crew = f"workers of {scheduler} {each}"
        yield from _run(plan, folder, lambda _: workers, crew, threads=threads, stop=should_stop)


def sweep(
    source: str | Path | Plan,
    *,
    runs_dir: Path | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    overrides: Sequence[str] = (),
    observe: Callable[[SweepEvent], None] | None = None,
) -> Results:
    """Run a sweep to its end and return its results; see `sweep_reports`.

    Args:
        observe: called with each report.
    """
    results: Results | None = None
    for report in sweep_reports(source, runs_dir=runs_dir, jobs=jobs, scheduler=scheduler, overrides=overrides):
        if observe:
            observe(report)
        if isinstance(report, SweepEnd):
            results = report.results
    assert results is not None
    return results


def _run(
    plan: Plan,
    folder: Path,
    workers: Callable[[_Sweep], Workers],
    crew: str,
    *,
    threads: int,
    stop: Callable[[], str | None],
) -> Iterator[SweepEvent]:
    """Own the folder and run the sweep.

    Args:
        workers: returns those that it is run by.
        crew: what they are, in words.
        threads: of each trial.
        stop: asked twice a second.
    """
    ownership = own_folder(folder, plan)
    try:
        sweep = _Sweep(plan, folder, ownership, threads=threads)
        yield sweep.start(crew)
        yield from sweep.run(workers(sweep), stop)
    finally:
        ownership.release()


class _Sweep:
    """The trials of a plan, and what is known of them."""

    def __init__(self, plan: Plan, folder: Path, ownership: Ownership, *, threads: int) -> None:
        self.plan, self.folder, self.ownership, self.threads = plan, folder, ownership, threads
        self.ledger = Ledger(folder)
        self.trials: dict[str, Trial] = {}
        self.entered = [frozenset[int]()]
        self.are_all = False
        self._points = enumerate(self._search() if plan.method == "tpe" else plan.points())
        if plan.method == "grid" or (plan.method == "random" and plan.num_trials is not None):
            while self._draw():
                pass
        self.num_told = len(self.entered)

    @property
    def num_trials(self) -> int | None:
        """How many trials there are to be at most, None where there is no end to them."""
        if self.are_all:
            return len(self.trials)
        limit = self.plan.num_trials
        return None if limit is None else limit * len(self.plan.seeds)

    @property
    def num_open(self) -> int | None:
        """How many trials have not ended, None where there is no end to them."""
        return None if self.num_trials is None else self.num_trials - self.num_known

    @property
    def num_known(self) -> int:
        """How many trials have nothing left to do."""
        rows = trial_rows(self.plan, self.trials.values(), self.ledger, are_all=self.are_all)
        return sum(row.state in ("finished", "stopped", "failed") for row in rows)

    def num_useful(self, jobs: int) -> int:
        """Return how many of so many workers would have something to do."""
        return jobs if self.num_open is None else max(1, min(jobs, self.num_open))

    def results(self) -> Results:
        """Return what is known."""
        return summarise(self.plan, self.trials.values(), self.ledger, are_all=self.are_all)

    def start(self, where: str) -> SweepStart:
        """Return the first report."""
        return SweepStart(self.plan, self.folder, self.num_trials, self.num_known, where, self.progress())

    def progress(self) -> SweepProgress:
        """Return how far the open stage is."""
        rung = self.plan.stages[len(self.entered) - 1]
        entered = [trial.name for trial in self.trials.values() if trial.number in self.entered[-1]]
        num_trials = self.num_trials if len(self.entered) == 1 else len(entered)
        return SweepProgress(rung, num_trials, sum(self.ledger.get(name, rung) is not None for name in entered))

    def run(self, workers: Workers, should_stop: Callable[[], str | None]) -> Iterator[SweepEvent]:
        """Keep the workers busy until nothing is left to do, or somebody or the clock says so."""
        began = time.monotonic()
        minutes = self.plan.minutes
        with workers:
            try:
                while True:
                    stopped_by = should_stop()
                    if minutes is not None and time.monotonic() - began >= 60 * minutes:
                        stopped_by = stopped_by or "minutes"
                    if stopped_by:
                        break
                    yield from self._fill(workers)
                    if not workers.running:
                        break
                    yield from self._collect(workers)
                results = self.results()
                write_results(results, self.trials, self.folder)
            finally:
                # With their owner gone running trials save and end, and the workers can be waited for.
                self.ownership.release()
        yield SweepEnd(self.folder, stopped_by, results)

    def _fill(self, workers: Workers) -> Iterator[SweepEvent]:
        """Give the workers what they have room for."""
        while workers.has_room and (due := self._next({task.trial for task in workers.running})):
            trial, rung = due
            settings = run_settings(trial, rung, threads=self.threads)
            workers.submit(Task(self.folder, self.ownership.mark, trial.name, settings, rung))
            yield TrialStart(trial, rung)

    def _next(self, in_hand: set[str]) -> tuple[Trial, int | None] | None:
        """Return a trial that is to go on and is not in hand, and how far, or None."""
        while True:
            numbers = self.entered[-1]
            rung = self.plan.stages[len(self.entered) - 1]
            for trial in self.trials.values():
                is_open = trial.number in numbers and self.ledger.get(trial.name, rung) is None
                if is_open and trial.name not in in_hand:
                    return trial, rung
            if self.are_all:
                return None
            self._draw()

    def _draw(self) -> bool:
        """Add the trials of the next point; say whether there was one."""
        number, point = next(self._points, (0, None))
        if point is None:
            if not self.are_all:
                self.are_all = True
                self._decide()
            return False
        for trial in make_trials(self.plan, number, point):
            self.trials.setdefault(trial.name, trial)
        self._decide()
        return True

    def _decide(self) -> None:
        self.entered = entrants(self.plan, self.trials.values(), self.ledger, are_all=self.are_all)

    def _search(self) -> Iterator[Point]:
        """Yield the points of a TPE search: those proposed before, then one after the other as figures come in."""
        limit, num_yielded = self.plan.num_trials, 0
        for values in list(self.ledger.proposals):
            point = belongs(self.plan.space, values)
            if point is not None and (limit is None or num_yielded < limit):
                num_yielded += 1
                yield point
        while limit is None or num_yielded < limit:
            point = suggest(self.plan.space, self._known(), seed=self.plan.seeds[0])
            if point is None:
                return
            self.ledger.propose({setting.key: setting.value for setting in point})
            num_yielded += 1
            yield point

    def _known(self) -> list[tuple[Point, float | None, bool]]:
        """Return each point, its value at the first stage, and whether it has been there: what a search learns from."""
        stage = self.plan.stages[0]
        return [
            (
                trials[0].point,
                value_at(self.plan, trials, self.ledger, stage),
                all(self.ledger.get(trial.name, stage) is not None for trial in trials),
            )
            for trials in by_point(self.trials.values()).values()
        ]

    def _check_folder(self) -> None:
        """Make sure that the folder is there and this sweep's own: else its trials end as they begin, for ever."""
        try:
            self.folder.stat()
        except OSError as error:
            raise storage_error(self.folder, error, "read") from error
        self.ownership.check()

    def _collect(self, workers: Workers) -> Iterator[SweepEvent]:
        """Wait a moment for trials to end, and write down what became of them."""
        outcomes, loss = workers.collect(POLL_SECONDS)
        self._check_folder()
        ended: list[TrialEnd] = []
        for outcome in outcomes:
            self.ledger.add(outcome)
            ended.append(TrialEnd(self.trials[outcome.trial], outcome, self.progress()))
        if loss is not None:
            yield WorkerLost(loss.num_tasks)
        yield from ended
        self._decide()
        while self.num_told < len(self.entered):
            kept, entered = self.entered[self.num_told], self.entered[self.num_told - 1]
            rung = self.plan.rungs[self.num_told - 1]
            yield RungDecided(rung, len(kept), len(entered), self.progress())
            self.num_told += 1
        if not outcomes and loss is None:
            yield Waiting(tuple(self.trials[task.trial] for task in workers.running))
