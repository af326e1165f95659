"""Run a sweep: give trials to workers until none is left, and record the outcome of each.

It can be killed at any moment and started again: a trial that has ended is not run again, and one that was interrupted
is resumed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from charlm.errors import ConfigError, StoppedError, StorageError
from charlm.runs.creation import check_run_name
from charlm.runs.durable import storage_error
from charlm.runs.ownership import FolderGoneError, Ownership
from charlm.runs.run import SWEEP_DEFINITION, runs_folder
from charlm.settings.loading import check_layer
from charlm.sweeps.agenda import Agenda
from charlm.sweeps.cluster import cluster_workers
from charlm.sweeps.decisions import with_decided_base
from charlm.sweeps.events import SweepEnd, SweepEvent, SweepStart, TrialEnd, TrialStart, Waiting, WorkerLost
from charlm.sweeps.folder import check_texts, own_folder
from charlm.sweeps.ledger import Ledger
from charlm.sweeps.output import write_results
from charlm.sweeps.plan import Plan, run_settings
from charlm.sweeps.starts import check_starts, with_full_start
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
    """Run or resume a sweep and yield its reports, the last of which contains the results.

    Its trials are runs in a folder named after the sweep. Worker processes are spawned, so a script must call this
    under `if __name__ == "__main__":`.

    Args:
        source: a sweep file, the name of a bundled one, or a plan.
        runs_dir: the folder that contains the sweep's folder; None means CHARLM_RUNS_DIR or ./runs.
        jobs: number of worker processes; None starts one for each core.
        scheduler: the address of a Dask scheduler, whose workers share the runs folder; None runs the trials here.
        overrides: texts `section.key=value` that override the file's base.
        should_stop: called twice a second; if it returns interrupt, terminate or hangup, every running trial is saved
            and the sweep ends, to be resumed later.
        Raises:
            CharlmError: for a bad file, before anything has started; the failure of a trial is reported in its outcome.

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
            "jobs are processes on this machine, and a scheduler has its own workers: give only one of the two"
        )
    jobs, threads = divide_cores(jobs, settings) if scheduler is None else (0, settings.train.threads or 1)
    if word := should_stop():
        raise StoppedError("stopped before anything was written", word)
    # Workers of a cluster may start in different folders, so the path must be absolute.
    folder = (runs_folder(runs_dir) / plan.name).absolute() if scheduler else runs_folder(runs_dir) / plan.name
    each = f"of {threads} thread{'s' * (threads != 1)}"
    if scheduler is None:
        crew = f"{jobs} worker{'s' * (jobs != 1)} {each}"
        yield from _run(
            plan, folder, lambda agenda: local_workers(agenda.num_useful(jobs)), crew, threads=threads, stop=should_stop
        )
        return
    # Connect before anything is written.
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
    """Take ownership of the folder and run the sweep.

    Args:
        workers: returns the workers that run it.
        crew: a description of the workers.
        threads: number of threads of each trial.
        stop: called twice a second.
    """
    if not (folder / SWEEP_DEFINITION).exists():
        check_starts(plan, folder.parent)
    ownership = own_folder(folder, plan)
    try:
        plan = with_decided_base(plan, folder, threads=threads)
        agenda = Agenda(plan, Ledger(folder))
        check_texts(agenda.trials.values(), folder)
        yield SweepStart(plan, folder, agenda.num_trials, agenda.num_known, crew, agenda.progress())
        yield from _Sweep(agenda, folder, ownership, threads=threads).run(workers(agenda), stop)
    finally:
        ownership.release()


class _Sweep:
    """Keep workers busy with a plan's trials.

    Args:
        agenda: decides which trials there are and which comes next.
        folder: the sweep's folder.
        ownership: the ownership of that folder.
        threads: number of threads of each trial.
    """

    def __init__(self, agenda: Agenda, folder: Path, ownership: Ownership, *, threads: int) -> None:
        self.agenda, self.folder, self.ownership, self.threads = agenda, folder, ownership, threads

    def run(self, workers: Workers, should_stop: Callable[[], str | None]) -> Iterator[SweepEvent]:
        """Keep the workers busy until nothing is left to do, time is up, or a stop is requested."""
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
                # When the owner is gone, running trials save and end, so that the workers can be waited for.
                self.ownership.release()
        yield SweepEnd(self.folder, stopped_by, results)

    def _fill(self, workers: Workers) -> Iterator[SweepEvent]:
        """Give the workers as many tasks as they have room for."""
        while workers.has_room and (due := self.agenda.next_trial({task.trial for task in workers.running})):
            trial, rung = due
            settings = with_full_start(run_settings(trial, rung, threads=self.threads), self.folder.parent)
            workers.submit(Task(self.folder, self.ownership.mark, trial.name, settings, rung))
            yield TrialStart(trial, rung)

    def _collect(self, workers: Workers) -> Iterator[SweepEvent]:
        """Wait a moment for trials to end, and record their outcomes."""
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
        """Check that the folder exists and is owned by this sweep; otherwise its trials would end at once, for ever."""
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
            f"the folder {self.folder} was moved to {self.ownership.folder} while its sweep ran; its trials are saved "
            "there: move it back, and the same command resumes the sweep"
        )
