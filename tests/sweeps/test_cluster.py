"""Sweeps on a real Dask scheduler, whose workers die."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from processes import Process, start_code

import charlm
from charlm.errors import ConfigError, StorageError
from charlm.runs.ownership import owner_of
from charlm.runs.run import Run
from charlm.sweeps import cluster, tasks
from charlm.sweeps.events import SweepEnd, SweepEvent

SWEEP = "base: base.yaml\nname: grid\nspace:\n  model.cell: [rnn, gru]\n  model.hidden_size: [4, 8]\n"
SCHEDULER = "from distributed.cli.dask_scheduler import main; main()"
WORKER = "from distributed.cli.dask_worker import main; main()"


@pytest.fixture
def sweep_file(write_sweep: Callable[..., Path]) -> Path:
    """Return a sweep of four trials of a few hundred steps."""
    return write_sweep(SWEEP, "train.max_steps=300", "train.eval_every=50", "sample.every=300")


@dataclass(frozen=True)
class Cluster:
    """A scheduler and its two workers, each a process."""

    address: str
    scheduler: Process
    workers: tuple[Process, ...]


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Cluster]:
    """Yield a cluster on this machine."""
    pytest.importorskip("distributed")
    address_file = tmp_path / "scheduler.json"
    with ExitStack() as processes:

        def start(code: str, *options: str) -> Process:
            log = processes.enter_context((tmp_path / f"dask-{len(list(tmp_path.glob('dask-*')))}.log").open("wb"))
            streams = {"stdout": log.fileno(), "stderr": log.fileno()}
            process = processes.enter_context(start_code(code, *options, "--no-dashboard", cwd=tmp_path, **streams))
            processes.callback(process.kill)
            return process

        scheduler = start(SCHEDULER, "--host=127.0.0.1", "--port=0", f"--scheduler-file={address_file}")
        until = time.monotonic() + 60
        while not address_file.exists() or not address_file.read_text().rstrip().endswith("}"):
            assert time.monotonic() < until
            time.sleep(0.05)
        address = json.loads(address_file.read_text())["address"]
        options = ("--nthreads=1", "--no-nanny", f"--local-directory={tmp_path}", "--host=127.0.0.1")
        yield Cluster(address, scheduler, tuple(start(WORKER, address, *options) for _ in range(2)))


@pytest.mark.usefixtures("_in_threads")
def test_a_cluster_gives_the_results_of_this_machine(tmp_path: Path, write_sweep: Callable[..., Path]) -> None:
    distributed = pytest.importorskip("distributed")
    path, here = write_sweep(SWEEP), threading.get_ident()
    trained_in: set[int] = set()
    local = {"processes": False, "n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with (
        pytest.MonkeyPatch.context() as patch,
        distributed.LocalCluster(protocol="tcp", host="127.0.0.1", **local) as started,
    ):
        train = tasks._train
        patch.setattr(tasks, "_train", lambda *a, **k: (trained_in.add(threading.get_ident()), train(*a, **k))[1])
        there = charlm.sweep(path, runs_dir=tmp_path / "there", scheduler=started.scheduler_address)
    again = charlm.sweep(path, runs_dir=tmp_path / "here", jobs=1)
    assert trained_in
    assert here not in trained_in
    figures = [{row.trial: row.figures["val_bpc"] for row in results.trials} for results in (there, again)]
    assert len(figures[0]) == 4
    assert figures[0] == figures[1]


@pytest.mark.slow
@pytest.mark.usefixtures("_in_threads")
def test_a_worker_of_a_cluster_killed_in_the_middle_loses_and_doubles_nothing(
    tmp_path: Path, sweep_file: Path, dask: Cluster
) -> None:
    folder = tmp_path / "runs" / "grid"
    num_killed = 0
    last: Any = None
    for report in charlm.sweep_reports(sweep_file, runs_dir=tmp_path / "runs", scheduler=dask.address):
        last = report
        running = (
            {
                owner["pid"]
                for path in folder.iterdir()
                if (owner := owner_of(path)) and len(Run(path).checkpoint_paths()) > 1
            }
            if num_killed == 0
            else set()
        )
        for worker in dask.workers:
            if num_killed == 0 and worker.pid in running:
                os.kill(worker.pid, signal.SIGKILL)
                num_killed = 1
    assert isinstance(last, SweepEnd)
    assert num_killed == 1
    assert last.stopped_by is None
    assert [row.state for row in last.results.trials] == ["finished"] * 4
    runs = [Run(path) for path in folder.iterdir() if (path / "config.yaml").is_file()]
    assert sorted(run.name for run in runs) == sorted(row.trial for row in last.results.trials)
    for run in runs:
        steps = [record["step"] for record in run.metrics() if record["kind"] == "evaluation"]
        assert steps == list(range(0, 301, 50))[-len(steps) :]
        assert len(steps) >= 6
    # The interrupted one was resumed as if nothing had happened.
    assert any((run.path / "resumes.jsonl").exists() for run in runs)
    again = charlm.sweep(sweep_file, runs_dir=tmp_path / "here", jobs=1)
    figures = [{row.trial: row.figures["val_bpc"] for row in results.trials} for results in (last.results, again)]
    assert figures[0] == figures[1]


@pytest.mark.slow
def test_a_scheduler_that_disappears_ends_the_sweep_and_nothing_is_lost(
    tmp_path: Path, sweep_file: Path, dask: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 3)
    folder = tmp_path / "runs" / "grid"

    def lose_scheduler(_: SweepEvent) -> None:
        if any(len(Run(path).checkpoint_paths()) > 1 for path in folder.iterdir() if path.is_dir()):
            dask.scheduler.kill()

    with pytest.raises(
        StorageError, match="has disappeared; its trials are saved, and the same command resumes the sweep"
    ):
        charlm.sweep(sweep_file, runs_dir=tmp_path / "runs", scheduler=dask.address, observe=lose_scheduler)
    for worker in dask.workers:
        worker.kill()
        worker.wait()
    begun = {path.name: len(Run(path).checkpoint_paths()) for path in folder.iterdir() if Run(path).exists}
    assert begun
    results = charlm.sweep(sweep_file, runs_dir=tmp_path / "runs", jobs=2)
    assert [row.state for row in results.trials] == ["finished"] * 4
    again = charlm.sweep(sweep_file, runs_dir=tmp_path / "here", jobs=2)
    figures = [{row.trial: row.figures["val_bpc"] for row in each.trials} for each in (results, again)]
    assert figures[0] == figures[1]


def test_where_no_scheduler_answers_nothing_is_written(
    sweep_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.2)
    with pytest.raises(StorageError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        charlm.sweep(sweep_file, runs_dir=tmp_path / "runs", scheduler="tcp://127.0.0.1:9")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("address", ["nonsense", "tcp://head", "grid://head:1"])
def test_an_invalid_address_is_refused_and_nothing_is_written(
    sweep_file: Path, tmp_path: Path, charlm_command: Callable[..., Any], address: str
) -> None:
    pytest.importorskip("distributed")
    result = charlm_command("sweep", sweep_file, f"--scheduler={address}", f"--runs-dir={tmp_path / 'runs'}")
    assert result.exit_code == 2
    assert f"{address} is not the address of a Dask scheduler, such as tcp://head:8786: " in result.stderr
    assert not (tmp_path / "runs").exists()


def test_without_dask_it_says_what_to_install(
    sweep_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=re.escape("pip install 'charlm[cluster]'")):
        charlm.sweep(sweep_file, runs_dir=tmp_path / "runs", scheduler="tcp://127.0.0.1:1")


def test_jobs_and_a_scheduler_exclude_each_other(
    sweep_file: Path, tmp_path: Path, charlm_command: Callable[..., Any]
) -> None:
    result = charlm_command("sweep", sweep_file, "--jobs=2", "--scheduler=tcp://x:1", f"--runs-dir={tmp_path / 'runs'}")
    assert result.exit_code == 2
    assert "give only one of the two" in result.stderr
    assert not (tmp_path / "runs").exists()
