"""Sweeps that run: tables, failures, kills of workers and of the sweep itself, and resuming."""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from processes import finish, run_code, start_code

import charlm
from charlm.errors import ConfigError, RunInUseError, StorageError
from charlm.runs.ownership import owner_of, take_ownership
from charlm.runs.run import Run
from charlm.settings.loading import dump_settings, load_settings
from charlm.sweeps import sweeping, tasks
from charlm.sweeps.events import SweepEnd, SweepStart, TrialEnd, Waiting, WorkerLost
from charlm.sweeps.ledger import LEDGER
from charlm.sweeps.output import BEST, RESULTS, TABLE
from charlm.sweeps.results import Results
from charlm.sweeps.workers import MAX_LOSSES, Workers, divide_cores, num_cores

CLOCK = ("seconds", "chars_per_second")
GRID = """
base: base.yaml
name: grid
seeds: 2
space:
  model.cell: [rnn, gru]
  model.hidden_size: [4, 8]
"""


@pytest.fixture
def sweep_file(write_sweep: Callable[..., Path]) -> Callable[..., Path]:
    """Return a function that writes a sweep file next to a base of tiny settings."""

    def write(text: str = GRID, *overrides: str) -> Path:
        return write_sweep(text, *overrides)

    return write


@dataclass(frozen=True)
class Swept:
    """A sweep of the grid that has ended.

    Args:
        path: the path of its file.
        runs_dir: the folder that contains its folder.
        results: its results.
    """

    path: Path
    runs_dir: Path
    results: Results


@pytest.fixture(scope="module")
def original(tiny_settings: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """Return the finished sweep, run once; nobody may change it."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "base.yaml").write_text(dump_settings(tiny_settings("eval.baselines=false")), encoding="utf-8")
    path = folder / "sweep.yaml"
    path.write_text(GRID, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeping, "local_workers", lambda _: Workers(lambda: ThreadPoolExecutor(1), 1))
        return Swept(path, folder, charlm.sweep(path, runs_dir=folder))


@pytest.fixture
def swept(original: Swept, tmp_path: Path) -> Swept:
    """Return a copy of the finished sweep, which a test may change."""
    shutil.copytree(original.runs_dir, tmp_path, dirs_exist_ok=True)
    return Swept(tmp_path / "sweep.yaml", tmp_path, original.results)


def comparable(results: Results | Path) -> Any:
    """Return results, or those that a sweep's folder holds, without what the clock says."""

    def cleaned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: cleaned(entry) for key, entry in value.items() if key not in CLOCK}
        return [cleaned(entry) for entry in value] if isinstance(value, list) else value

    text = (results / RESULTS).read_text() if isinstance(results, Path) else json.dumps(results.as_record())
    return cleaned(json.loads(text))


def steps_taken(folder: Path) -> dict[str, list[int]]:
    """Return the steps of each run's evaluations; a run that ran twice has some of them twice."""
    return {
        run.name: [record["step"] for record in run.metrics() if record["kind"] == "evaluation"]
        for run in charlm_runs(folder)
    }


def charlm_runs(folder: Path) -> list[Run]:
    """Return the runs of a sweep's folder."""
    return [Run(path) for path in sorted(folder.iterdir()) if (path / "config.yaml").is_file()]


def sweep_until(num_ended: int, path: Path, runs_dir: Path) -> Any:
    """Run a sweep, interrupt it once this many trials have ended, and return its last report."""
    ended = 0

    def stop() -> str | None:
        return "interrupt" if ended >= num_ended else None

    last: Any = None
    for last in charlm.sweep_reports(path, runs_dir=runs_dir, should_stop=stop):
        ended += isinstance(last, TrialEnd) and last.outcome.status == "reached"
    return last


# Results.


def test_a_sweep_is_the_same_runs_made_one_by_one(original: Swept, tmp_path: Path) -> None:
    assert [row.state for row in original.results.trials] == ["finished"] * 8
    for row in original.results.trials:
        run = Run(original.runs_dir / "grid" / row.trial)
        overrides = [*(f"{key}={value}" for key, value in row.settings.items()), f"train.seed={row.seed}"]
        alone = charlm.train(
            load_settings(original.runs_dir / "base.yaml", overrides=overrides), name=row.trial, runs_dir=tmp_path
        )
        assert run.settings() == alone.settings()
        mine, theirs = run.summary(), alone.summary()
        assert mine is not None
        assert theirs is not None
        assert {key: mine[key] for key in mine if key not in CLOCK} == {
            key: theirs[key] for key in mine if key not in CLOCK
        }
        assert row.figures["val_bpc"] == mine["val_bpc"]


