"""The sweep itself: give trials to workers until none is left, write down what becomes of each.

It may be killed at any moment and started again: a trial that has ended is not run again, one that was cut goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from charlm.errors import ConfigError, StoppedError, StorageError
from charlm.runs.creation import check_run_name
from charlm.runs.durable import storage_error
from charlm.runs.ownership import FolderGoneError, Ownership
from charlm.runs.run import runs_folder
from charlm.settings.loading import check_layer
from charlm.sweeps.agenda import Agenda
from charlm.sweeps.cluster import cluster_workers
from charlm.sweeps.events import SweepEnd, SweepEvent, SweepStart, TrialEnd, TrialStart, Waiting, WorkerLost
from charlm.sweeps.folder import check_texts, own_folder
from charlm.sweeps.ledger import Ledger
from charlm.sweeps.output import write_results
from charlm.sweeps.plan import Plan, run_settings
from charlm.sweeps.sweep_file import read_plan
from charlm.sweeps.tasks import Task
from charlm.sweeps.workers import Workers, divide_cores, local_workers

POLL_SECONDS = 0.5


def sweep_reports(
    source: str | Path | Plan,
    *,
    runs_dir: str | Path | None = None,
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
        should_stop: asked twice a second; a word, interrupt, terminate or hangup, has every running trial save and
            ends the sweep, to be started again.
    Raises:
        CharlmError: for a bad file before anything has started; what fails in a trial is told in its outcome.

    Example:
        >>> from charlm.sweeps.events import SweepEnd
        >>> for report in charlm.sweep_reports("tiny.yaml", jobs=1):
        ...     if isinstance(report, SweepEnd):
        ...         print([row.state for row in report.results.configurations])
        ['finished', 'finished']
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
            plan, folder, lambda agenda: local_workers(agenda.num_useful(jobs)), crew, threads=threads, stop=should_stop
        )
        return
    # Connected to before anything is written.
    with cluster_workers(scheduler, settings) as workers:
        crew = f"workers of {scheduler} {each}"
        yield from _run(plan, folder, lambda _: workers, crew, threads=threads, stop=should_stop)


def _run(
    plan: Plan,
    folder: Path,
    workers: Callable[[Agenda], Workers],
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
        agenda = Agenda(plan, Ledger(folder))
        check_texts(agenda.trials.values(), folder)
        yield SweepStart(plan, folder, agenda.num_trials, agenda.num_known, crew, agenda.progress())
        yield from _Sweep(agenda, folder, ownership, threads=threads).run(workers(agenda), stop)
    finally:
        ownership.release()


class _Sweep:
    """Workers at a plan's trials.

    Args:
        agenda: which trials there are, and which is next.
        folder: of the sweep.
        ownership: of it.
        threads: of each trial.
    """

    def __init__(self, agenda: Agenda, folder: Path, ownership: Ownership, *, threads: int) -> None:
        self.agenda, self.folder, self.ownership, self.threads = agenda, folder, ownership, threads

    def run(self, workers: Workers, should_stop: Callable[[], str | None]) -> Iterator[SweepEvent]:
        """Keep the workers busy until nothing is left to do, or somebody or the clock says so."""
        began = time.monotonic()
        minutes = self.agenda.plan.minutes
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
                results = self.agenda.results()
                write_results(results, self.agenda.trials, self.folder)
            finally:
                # With their owner gone running trials save and end, and the workers can be waited for.
                self.ownership.release()
        yield SweepEnd(self.folder, stopped_by, results)

    def _fill(self, workers: Workers) -> Iterator[SweepEvent]:
        """Give the workers what they have room for."""
        while workers.has_room and (due := self.agenda.next_trial({task.trial for task in workers.running})):
            trial, rung = due
            settings = run_settings(trial, rung, threads=self.threads)
            workers.submit(Task(self.folder, self.ownership.mark, trial.name, settings, rung))
            yield TrialStart(trial, rung)

    def _collect(self, workers: Workers) -> Iterator[SweepEvent]:
        """Wait a moment for trials to end, and write down what became of them."""
        outcomes, loss = workers.collect(POLL_SECONDS)
        self._check_folder()
        ended: list[TrialEnd] = []
        for outcome in outcomes:
            self.agenda.ledger.add(outcome)
            ended.append(TrialEnd(self.agenda.trials[outcome.trial], outcome, self.agenda.progress()))
        if loss is not None:
            yield WorkerLost(loss.num_tasks)
        yield from ended
        yield from self.agenda.decide()
        if not outcomes and loss is None:
            yield Waiting(tuple(self.agenda.trials[task.trial] for task in workers.running))

    def _check_folder(self) -> None:
        """Make sure that the folder is there and this sweep's own: else its trials end as they begin, for ever."""
        try:
            self.ownership.check()
            if self.ownership.folder == self.folder:
                self.folder.stat()
                return
        except FolderGoneError as error:
            raise StorageError(f"{error}: no such file or directory any more") from error
        except OSError as error:
            raise storage_error(self.folder, error, "read") from error
        raise StorageError(
            f"the folder {self.folder} was moved to {self.ownership.folder} while its sweep ran: what ran is saved "
            "there; move it back, and the same command goes on"
        )
