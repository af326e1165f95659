"""Run tasks in worker processes on this machine, which import torch once and then run one task after another."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from charlm.errors import ConfigError
from charlm.runs.facts import num_cores
from charlm.runs.run import Run
from charlm.settings.schema import Settings
from charlm.sweeps.tasks import Outcome, Task, run_task

# A trial whose worker dies this often without a new checkpoint would otherwise cost worker after worker, for ever.
MAX_LOSSES = 5
# A terminal or a scheduler sends these signals to all processes of a job, and the sweep itself has its trials saved.
# SIGTERM is not among them, because the pool ends a process with it.
SHARED_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Loss:
    """A worker was lost together with this many tasks, each of which is submitted again or has failed."""

    num_tasks: int


class Workers:
    """Run tasks through an executor of `concurrent.futures`, whatever happens to its workers.

    Args:
        start: creates an executor; called again after one has broken.
        num_slots: the largest number of tasks at a time.
        lost: the exceptions of a task whose worker died while the executor itself keeps working.
        close: ends an executor, given its unfinished tasks, and waits until these have released their runs.
        check: called before each wait, and when no task is accepted; it raises if no task can ever end.
    """

    def __init__(
        self,
        start: Callable[[], Executor],
        num_slots: int,
        *,
        lost: tuple[type[Exception], ...] = (),
        close: Callable[[Executor, list[Future[Outcome]]], None] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.num_slots, self._lost, self._close, self._check = num_slots, lost, close or end_processes, check
        self._start = start
        self._executor: Executor | None = None
        self._futures: dict[Future[Outcome], Task] = {}
        self._losses: Counter[tuple[str, str]] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._executor is not None:
            self._close(self._executor, list(self._futures))

    @property
    def running(self) -> list[Task]:
        """The tasks that are running or waiting for a worker."""
        return list(self._futures.values())

    @property
    def has_room(self) -> bool:
        """Whether another task can be submitted."""
        return len(self._futures) < self.num_slots

    def submit(self, task: Task) -> None:
        """Submit a task.

        Raises:
            StorageError: where the scheduler of a cluster is gone.
        """
        with _without_signals():
            if self._executor is None:
                self._executor = self._start()
            try:
                self._futures[self._executor.submit(run_task, task)] = task
            except BrokenExecutor:
                # A worker died while it had no task, or while its tasks were still to be collected.
                self._futures[_broken()] = task
            except Exception:
                # If the scheduler is gone, this explains more than its client's error does.
                self._check()
                raise

    def collect(self, timeout: float) -> tuple[list[Outcome], Loss | None]:
        """Wait for tasks to end; return their outcomes, and whether a worker was lost in the meantime.

        Args:
            timeout: the longest wait in seconds, after which there may be no outcome.
        Raises:
            StorageError: where the scheduler of a cluster is gone.
        """
        self._check()
        done, _ = wait(self._futures, timeout=timeout, return_when=FIRST_COMPLETED)
        outcomes: list[Outcome] = []
        lost: list[Task] = []
        is_broken = False
        for future in done:
            task = self._futures.pop(future)
            try:
                outcomes.append(future.result())
            except self._lost:
                lost.append(task)
            except (BrokenExecutor, CancelledError):
                is_broken = True
                lost.append(task)
        if is_broken:
            # An executor that breaks loses all its tasks.
            lost += self._abandon(outcomes)
        for task in lost:
            outcomes += self._resubmit(task)
        return outcomes, Loss(len(lost)) if lost else None

    def _abandon(self, outcomes: list[Outcome]) -> list[Task]:
        """Leave a broken executor; keep the outcomes from before it broke, and return the tasks that did not end."""
        assert self._executor is not None
        # This waits until its processes have ended, and their locks with them.
        self._close(self._executor, [])
        self._executor = None
        lost: list[Task] = []
        for future, task in self._futures.items():
            if future.done() and not future.cancelled() and future.exception() is None:
                outcomes.append(future.result())
            else:
                lost.append(task)
        self._futures.clear()
        return lost

    def _resubmit(self, task: Task) -> list[Outcome]:
        """Submit a lost task again; a task that never makes progress fails."""
        checkpoints = Run(task.sweep / task.trial).checkpoint_paths()
        stands_at = (task.trial, checkpoints[-1].name if checkpoints else "")
        self._losses[stands_at] += 1
        if self._losses[stands_at] < MAX_LOSSES:
            self.submit(task)
            return []
        reason = f"its worker died {MAX_LOSSES} times without making progress, as happens when memory runs out"
        return [Outcome(task.trial, task.rung, "failed", reason, 1, {}, 0.0)]


def local_workers(jobs: int) -> Workers:
    """Return worker processes on this machine.

    Args:
        jobs: number of processes.
    """
    return Workers(lambda: WorkerProcesses(jobs), jobs, lost=(BrokenProcessPool,))


class WorkerProcesses(Executor):
    """Processes on this machine, each in its own pool, so that one that dies affects no other process or task.

    Args:
        jobs: number of processes, each of which starts when it is needed; also the largest number of calls at a time.
    """

    def __init__(self, jobs: int) -> None:
        self._pools = [_pool() for _ in range(jobs)]
        self._latest: list[Future[Any] | None] = [None] * jobs

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Give a call to an idle process."""
        slot = next(number for number, future in enumerate(self._latest) if future is None or future.done())
        try:
            future = self._pools[slot].submit(fn, *args, **kwargs)
        except BrokenProcessPool:
            # Its process died, during the last call or since.
            self._pools[slot].shutdown()
            self._pools[slot] = _pool()
            future = self._pools[slot].submit(fn, *args, **kwargs)
        self._latest[slot] = future
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End all processes at the same time; each ends when its call has ended."""
        with ThreadPoolExecutor(len(self._pools)) as closing:
            for pool in self._pools:
                closing.submit(pool.shutdown, wait, cancel_futures=cancel_futures)


def _pool() -> ProcessPoolExecutor:
    # Spawned, because a forked process would share locks and threads that torch has created.
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_warm_up)


def end_processes(executor: Executor, futures: list[Future[Outcome]]) -> None:  # noqa: ARG001 - none outlives its process
    """End an executor on this machine: drop waiting calls, and wait for running ones."""
    executor.shutdown(wait=True, cancel_futures=True)


def divide_cores(jobs: int | None, settings: Settings) -> tuple[int, int]:
    """Return the number of workers and the number of threads for each.

    Two workers with one thread do more than one worker with two, so the default is one worker for each core.

    Args:
        jobs: the requested number of workers; None leaves it open.
        settings: the settings of the trials, which may request threads.
        Raises:
            ConfigError: if there would be more threads than cores.
    """
    cores, threads = num_cores(), settings.train.threads
    if jobs is None:
        return (cores, 1) if threads is None else (max(1, cores // threads), threads)
    if threads is not None and jobs > 1 and jobs * threads > cores:
        raise ConfigError(
            f"--jobs {jobs} with train.threads {threads} is more than the {cores} available cores: lower one of them"
        )
    return jobs, threads or max(1, cores // jobs)


def _warm_up() -> None:
    """Turn a new process into a worker: it leaves signals to the sweep, ends with it, and has imported torch."""
    for number in SHARED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_die_with, args=(parent,), name="charlm parent", daemon=True).start()
    import_module("charlm.training.launch")


def _die_with(parent: BaseProcess) -> None:
    """End this process as soon as its parent is gone, because nobody is left to take its results or to end it.

    This releases the lock of its run, which can then be resumed from its last checkpoint.
    """
    parent.join()
    os._exit(1)


def _broken() -> Future[Outcome]:
    future: Future[Outcome] = Future()
    future.set_exception(BrokenExecutor())
    return future


@contextmanager
def _without_signals() -> Generator[None]:
    """Block signals while processes start, because a signal would kill them before they can ignore it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SHARED_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