@pytest.mark.usefixtures("_in_threads")
def test_the_table_is_means_and_deviations_over_seeds_and_the_best_trains(
    tmp_path: Path, sweep_file: Callable[..., Path]
) -> None:
    results = charlm.sweep(sweep_file(GRID.replace("seeds: 2", "seeds: 3")), runs_dir=tmp_path / "runs")
    folder = tmp_path / "runs" / "grid"
    for each in results.configurations:
        values = [row.figures["val_bpc"] for row in results.trials if row.number == each.number]
        assert len(values) == each.num_finished == 3
        assert each.figures["val_bpc"].mean == pytest.approx(sum(values) / 3, rel=1e-12)
        assert each.figures["val_bpc"].deviation == pytest.approx(statistics.stdev(values), rel=1e-9)
    means = [each.figures["val_bpc"].mean for each in results.configurations]
    assert means == sorted(means)
    assert results.best == results.configurations[0]
    # The best configuration's file repeats its first trial.
    again = charlm.train(load_settings(folder / BEST), name="again", runs_dir=tmp_path / "again").summary()
    first = next(row for row in results.trials if row.trial == results.best_trials[0])
    assert again is not None
    assert again["val_bpc"] == first.figures["val_bpc"]
    # Files say the same.
    rows = (folder / TABLE).read_text(encoding="utf-8").splitlines()
    assert rows[0].startswith(
        "model.cell,model.hidden_size,state,num_steps,num_finished,num_trials,num_parameters,val_bpc"
    )
    assert float(rows[1].split(",")[7]) == means[0]
    assert json.loads((folder / RESULTS).read_text()) == json.loads(json.dumps(results.as_record()))


@pytest.mark.usefixtures("_in_threads")
def test_more_is_better_where_the_metric_says_so(tmp_path: Path, sweep_file: Callable[..., Path]) -> None:
    text = GRID + "objective: {metric: val_bpc, direction: maximize}\n"
    results = charlm.sweep(sweep_file(text), runs_dir=tmp_path)
    means = [each.figures["val_bpc"].mean for each in results.configurations]
    assert means == sorted(means, reverse=True)


@pytest.mark.usefixtures("_in_threads")
def test_a_failed_trial_is_reported_stops_no_other_and_is_not_tried_again_once_it_diverged(
    tmp_path: Path, sweep_file: Callable[..., Path], charlm_command: Callable[..., Any]
) -> None:
    text = "base: base.yaml\nname: fails\nspace:\n  optimizer.learning_rate: [1e-2, 1e29]\n"
    path = sweep_file(text, "optimizer.method=sgd", "optimizer.clip_norm=null", "model.cell=rnn")
    result = charlm_command("sweep", path, "--json", f"--runs-dir={tmp_path / 'runs'}")
    assert result.exit_code == 8
    assert "1 of 2 trials failed" in result.stderr
    record = json.loads(result.stdout)
    (failed,) = record["failed"]
    assert failed["exit_code"] == 5
    assert failed["reason"] in result.stderr
    assert [row["state"] for row in record["trials"]] == ["finished", "failed"]
    assert record["best"]["settings"] == {"optimizer.learning_rate": 0.01}
    ledger = (tmp_path / "runs" / "fails" / LEDGER).read_text()
    again = charlm_command("sweep", path, "--json", f"--runs-dir={tmp_path / 'runs'}")
    assert (again.exit_code, json.loads(again.stdout)) == (8, record)
    start, *_ = charlm.sweep_reports(path, runs_dir=tmp_path / "runs")
    assert isinstance(start, SweepStart)
    assert (start.num_trials, start.num_known) == (2, 2)
    assert (tmp_path / "runs" / "fails" / LEDGER).read_text() == ledger


