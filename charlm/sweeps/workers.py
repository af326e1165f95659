"""Where tasks run: worker processes of this machine, which import torch once and then take task after task."""

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

# A trial whose worker dies so often without a new checkpoint would cost one after the other for ever.
MAX_LOSSES = 5
# A terminal or a scheduler sends these to all processes of a job; the sweep has its trials saved. SIGTERM is what the
# pool itself ends a process with.
SHARED_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Loss:
    """A worker was lost, and with it so many tasks; each is submitted again, or has failed."""

    num_tasks: int


class Workers:
    """Run tasks through an executor of `concurrent.futures`, whatever happens to its workers.

    Args:
        start: makes an executor; asked again once one has broken.
        num_slots: how many tasks are in hand at a time.
        lost: what a task raises whose worker died, where the executor itself goes on.
        close: ends an executor, given what it still has in hand, and waits until that has let go of its runs.
        check: asked before each wait, and where no task is taken; raises where nothing will ever come of any.
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
        """The tasks in hand."""
        return list(self._futures.values())

    @property
    def has_room(self) -> bool:
        """Whether another task can be taken in hand."""
        return len(self._futures) < self.num_slots

    def submit(self, task: Task) -> None:
        """Take a task in hand.

        Raises:
            StorageError: where the scheduler of a cluster is gone.
        """
        with _without_signals():
            if self._executor is None:
                self._executor = self._start()
            try:
                self._futures[self._executor.submit(run_task, task)] = task
            except BrokenExecutor:
                # A worker died while there was nothing to lose, or what there was is still to be collected.
                self._futures[_broken()] = task
            except Exception:
                # Of a scheduler that is gone this tells more than whatever its client says.
                self._check()
                raise

    def collect(self, timeout: float) -> tuple[list[Outcome], Loss | None]:
        """Wait for tasks to end and return what became of them, and whether a worker was lost meanwhile.

        Args:
            timeout: in seconds, after which there may be none.
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
            # An executor that breaks takes with it all that it has in hand.
            lost += self._abandon(outcomes)
        for task in lost:
            outcomes += self._resubmit(task)
        return outcomes, Loss(len(lost)) if lost else None

    def _abandon(self, outcomes: list[Outcome]) -> list[Task]:
        """Leave a broken executor; keep what ended well before it broke, and return the tasks that did not end."""
        assert self._executor is not None
        # Waits until its processes are gone, and with them their locks.
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
        """Submit a lost task again; one that never gets further fails."""
        checkpoints = Run(task.sweep / task.trial).checkpoint_paths()
        stands_at = (task.trial, checkpoints[-1].name if checkpoints else "")
        self._losses[stands_at] += 1
        if self._losses[stands_at] < MAX_LOSSES:
            self.submit(task)
            return []
        reason = f"its worker died {MAX_LOSSES} times without getting further, as one does when memory runs out"
        return [Outcome(task.trial, task.rung, "failed", reason, 1, {}, 0.0)]


def local_workers(jobs: int) -> Workers:
    """Return worker processes of this machine.

    Args:
        jobs: how many.
    """
    return Workers(lambda: WorkerProcesses(jobs), jobs, lost=(BrokenProcessPool,))


class WorkerProcesses(Executor):
    """Processes of this machine, each a pool of its own: one that dies takes neither another nor its task with it.

    Args:
        jobs: how many; each starts when there is something for it. As many calls are in hand at most.
    """

    def __init__(self, jobs: int) -> None:
        self._pools = [_pool() for _ in range(jobs)]
        self._latest: list[Future[Any] | None] = [None] * jobs

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Give a call to a process that has nothing to do."""
        slot = next(number for number, future in enumerate(self._latest) if future is None or future.done())
        try:
            future = self._pools[slot].submit(fn, *args, **kwargs)
        except BrokenProcessPool:
            # Its process has died, of the last call or since.
            self._pools[slot].shutdown()
            self._pools[slot] = _pool()
            future = self._pools[slot].submit(fn, *args, **kwargs)
        self._latest[slot] = future
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes, all at once; each ends when its call has."""
        with ThreadPoolExecutor(len(self._pools)) as closing:
            for pool in self._pools:
                closing.submit(pool.shutdown, wait, cancel_futures=cancel_futures)


def _pool() -> ProcessPoolExecutor:
    # Spawned: a forked process would share locks and threads that torch has made.
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_warm_up)


def end_processes(executor: Executor, futures: list[Future[Outcome]]) -> None:  # noqa: ARG001 - none outlives its process
    """End an executor of this machine: what waits is dropped, what runs is waited for."""
    executor.shutdown(wait=True, cancel_futures=True)


def divide_cores(jobs: int | None, settings: Settings) -> tuple[int, int]:
    """Return how many workers run, and how many threads each has.

    Two workers of one thread do more than one of two, so that without being told there is one for each core.

    Args:
        jobs: how many are asked for.
        settings: of the trials, which may ask for threads.
    Raises:
        ConfigError: where they would have more threads than there are cores.
    """
    cores, threads = num_cores(), settings.train.threads
    if jobs is None:
        return (cores, 1) if threads is None else (max(1, cores // threads), threads)
    if threads is not None and jobs > 1 and jobs * threads > cores:
        raise ConfigError(
            f"--jobs {jobs} with train.threads {threads} is more than the {cores} cores there are: lower one of them"
        )
    return jobs, threads or max(1, cores // jobs)


def _warm_up() -> None:
    """Make a fresh process a worker: it leaves signals to the sweep, dies with it, and has torch in memory."""
    for number in SHARED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_die_with, args=(parent,), name="charlm parent", daemon=True).start()
    import_module("charlm.training.launch")


def _die_with(parent: BaseProcess) -> None:
    """End this process as soon as its parent is gone: nobody is left to take its results, or to end it.

    Its run lets go of its lock, and goes on from its last checkpoint.
    """
    parent.join()
    os._exit(1)


def _broken() -> Future[Outcome]:
    future: Future[Outcome] = Future()
    future.set_exception(BrokenExecutor())
    return future


@contextmanager
def _without_signals() -> Generator[None]:
    """Hold signals back while processes are started, which would die of them before they can ignore them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SHARED_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
