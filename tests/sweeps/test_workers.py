"""Where a sweep's tasks run: waiting for a former worker, watching the sweep, losses, and a cluster's own settings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import charlm
from charlm.errors import ConfigError, StoppedError, StorageError
from charlm.runs.ownership import Owner, Ownership, owner_of, take_ownership
from charlm.runs.run import Run
from charlm.settings.loading import load_settings
from charlm.sweeps import cluster, sweeping, tasks, workers
from charlm.sweeps.events import SweepEnd, SweepStart, TrialStart
from charlm.sweeps.sweep_file import read_plan
from charlm.sweeps.tasks import Outcome, Task, closing_figures, run_task, watch_owner
from charlm.sweeps.workers import MAX_LOSSES, Loss, Workers, divide_cores, local_workers


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[Ownership]:
    """Yield the ownership of a sweep's folder."""
    (tmp_path / "grid").mkdir()
    ownership = take_ownership(tmp_path / "grid")
    yield ownership
    ownership.release()


@pytest.fixture
def task(owned: Ownership, tiny_settings: Callable[..., Any]) -> Task:
    """Return a task of a sweep that is running."""
    return Task(owned.folder, owned.mark, "trial", tiny_settings("train.max_steps=6", "eval.baselines=false"))


@pytest.fixture
def in_use(task: Task, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ownership]:
    """Yield the ownership of the task's run by a worker that has begun it; nobody waits for long."""
    charlm.train(task.settings.model_copy(), name="trial", runs_dir=task.sweep)
    ownership = take_ownership(task.sweep / "trial")
    monkeypatch.setattr(tasks, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(tasks, "WATCH_SECONDS", 0.0)
    yield ownership
    ownership.release()


# A task.


def test_a_task_reports_the_results_of_its_run(task: Task) -> None:
    outcome = run_task(task)
    summary = Run(task.sweep / "trial").summary()
    assert summary is not None
    assert (outcome.trial, outcome.rung, outcome.status, outcome.reason) == ("trial", None, "reached", None)
    assert outcome.figures == closing_figures(summary)
    # A second time, it only reports them.
    assert run_task(task).figures == outcome.figures
    assert not (task.sweep / "trial" / "resumes.jsonl").exists()


def test_what_is_kept_of_a_closing_record() -> None:
    record = {
        "kind": "end",
        "stopped_by": "max_steps",
        "steps": 8,
        "num_parameters": 3,
        "warning": None,
        "run": "trial",
    }
    figures = {"val_bpc": 1.5, "test_perplexity": 2.0, "train_nats_per_char": 1.0, "val_bits_per_byte": 1.5}
    kept = closing_figures({**record, **figures, "val_sha256": "00", "epochs": 2, "learning_rates": [1.0]})
    facts = {"stopped_by": "max_steps", "steps": 8, "num_parameters": 3, "warning": None, "val_sha256": "00"}
    assert kept == {**facts, **figures}


def test_a_task_waits_until_a_former_worker_lets_go(
    task: Task, in_use: Ownership, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_tries = 0

    def sleep(_: float) -> None:
        nonlocal num_tries
        num_tries += 1
        if num_tries == 3:
            in_use.release()

    monkeypatch.setattr(tasks, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: 0.0))
    assert run_task(task).status == "reached"
    assert num_tries == 3


def test_a_task_whose_run_is_never_released_fails(
    task: Task, in_use: Ownership, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def sleep(_: float) -> None:
        nonlocal now
        now += 60.0

    monkeypatch.setattr(tasks, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: now))
    outcome = run_task(task)
    assert (outcome.status, outcome.exit_code, outcome.is_final) == ("failed", 7, False)
    assert "is in use by process" in (outcome.reason or "")
    assert (in_use.folder, now) == (task.sweep / "trial", 120.0)


def test_a_task_that_waits_ends_with_its_sweep(
    task: Task, in_use: Ownership, owned: Ownership, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(_: float) -> None:
        owned.release()

    monkeypatch.setattr(tasks, "time", SimpleNamespace(sleep=sleep, monotonic=iter(range(80)).__next__))
    outcome = run_task(task)
    assert (outcome.status, outcome.exit_code) == ("cut", 143)
    assert owner_of(in_use.folder) is not None


def test_a_task_whose_sweep_ends_saves_and_can_be_resumed(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([None] * 5)
    monkeypatch.setattr(tasks, "watch_owner", lambda *_: lambda: next(answers, "terminate"))
    outcome = run_task(task)
    assert (outcome.status, outcome.exit_code, outcome.reason, outcome.figures) == ("cut", 143, None, {})
    run = Run(task.sweep / "trial")
    assert run.summary() is None
    assert run.checkpoint_paths()[-1].name != "step-00000000"
    monkeypatch.undo()
    assert run_task(task).status == "reached"


def test_insufficient_memory_fails_a_task_with_one_sentence(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError("Unable to allocate 3 bytes")

    monkeypatch.setattr(tasks, "_train", fail)
    outcome = run_task(task)
    assert (outcome.status, outcome.exit_code) == ("failed", 2)
    assert str(outcome.reason).startswith("there is not enough memory: 3 bytes more are needed")


def test_a_bug_in_a_task_is_its_failure(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a\nb")

    monkeypatch.setattr(tasks, "_train", fail)
    outcome = run_task(task)
    assert (outcome.status, outcome.exit_code, outcome.is_final) == ("failed", 1, False)
    assert outcome.reason is not None
    assert outcome.reason.startswith("ZeroDivisionError: a")
    assert "\n" not in outcome.reason


@pytest.mark.parametrize(
    ("status", "exit_code", "is_final"),
    [("reached", 0, True), ("failed", 5, True), ("failed", 6, False), ("cut", 143, False), ("cut", 5, False)],
)
def test_only_results_and_divergence_are_final(status: Any, exit_code: int, is_final: bool) -> None:
    assert Outcome("trial", None, status, None, exit_code, {}, 1.0).is_final == is_final


def test_a_worker_looks_for_its_sweep_twice_a_second_and_stays_away_once_it_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owners = iter([Owner(mark=mark) for mark in ("mine", "mine", "another's", "mine")])
    monkeypatch.setattr("charlm.runs.ownership.owner_of", lambda _: next(owners))
    moments = iter([100.0, 100.4, 100.5, 100.9, 101.0, 101.4, 101.6, 200.0])
    monkeypatch.setattr(tasks, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    should_stop = watch_owner(Path(), "mine")
    assert [should_stop() for _ in range(8)] == [None] * 4 + ["terminate"] * 4
    assert len(list(owners)) == 1


def test_a_sweep_without_an_owner_is_gone(tmp_path: Path) -> None:
    assert watch_owner(tmp_path, "mine")() == "terminate"


# Workers and their losses.


class _Scripted(Executor):
    """An executor whose futures do what a script says, one after the other; each submit pops an entry."""

    def __init__(self, script: list[Any]) -> None:
        self.script, self.is_shut_down = script, False
        self.given: list[Any] = []

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ARG002
        self.given += args
        told = self.script.pop(0)
        if told == "refused":
            raise BrokenProcessPool
        future: Future[Any] = Future()
        if isinstance(told, Exception):
            future.set_exception(told)
        elif told is not None:
            future.set_result(told)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.is_shut_down = wait and cancel_futures


def outcome_of(trial: str) -> Outcome:
    """Return a good outcome."""
    return Outcome(trial, None, "reached", None, 0, {}, 1.0)


def scripted(tmp_path: Path, *scripts: list[Any], **options: Any) -> tuple[Workers, list[_Scripted]]:
    """Return workers with two submitted tasks, a and b; each executor that is started has the next script."""
    started: list[_Scripted] = []

    def start() -> Executor:
        started.append(_Scripted(scripts[len(started)]))
        return started[-1]

    crew = Workers(start, 2, **options)
    for name in ("a", "b"):
        assert crew.has_room
        crew.submit(Task(tmp_path, "mark", name, load_settings()))
    assert not crew.has_room
    return crew, started


def test_an_executor_that_breaks_is_ended_and_all_its_tasks_are_submitted_again(tmp_path: Path) -> None:
    crew, started = scripted(tmp_path, [BrokenProcessPool(), None], [outcome_of("a"), outcome_of("b")])
    assert crew.collect(0.0) == ([], Loss(2))
    assert started[0].is_shut_down
    assert len(started) == 2
    outcomes, loss = crew.collect(0.0)
    assert ({each.trial for each in outcomes}, loss) == ({"a", "b"}, None)
    assert crew.running == []


def test_outcomes_from_before_an_executor_broke_are_kept(tmp_path: Path) -> None:
    # Task b ends while the executor of task a is being ended.
    late: list[Future[Any]] = []

    def close(executor: Executor, futures: list[Future[Any]]) -> None:  # noqa: ARG001
        late[0].set_result(outcome_of("b"))

    crew, _ = scripted(tmp_path, [BrokenProcessPool(), None], [outcome_of("a")], close=close)
    late += [future for future in crew._futures if not future.done()]
    assert crew.collect(0.0) == ([outcome_of("b")], Loss(1))
    assert crew.collect(0.0) == ([outcome_of("a")], None)


def test_an_executor_that_continues_without_a_worker_loses_one_task(tmp_path: Path) -> None:
    script = [KeyError("died"), None, outcome_of("a")]
    crew, started = scripted(tmp_path, script, lost=(KeyError,))
    assert crew.collect(0.0) == ([], Loss(1))
    assert crew.collect(0.0) == ([outcome_of("a")], None)
    assert [each.trial for each in crew.running] == ["b"]
    assert len(started) == 1


def test_worker_processes_continue_without_one_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = _Scripted([BrokenProcessPool(), None, outcome_of("a")])
    monkeypatch.setattr(workers, "WorkerProcesses", lambda _: executor)
    crew = local_workers(2)
    for name in ("a", "b"):
        crew.submit(Task(tmp_path, "mark", name, load_settings()))
    assert crew.collect(0.0) == ([], Loss(1))
    assert not executor.is_shut_down
    assert crew.collect(0.0) == ([outcome_of("a")], None)


def test_a_cancelled_task_is_one_that_was_lost(tmp_path: Path) -> None:
    crew, _ = scripted(tmp_path, [CancelledError(), outcome_of("b")], [outcome_of("a")])
    outcomes, loss = crew.collect(0.0)
    assert loss in (Loss(1), Loss(2))
    with suppress(IndexError):
        outcomes += crew.collect(0.0)[0]
    assert {each.trial for each in outcomes} == {"a", "b"}


def test_an_executor_that_refuses_a_task_has_lost_it(tmp_path: Path) -> None:
    crew, _ = scripted(tmp_path, ["refused", "refused"], [outcome_of("a"), outcome_of("b")])
    assert crew.collect(0.0) == ([], Loss(2))
    assert len(crew.collect(0.0)[0]) == 2


def test_a_trial_that_makes_progress_between_its_losses_is_never_given_up(tmp_path: Path) -> None:
    checkpoints = Run(tmp_path / "a").checkpoints_folder
    num_losses = 3 * MAX_LOSSES
    crew, _ = scripted(tmp_path, [KeyError(), None, *[KeyError()] * num_losses, outcome_of("a")], lost=(KeyError,))
    for number in range(num_losses + 1):
        assert crew.collect(0.0) == ([], Loss(1))
        (checkpoints / f"step-{number:08d}").mkdir(parents=True)
        (checkpoints / f"step-{number:08d}" / "manifest.json").touch()
    assert crew.collect(0.0) == ([outcome_of("a")], None)


def test_a_trial_without_progress_fails_at_its_rung_with_a_reason(tmp_path: Path) -> None:
    crew = Workers(lambda: _Scripted([KeyError()] * MAX_LOSSES), 1, lost=(KeyError,))
    crew.submit(Task(tmp_path, "mark", "a", load_settings(), rung=8))
    for _ in range(MAX_LOSSES - 1):
        assert crew.collect(0.0) == ([], Loss(1))
    ((failed,), loss) = crew.collect(0.0)
    assert (failed.trial, failed.rung, failed.status, failed.exit_code, loss) == ("a", 8, "failed", 1, Loss(1))
    assert failed.reason == ("its worker died 5 times without making progress, as happens when memory runs out")


def test_workers_end_their_executor_and_wait_for_it(tmp_path: Path) -> None:
    crew, (executor,) = scripted(tmp_path, [None, None])
    with crew:
        pass
    assert executor.is_shut_down


@pytest.mark.parametrize(
    ("cores", "jobs", "threads", "divided"),
    [
        (8, None, None, (8, 1)),
        (8, None, 3, (2, 3)),
        (2, None, 4, (1, 4)),
        (8, 2, None, (2, 4)),
        (2, 8, None, (8, 1)),
        (8, 2, 4, (2, 4)),
        (2, 1, 4, (1, 4)),
    ],
)
def test_the_available_cores_are_divided(
    cores: int, jobs: int | None, threads: int | None, divided: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "num_cores", lambda: cores)
    assert divide_cores(jobs, load_settings(overrides=[f"train.threads={threads or 'null'}"])) == divided


# A sweep and its workers.


@pytest.fixture
def sweep_file(write_sweep: Callable[..., Path]) -> Path:
    """Return a sweep of four trials."""
    text = "base: base.yaml\nname: grid\nseeds: 2\nspace:\n  model.cell: [rnn, gru]\n"
    return write_sweep(text, "train.threads=null")


def in_thread(*_: Any) -> Workers:
    """Return a worker that is a thread of this process."""
    return Workers(lambda: ThreadPoolExecutor(1), 1)


def test_no_more_workers_start_than_have_something_to_do(
    tmp_path: Path, sweep_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(sweeping, "local_workers", lambda jobs: (asked.append(jobs), in_thread())[1])
    starts: list[SweepStart] = []
    for jobs in (8, 8):
        reports = charlm.sweep_reports(sweep_file, runs_dir=tmp_path, jobs=jobs)
        starts += [report for report in reports if isinstance(report, SweepStart)]
    charlm.sweep(sweep_file, runs_dir=tmp_path / "again", jobs=3)
    assert asked == [4, 1, 3]
    assert [(start.num_trials, start.num_known) for start in starts] == [(4, 0), (4, 4)]


def test_each_trial_is_given_its_share_of_the_cores(
    tmp_path: Path, sweep_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = _Scripted([None])
    monkeypatch.setattr(workers, "num_cores", lambda: 6)
    monkeypatch.setattr(sweeping, "local_workers", lambda _: Workers(lambda: executor, 1))
    start, _ = islice(charlm.sweep_reports(sweep_file, runs_dir=tmp_path, jobs=2), 2)
    assert isinstance(start, SweepStart)
    assert (start.where, executor.given[0].settings.train.threads) == ("2 workers of 3 threads", 3)


def test_each_worker_has_another_trial(tmp_path: Path, sweep_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "local_workers", lambda _: Workers(lambda: _Scripted([None] * 3), 3))
    _, *begun = islice(charlm.sweep_reports(sweep_file, runs_dir=tmp_path, jobs=2), 4)
    assert len({report.trial.name for report in begun if isinstance(report, TrialStart)}) == 3


def test_a_sweep_stopped_before_it_begins_writes_nothing(tmp_path: Path, sweep_file: Path) -> None:
    reports = charlm.sweep_reports(sweep_file, runs_dir=tmp_path / "runs", should_stop=lambda: "interrupt")
    with pytest.raises(StoppedError, match="before anything was written"):
        next(iter(reports))
    assert not (tmp_path / "runs").exists()


def test_a_plans_name_is_no_path(tmp_path: Path, sweep_file: Path) -> None:
    plan = replace(read_plan(sweep_file), name="../elsewhere")
    with pytest.raises(ConfigError, match="cannot name a run"):
        charlm.sweep(plan, runs_dir=tmp_path / "runs")
    assert not (tmp_path / "elsewhere").exists()


def test_a_cluster_has_an_absolute_folder_and_one_thread_for_each_trial(
    tmp_path: Path, sweep_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweeping, "cluster_workers", lambda *_: nullcontext(in_thread()))
    start, *_, end = charlm.sweep_reports(sweep_file, runs_dir=Path("runs"), scheduler="tcp://head:1")
    assert isinstance(start, SweepStart)
    assert isinstance(end, SweepEnd)
    assert (start.where, start.folder) == ("workers of tcp://head:1 of 1 thread", tmp_path / "runs" / "grid")
    assert {row.state for row in end.results.trials} == {"finished"}


def test_a_sweep_that_cannot_begin_releases_its_folder(
    tmp_path: Path, sweep_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise StorageError("too many open files")

    monkeypatch.setattr(sweeping, "local_workers", fail)
    with pytest.raises(StorageError, match="too many open files") as caught:
        charlm.sweep(sweep_file, runs_dir=tmp_path)
    # While the error, and with it the sweep's frame, is still held.
    assert (tmp_path / "grid").exists(), caught
    assert owner_of(tmp_path / "grid") is None, caught


# A cluster.


@pytest.fixture
def dask(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Put a stand-in for Dask in its place, and return what is done to it."""
    seen = SimpleNamespace(asked=None, is_closed=False, answers=True, status="running")

    class Client:
        def __init__(self, address: str, timeout: float) -> None:
            seen.address, seen.timeout = address, timeout
            if not seen.answers:
                raise OSError("Timed out")

        @property
        def status(self) -> str:
            return seen.status

        def get_executor(self, **options: Any) -> Executor:
            seen.asked = options
            return ThreadPoolExecutor(1)

        def close(self) -> None:
            seen.is_closed = True

    class KilledWorker(Exception):  # noqa: N818
        pass

    monkeypatch.setattr(cluster, "find_spec", lambda _: object())
    monkeypatch.setitem(sys.modules, "distributed", SimpleNamespace(Client=Client))
    monkeypatch.setitem(sys.modules, "distributed.scheduler", SimpleNamespace(KilledWorker=KilledWorker))
    addresses = SimpleNamespace(get_address_host_port=lambda _: None)
    monkeypatch.setitem(sys.modules, "distributed.comm.addressing", addresses)
    return seen


@pytest.mark.parametrize(("device", "options"), [("cpu", {}), ("cuda", {"resources": {"GPU": 1}})])
def test_a_cluster_repeats_a_task_where_it_must_and_shares_its_gpus(
    dask: SimpleNamespace, task: Task, device: str, options: dict[str, Any]
) -> None:
    settings = load_settings(overrides=[f"train.device={device}"])
    with cluster.cluster_workers("tcp://head:1", settings) as crew, crew:
        crew.submit(task)
        (outcome,), loss = crew.collect(60.0)
        assert (outcome.status, loss) == ("reached", None)
        assert dask.asked == {"pure": False, **options}
        assert not dask.is_closed
    assert dask.is_closed


def test_a_cluster_that_does_not_answer_is_reported(dask: SimpleNamespace) -> None:
    dask.answers = False
    with (
        pytest.raises(StorageError, match="no Dask scheduler answers at tcp://head:1: Timed out"),
        cluster.cluster_workers("tcp://head:1", load_settings()),
    ):
        pass


def test_a_cluster_whose_scheduler_disappears_is_reported(dask: SimpleNamespace) -> None:
    dask.status = "closed"
    with (
        cluster.cluster_workers("tcp://head:1", load_settings()) as crew,
        pytest.raises(StorageError, match="the Dask scheduler at tcp://head:1 has disappeared"),
    ):
        crew.collect(0.0)