@pytest.mark.usefixtures("_in_threads")
def test_what_failed_for_another_reason_is_tried_again(
    tmp_path: Path, sweep_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sweep_file()
    true_train = tasks._train

    def fail(task: Any, **options: Any) -> Any:
        if "gru-4" in task.trial:
            raise OSError(28, "No space left on device")
        return true_train(task, **options)

    monkeypatch.setattr(tasks, "_train", fail)
    results = charlm.sweep(path, runs_dir=tmp_path)
    assert len(results.failed) == 2
    assert "No space left" in (results.failed[0].reason or "")
    assert results.best is not None
    assert results.configurations[-1].num_finished == 0
    monkeypatch.setattr(tasks, "_train", true_train)
    assert charlm.sweep(path, runs_dir=tmp_path).failed == ()


@pytest.mark.usefixtures("_in_threads")
def test_results_on_different_texts_come_with_a_warning(tmp_path: Path, sweep_file: Callable[..., Path]) -> None:
    text = "base: base.yaml\nspace:\n  corpus.split: [default, nanogpt]\n"
    results = charlm.sweep(sweep_file(text), runs_dir=tmp_path)
    assert results.warnings == (
        "the trials were measured on 2 different validation texts: their results cannot be compared",
    )


# Resuming.


@pytest.mark.usefixtures("_in_threads")
def test_started_again_nothing_is_run_and_the_results_are_the_same(
    swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_train", lambda *_, **__: pytest.fail("a trial was run again"))
    assert charlm.sweep(swept.path, runs_dir=swept.runs_dir) == swept.results


@pytest.mark.usefixtures("_in_threads")
def test_a_larger_grid_runs_only_what_is_new(swept: Swept) -> None:
    swept.path.write_text(GRID.replace("[4, 8]", "[4, 8, 6]"), encoding="utf-8")
    ended: list[str] = []

    def observe(report: Any) -> None:
        if isinstance(report, TrialEnd):
            ended.append(report.trial.name)

    results = charlm.sweep(swept.path, runs_dir=swept.runs_dir, observe=observe)
    assert len(results.trials) == 12
    assert len(ended) == 4
    assert all("-6-" in name for name in ended)


@pytest.mark.usefixtures("_in_threads")
def test_a_sweep_stopped_at_any_trial_and_without_its_ledger_ends_with_the_same_table(
    tmp_path: Path, original: Swept
) -> None:
    num_starts = 0
    while True:
        num_starts += 1
        last = sweep_until(2, original.path, tmp_path / "cut")
        assert isinstance(last, SweepEnd)
        ledger = tmp_path / "cut" / "grid" / LEDGER
        if num_starts == 2:
            # This is what a sweep leaves if it is killed between a run's end and its line in the ledger.
            ledger.unlink()
        elif num_starts == 3:
            ledger.write_bytes(ledger.read_bytes()[:-20])
        if last.stopped_by is None:
            break
    assert num_starts > 4
    assert comparable(last.results) == comparable(original.results)
    assert steps_taken(tmp_path / "cut" / "grid") == steps_taken(original.runs_dir / "grid")


@pytest.mark.usefixtures("_in_threads")
def test_a_trial_whose_run_was_removed_is_run_again(swept: Swept) -> None:
    removed = swept.runs_dir / "grid" / swept.results.trials[3].trial
    shutil.rmtree(removed)
    assert comparable(charlm.sweep(swept.path, runs_dir=swept.runs_dir)) == comparable(swept.results)
    assert Run(removed).exists


def test_minutes_end_a_sweep_that_resumes_when_it_is_started_again(
    tmp_path: Path, sweep_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A trial that lasts until it is told to stop: with the sweep's folder let go of.
    monkeypatch.setattr(sweeping, "local_workers", lambda _: Workers(lambda: ThreadPoolExecutor(1), 1))
    monkeypatch.setattr(tasks, "WATCH_SECONDS", 0.0)
    text = GRID + "budget: {minutes: 0.01}\n"
    path = sweep_file(text, "train.max_steps=1000000", "train.eval_every=1000000")
    (*_, end) = charlm.sweep_reports(path, runs_dir=tmp_path)
    assert isinstance(end, SweepEnd)
    assert end.stopped_by == "minutes"
    assert [row.state for row in end.results.trials] == ["cut"] + ["new"] * 7
    (run,) = charlm_runs(tmp_path / "grid")
    assert run.checkpoint_paths()[-1].name != "step-00000000"
    assert end.results.best is None


# Folders.


@pytest.mark.usefixtures("_in_threads")
def test_a_sweep_takes_no_folder_that_is_something_else(
    tmp_path: Path, sweep_file: Callable[..., Path], tiny_settings: Callable[..., Any]
) -> None:
    path = sweep_file()
    charlm.train(tiny_settings("train.max_steps=1"), name="grid", runs_dir=tmp_path / "one")
    with pytest.raises(ConfigError, match="is a run and not a sweep"):
        charlm.sweep(path, runs_dir=tmp_path / "one")
    (tmp_path / "two" / "grid").mkdir(parents=True)
    (tmp_path / "two" / "grid" / "letter.txt").touch()
    with pytest.raises(ConfigError, match="holds something else"):
        charlm.sweep(path, runs_dir=tmp_path / "two")


@pytest.mark.usefixtures("_in_threads")
def test_a_sweep_has_one_owner(tmp_path: Path, sweep_file: Callable[..., Path]) -> None:
    (tmp_path / "grid").mkdir()
    ownership = take_ownership(tmp_path / "grid")
    try:
        with pytest.raises(RunInUseError):
            charlm.sweep(sweep_file(), runs_dir=tmp_path)
    finally:
        ownership.release()


@pytest.mark.usefixtures("_in_threads")
@pytest.mark.parametrize(
    ("then", "error", "said"),
    [
        ("taken over", RunInUseError, "has been taken over"),
        ("removed", StorageError, "was deleted while .* no such file"),
        ("moved", StorageError, "was moved to .*/away while its sweep ran"),
    ],
)
def test_a_sweep_whose_folder_is_no_longer_its_own_ends(
    tmp_path: Path, sweep_file: Callable[..., Path], then: str, error: type[Exception], said: str
) -> None:
    ended: list[str] = []

    def lose_the_folder(report: Any) -> None:
        if not isinstance(report, TrialEnd):
            return
        ended.append(report.outcome.status)
        # It would begin trials for ever: each sees at once that nobody owns the sweep.
        assert len(ended) < 100
        if len(ended) == 2 and then == "moved":
            (tmp_path / "grid").rename(tmp_path / "away")
        elif len(ended) == 2 and then == "taken over":
            (tmp_path / "grid" / ".lease-000009").write_text(json.dumps({"mark": "another's"}))
        elif len(ended) == 2:
            shutil.rmtree(tmp_path / "grid", ignore_errors=True)

    with pytest.raises(error, match=said):
        charlm.sweep(sweep_file(), runs_dir=tmp_path, observe=lose_the_folder)
    assert ended == ["reached"] * 2


def test_ordinary_commands_find_a_trial_by_its_path(original: Swept, charlm_command: Callable[..., Any]) -> None:
    results, runs_dir = original.results, original.runs_dir
    trial = f"grid/{results.best_trials[0]}"
    written = charlm_command("generate", f"--run={trial}", f"--runs-dir={runs_dir}", "--prefix=the ", "--length=3")
    assert written.exit_code == 0
    listed = charlm_command("info", "--json", f"--runs-dir={runs_dir / 'grid'}")
    assert {run["name"] for run in json.loads(listed.stdout)["runs"]} == {row.trial for row in results.trials}


# Workers.


class _Fragile(Executor):
    """An executor whose workers die of every task until a given number have died."""

    def __init__(self, deaths: list[int]) -> None:
        self.deaths = deaths

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if self.deaths[0]:
            self.deaths[0] -= 1
            future.set_exception(BrokenProcessPool())
        else:
            future.set_result(function(*args, **kwargs))
        return future


def test_minutes_have_sixty_seconds(
    tmp_path: Path, sweep_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # One trial from one look at the clock to the next, which is eleven seconds on: the sixth sees a minute past.
    monkeypatch.setattr(sweeping, "local_workers", lambda _: Workers(lambda: _Fragile([0]), 1))
    monkeypatch.setattr(sweeping, "time", SimpleNamespace(monotonic=iter(range(5, 1000, 11)).__next__))
    (*_, end) = charlm.sweep_reports(sweep_file(GRID + "budget: {minutes: 1}\n"), runs_dir=tmp_path)
    assert isinstance(end, SweepEnd)
    assert end.stopped_by == "minutes"
    assert [row.state for row in end.results.trials] == ["finished"] * 5 + ["new"] * 3


def test_a_request_to_stop_counts_before_the_clock(
    tmp_path: Path, sweep_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "local_workers", lambda _: Workers(lambda: _Fragile([0]), 1))
    monkeypatch.setattr(sweeping, "time", SimpleNamespace(monotonic=iter(range(0, 10_000, 100)).__next__))
    path, words = sweep_file(GRID + "budget: {minutes: 1}\n"), iter([None, "interrupt"])
    (*_, end) = charlm.sweep_reports(path, runs_dir=tmp_path, should_stop=lambda: next(words))
    assert isinstance(end, SweepEnd)
    assert end.stopped_by == "interrupt"


@pytest.mark.parametrize(("num_deaths", "num_failed"), [(MAX_LOSSES - 1, 0), (MAX_LOSSES, 1)])
def test_a_trial_that_always_kills_its_worker_fails_and_the_others_continue(
    tmp_path: Path,
    sweep_file: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    num_deaths: int,
    num_failed: int,
) -> None:
    deaths = [num_deaths]
    monkeypatch.setattr(sweeping, "local_workers", lambda _: Workers(lambda: _Fragile(deaths), 1))
    reports = list(charlm.sweep_reports(sweep_file(), runs_dir=tmp_path))
    # As soon as a worker is lost its task is submitted again: nobody waits for anything.
    assert [type(report) for report in reports[2 : num_deaths + 2]] == [WorkerLost] * num_deaths
    assert not any(isinstance(report, Waiting) for report in reports)
    assert isinstance(reports[-1], SweepEnd)
    results = reports[-1].results
    assert len(results.failed) == num_failed
    assert all("its worker died" in (row.reason or "") for row in results.failed)
    assert [row.state for row in results.trials].count("finished") == 8 - num_failed


@pytest.mark.parametrize(
    ("jobs", "given", "divided"), [(None, None, (None, 1)), (1, None, (1, None)), (1, 64, (1, 64))]
)
def test_the_cores_are_divided_among_the_workers(
    jobs: int | None, given: int | None, divided: tuple[int | None, int | None]
) -> None:
    cores = num_cores()
    settings = load_settings(overrides=[f"train.threads={given or 'null'}"])
    assert divide_cores(jobs, settings) == (divided[0] or cores, divided[1] or cores)


def test_more_threads_than_cores_are_refused() -> None:
    with pytest.raises(ConfigError, match="is more than the"):
        divide_cores(2, load_settings(overrides=[f"train.threads={num_cores()}"]))


def workers_of(pid: int) -> list[int]:
    """Return the worker processes of a sweep: its children that are no tracker of resources."""
    children: list[int] = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            is_child = entry.name.isdecimal() and f"\nPPid:\t{pid}\n" in (entry / "status").read_text()
            command = (entry / "cmdline").read_bytes()
            if is_child and command and b"resource_tracker" not in command:
                children.append(int(entry.name))
    return children


# This prints the kind of each report of a sweep.
REPORTED = """
import sys
from pathlib import Path
import charlm
for report in charlm.sweep_reports(Path(sys.argv[1]), runs_dir=Path(sys.argv[2]), jobs=int(sys.argv[3])):
    print(type(report).__name__, flush=True)
"""
# Two workers, of which one dies.
REPLACED = """
import multiprocessing
import os
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from charlm.sweeps.workers import WorkerProcesses
with WorkerProcesses(2) as workers:
    # Lasts until somebody writes.
    lasting = workers.submit(Path.read_bytes, Path(sys.argv[1]))
    try:
        workers.submit(os._exit, 1).result()
    except BrokenProcessPool:
        print("broken")
    first, second = (workers.submit(os.getpid).result() for _ in range(2))
    print(first == second != os.getpid())
    Path(sys.argv[1]).write_bytes(b"done")
    print(lasting.result().decode())
print(multiprocessing.active_children())
"""


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_worker_killed_in_the_middle_loses_and_doubles_nothing(
    tmp_path: Path, sweep_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    text = GRID.replace("seeds: 2", "seeds: 1")
    path = sweep_file(text, "train.max_steps=120", "train.eval_every=20", "sample.every=120")
    with monkeypatch.context() as patch:
        patch.setattr(sweeping, "local_workers", lambda _: Workers(lambda: ThreadPoolExecutor(1), 1))
        whole = charlm.sweep(path, runs_dir=tmp_path / "whole")
    folder = tmp_path / "killed" / "grid"
    with start_code(REPORTED, path, folder.parent, str(jobs)) as process:
        busy: list[int] = []
        # One trial has ended, and another one is running; a worker that is idle would not be missed.
        while not busy:
            assert process.poll() is None
            time.sleep(0.01)
            runs = charlm_runs(folder) if folder.is_dir() else []
            owners = [owner_of(run.path) for run in runs if run.summary() is None]
            if len(owners) < len(runs):
                busy = [owner.pid for owner in owners if owner and owner.pid]
        os.kill(busy[0], signal.SIGKILL)
        ended = finish(process)
    assert ended.exit_code == 0
    counts = Counter(ended.stdout.split())
    assert (counts["WorkerLost"], counts["SweepEnd"]) == (1, 1)
    assert comparable(folder) == comparable(whole)
    assert steps_taken(tmp_path / "killed" / "grid") == steps_taken(tmp_path / "whole" / "grid")


@pytest.mark.slow
def test_a_trial_that_always_kills_its_worker_takes_no_other_with_it(
    tmp_path: Path, sweep_file: Callable[..., Path]
) -> None:
    # Nothing is saved between kills, so a trial next to the one that dies would be without a new checkpoint as often.
    text = "base: base.yaml\nname: pair\nspace:\n  model.cell: [rnn, gru]\n"
    path = sweep_file(text, "train.max_steps=3000", "train.eval_every=3000", "sample.every=3000")
    killed: set[int] = set()
    for report in charlm.sweep_reports(path, runs_dir=tmp_path, jobs=2):
        last = report
        for run in charlm_runs(tmp_path / "pair"):
            owner = owner_of(run.path)
            if run.path.name.startswith("rnn") and owner and owner["pid"] not in killed:
                killed.add(owner["pid"])
                os.kill(owner["pid"], signal.SIGKILL)
    assert isinstance(last, SweepEnd)
    assert len(killed) == MAX_LOSSES
    assert [row.state for row in last.results.trials] == ["failed", "finished"]


def test_a_worker_that_dies_takes_no_other_with_it_and_is_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "open")
    assert run_code(REPLACED, tmp_path / "open") == (0, "broken\nTrue\ndone\n[]\n", "")


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
        (signal.SIGHUP, 129),
        pytest.param(signal.SIGKILL, -9, marks=pytest.mark.slow),
    ],
)
def test_a_sweep_that_ends_by_a_signal_leaves_no_process_and_can_be_resumed(
    tmp_path: Path,
    sweep_file: Callable[..., Path],
    charlm_process: Callable[..., Any],
    number: signal.Signals,
    code: int,
) -> None:
    text = GRID.replace("seeds: 2", "seeds: 1")
    path = sweep_file(text, "train.max_steps=2000", "train.eval_every=40", "sample.every=2000")
    process = charlm_process("sweep", path, "--jobs=1", f"--runs-dir={tmp_path}")
    folder = tmp_path / "grid"
    while not (folder.is_dir() and any(len(run.checkpoint_paths()) > 1 for run in charlm_runs(folder))):
        assert process.poll() is None
        time.sleep(0.02)
    workers = workers_of(process.pid)
    assert len(workers) == 1
    # A terminal sends these to all of its processes.
    for pid in workers if number in (signal.SIGINT, signal.SIGHUP) else []:
        os.kill(pid, number)
    process.send_signal(number)
    exit_code, _, said = finish(process)
    assert exit_code == code
    if number != signal.SIGKILL:
        assert "run the same command again to resume" in said
    until = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < until
        time.sleep(0.02)
    (run, *_) = charlm_runs(folder)
    assert run.checkpoint_paths()
    assert run.summary() is None
