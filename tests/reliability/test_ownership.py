"""One owner for each run folder, whatever processes are killed, stopped or started at once, here and elsewhere."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from pairs import one_in
from processes import finish, run_command, start_code, wait_until_stopped
from typer.testing import Result

import charlm
from charlm.errors import CharlmWarning, ConfigError, RunError, RunInUseError, StorageError
from charlm.library.training import train
from charlm.runs import creation, ownership
from charlm.runs.checkpoints import step_of
from charlm.runs.creation import create_run
from charlm.runs.ownership import FolderGoneError, Ownership, owner_of, take_ownership
from charlm.runs.run import Run
from charlm.settings.schema import Settings
from charlm.training import milestones
from charlm.training.events import End, Evaluation, Samples, Step, TrainingEvent
from charlm.training.launch import train_reports
from charlm.training.verification import verify_run

Charlm = Callable[..., Result]
Process = Callable[..., "subprocess.Popen[bytes]"]
FACTS = {"corpus": "stories", "corpus_sha256": "0" * 64, "num_parameters": 10}
ENDLESS = ("--set=train.max_steps=10000000", "--set=train.eval_every=20", "--quiet")
ELSEWHERE = {"host": "elsewhere", "machine": "another", "pid": 7, "since": "2025-01-01T00:00:00+00:00"}


def digest(folder: Path) -> dict[str, str]:
    """Return the contents of a folder, by the hashes of its files."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): sha256(path.read_bytes()).hexdigest() for path in files}


def add_lease(folder: Path, *, age: float = 0.0, owner: dict[str, Any] = ELSEWHERE, generation: int = 1) -> Path:
    """Write a lease as another machine would, without a lock that this one sees."""
    lease = folder / f".lease-{generation:06d}"
    lease.write_text(json.dumps(owner), encoding="utf-8")
    os.utime(lease, (time.time() - age,) * 2)
    return lease


def take(folder: Path) -> Ownership | None:
    """Return the ownership of a folder, None where it is refused."""
    try:
        return take_ownership(folder)
    except RunInUseError:
        return None


def wait_until_it_trains(process: subprocess.Popen[bytes], run: Run, *, num_checkpoints: int = 2) -> None:
    """Wait until a process has saved some checkpoints."""
    while len(run.checkpoint_paths()) < num_checkpoints:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.fixture
def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this a file system that does not lock."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.fixture
def owned() -> Iterator[list[Ownership]]:
    """Yield a list; what is in it is released at the end."""
    owners: list[Ownership] = []
    yield owners
    for each in owners:
        each.release()


# The lock.


def test_a_live_run_is_refused_with_7_and_its_owners_name_and_a_killed_one_resumes_at_once(
    tmp_path: Path, charlm_process: Process, charlm_command: Charlm, tiny_options: list[str]
) -> None:
    where = (f"--runs-dir={tmp_path}", "--run=run")
    run = Run(tmp_path / "run")
    first = charlm_process("train", *tiny_options, *ENDLESS, *where)
    wait_until_it_trains(first, run)
    second = charlm_command("train", "--resume", *where)
    assert (second.exit_code, second.stdout) == (7, "")
    assert second.stderr.startswith(
        f"charlm: the run {run.path} is in use by process {first.pid} on {platform.node()}, since "
    )
    assert run.overview()["state"] == "running"
    before = len(run.checkpoint_paths())
    wait_until_it_trains(first, run, num_checkpoints=min(before + 1, 3))
    first.kill()
    first.wait()
    assert run.overview()["state"] == "unfinished"
    enough = f"--set=train.max_steps={max(int(path.name[5:]) for path in run.checkpoint_paths()) + 50}"
    assert charlm_command("train", "--resume", *where, "--quiet", enough).exit_code == 0
    assert charlm_command("verify", "run", f"--runs-dir={tmp_path}").exit_code == 0


@pytest.mark.parametrize("has_locks", [True, False])
def test_a_folder_has_one_owner_and_after_it_the_next(
    tmp_path: Path, request: pytest.FixtureRequest, owned: list[Ownership], has_locks: bool
) -> None:
    if not has_locks:
        request.getfixturevalue("without_locks")
    for _ in range(3):
        owned.append(take_ownership(tmp_path))
        with pytest.raises(RunInUseError, match=f"is in use by process {os.getpid()} on {platform.node()}, since "):
            take_ownership(tmp_path)
        owned[-1].check()
        assert (owner_of(tmp_path) or {})["pid"] == os.getpid()
        owned[-1].release()
        owned[-1].release()
        assert owner_of(tmp_path) is None
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize("has_locks", [True, False])
def test_only_one_of_many_that_claim_a_folder_at_once_gets_it(
    tmp_path: Path, request: pytest.FixtureRequest, endurance: Any, has_locks: bool
) -> None:
    if not has_locks:
        request.getfixturevalue("without_locks")
    rounds = endurance.times(20, 500)
    with ThreadPoolExecutor(16) as pool:
        for number in range(rounds):
            (folder := tmp_path / f"{number}").mkdir()
            if number % 2:
                add_lease(folder, age=100)
            taken = [each for each in pool.map(take, [folder] * 16) if each is not None]
            assert len(taken) == 1
            taken[0].check()
            taken[0].release()
    endurance.tell(f"owners, {'locks' if has_locks else 'no locks'}", f"1 of 16 in each of {rounds} rounds")


@pytest.mark.usefixtures("without_locks")
@pytest.mark.parametrize("is_alive", [True, False])
def test_without_locks_a_lease_of_this_machine_lasts_as_long_as_its_process(
    tmp_path: Path, owned: list[Ownership], is_alive: bool
) -> None:
    script = (
        "import fcntl, sys, time\nfrom pathlib import Path\nfrom charlm.runs.ownership import take_ownership\n"
        "def refuse(*_): raise OSError(95, 'not supported')\n"
        "fcntl.flock = refuse\nkept = take_ownership(Path(sys.argv[1]))\nprint('taken', flush=True)\ntime.sleep(60)\n"
    )
    with start_code(script, tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"taken\n"
        if not is_alive:
            process.kill()
            process.wait()
        owner = take(tmp_path)
        assert (owner is None) is is_alive
        owned += [owner] if owner else []
        process.kill()


def test_a_container_does_not_take_anothers_processes_for_dead(
    tmp_path: Path, request: pytest.FixtureRequest, owned: list[Ownership]
) -> None:
    dead = {**ownership._myself(), "pid": 2**22 + 1}
    add_lease(tmp_path, owner={**dead, "processes": "pid:[1]"})
    owned.append(take_ownership(tmp_path))  # the lock belongs to the kernel, and shows it
    owned[-1].release()
    request.getfixturevalue("without_locks")
    add_lease(tmp_path, owner={**dead, "processes": "pid:[1]"})
    assert owner_of(tmp_path) is not None
    assert take(tmp_path) is None
    add_lease(tmp_path, owner=dead)
    assert owner_of(tmp_path) is None
    owned.append(take_ownership(tmp_path))


@pytest.mark.usefixtures("without_locks")
def test_a_lease_that_another_makes_at_the_same_moment_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = add_lease(tmp_path)
    monkeypatch.setattr(ownership, "_leases", lambda _: [])  # as it was when this process looked
    assert take(tmp_path) is None
    assert json.loads(lease.read_bytes()) == ELSEWHERE


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]"])
def test_a_process_killed_before_it_signed_its_lease_does_not_hold_up_the_next(
    tmp_path: Path, owned: list[Ownership], content: bytes
) -> None:
    (tmp_path / ".lease-000001").write_bytes(content)
    owned.append(take_ownership(tmp_path))
    owned[0].check()


# The lease.


@pytest.mark.parametrize(("age", "left"), [(0, 60), (25, 35), (59.4, 1)])
def test_a_fresh_lease_of_another_machine_is_respected_and_its_end_reported(
    tmp_path: Path, age: float, left: int
) -> None:
    add_lease(tmp_path, age=age)
    with pytest.raises(RunInUseError) as caught:
        take_ownership(tmp_path)
    told = "process 7 on elsewhere, since 2025-01-01T00:00:00+00:00; if that process is gone, its lease ends in "
    assert str(caught.value).startswith(f"the run {tmp_path} is in use by {told}")
    assert int(str(caught.value).removesuffix(" s").rpartition(" ")[2]) in (left, left - 1)
    assert (owner_of(tmp_path) or {})["host"] == "elsewhere"


def test_a_void_lease_is_taken_over_by_the_next_generation(tmp_path: Path, owned: list[Ownership]) -> None:
    add_lease(tmp_path, age=61, generation=41)
    assert owner_of(tmp_path) is None
    owned.append(take_ownership(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lease-000042", ".lock"]


def test_a_clock_that_is_wrong_makes_no_lease_void(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_lease(tmp_path)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3600)
    assert take(tmp_path) is None


def test_an_owner_renews_its_lease_for_as_long_as_it_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owned: list[Ownership]
) -> None:
    assert (ownership.RENEWED_EVERY_SECONDS, ownership.VOID_AFTER_SECONDS) == (10, 60)
    monkeypatch.setattr(ownership, "RENEWED_EVERY_SECONDS", 0.01)
    owned.append(take_ownership(tmp_path))
    (lease,) = tmp_path.glob(".lease-*")
    os.utime(lease, (1, 1))
    until = time.monotonic() + 10
    while lease.stat().st_mtime == 1:
        assert time.monotonic() < until
        time.sleep(0.01)
    owned[0].release()
    threads = [thread for thread in threading.enumerate() if thread.name == "charlm lease"]
    for thread in threads:
        thread.join(10)
    assert not lease.exists()


def test_an_owner_that_was_stopped_renews_before_it_writes_where_nobody_took_over(
    tmp_path: Path, owned: list[Ownership]
) -> None:
    owned.append(take_ownership(tmp_path))
    (lease,) = tmp_path.glob(".lease-*")
    os.utime(lease, (1, 1))
    owned[0]._renewed_at -= 100
    owned[0].check()
    assert time.time() - lease.stat().st_mtime < 10


@pytest.mark.parametrize("then", ["is still there", "has gone", "has gone and a third is there"])
@pytest.mark.usefixtures("without_locks")
def test_an_owner_that_was_taken_over_notices_it_whatever_became_of_the_other(
    tmp_path: Path, owned: list[Ownership], then: str
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    owned.append(take_ownership(folder))
    os.utime(folder / ".lease-000001", (1, 1))
    owned.append(take_ownership(folder))
    if then.startswith("has gone"):
        owned[-1].release()
    if then.endswith("a third is there"):
        owned.append(take_ownership(folder))
        assert (folder / ".lease-000001").exists()
    with pytest.raises(RunInUseError, match=r"has been taken over.*: nothing more is written there"):
        owned[0].check()
    owned[0].release()
    if then != "has gone":
        owned[-1].check()


@pytest.mark.parametrize("has_locks", [True, False])
@pytest.mark.parametrize("has_other", [True, False])
@pytest.mark.parametrize("to", ["away", "deep/er/run", "../elsewhere"])
def test_a_folder_that_was_moved_is_followed_whoever_takes_its_place(
    tmp_path: Path, request: pytest.FixtureRequest, owned: list[Ownership], to: str, has_other: bool, has_locks: bool
) -> None:
    if not has_locks:
        request.getfixturevalue("without_locks")
    (folder := tmp_path / "runs" / "run").mkdir(parents=True)
    found = (folder.parent / to).resolve()
    found.parent.mkdir(parents=True, exist_ok=True)
    owned.append(take_ownership(folder))
    folder.rename(found)
    if has_other:
        folder.mkdir()
        owned.append(take_ownership(folder))
    for owner in owned:
        owner.check()
    assert owned[0].folder == found
    assert folder.exists() is has_other
    owned[0].release()
    assert [path.name for path in found.iterdir()] == [".lock"]
    if has_other:
        owned[1].check()


def test_a_folder_that_was_moved_is_found_next_to_its_place_without_help_from_the_system(
    tmp_path: Path, owned: list[Ownership], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "readlink", refuse_to_tell)
    (folder := tmp_path / "run").mkdir()
    (tmp_path / "another").mkdir()
    owned.append(take_ownership(tmp_path / "another"))
    owned.append(take_ownership(folder))
    folder.rename(tmp_path / "away")
    owned[1].check()
    assert owned[1].folder == tmp_path / "away"


def refuse_to_tell(path: Path) -> Path:
    """Be a system without /proc."""
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


@pytest.mark.parametrize("then", ["nothing", "another run", "an empty folder", "what the deletion left"])
def test_a_folder_that_was_deleted_is_called_so_whoever_takes_its_place(
    tmp_path: Path, owned: list[Ownership], then: str
) -> None:
    (folder := tmp_path / "run").mkdir()
    owned.append(take_ownership(folder))
    if then == "what the deletion left":
        for path in folder.iterdir():
            path.unlink()
    else:
        shutil.rmtree(folder)
    if then in ("another run", "an empty folder"):
        folder.mkdir()
    if then == "another run":
        owned.append(take_ownership(folder))
    with pytest.raises(FolderGoneError, match=f"^the folder {folder} was deleted while this process was writing it$"):
        owned[0].check()
    owned[0].release()
    if then == "another run":
        owned[1].check()


def test_a_folder_that_cannot_be_looked_into_is_a_storage_error(
    tmp_path: Path, owned: list[Ownership], monkeypatch: pytest.MonkeyPatch
) -> None:
    owned.append(take_ownership(tmp_path))

    def refuse(path: Path) -> Iterator[Path]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", refuse)
        with pytest.raises(StorageError, match="permission denied"):
            owned[0].check()
        assert owner_of(tmp_path) is None


@pytest.mark.parametrize("moment", ["a step", "an evaluation", "the end"])
def test_a_lost_owner_writes_nothing_more_and_ends_with_7(
    tmp_path: Path, tiny_settings: Callable[..., Settings], moment: str
) -> None:
    settings = tiny_settings("checkpoint.minutes=1e-9", "sample.every=4")
    reports = train_reports(settings, name="run", runs_dir=tmp_path)
    due = {"a step": Step, "an evaluation": Evaluation, "the end": Step}[moment]
    for report in reports:
        if isinstance(report, due) and report.step == {"a step": 3, "an evaluation": 6, "the end": 12}[moment]:
            break
    lease = add_lease(tmp_path / "run", generation=2)
    before = digest(tmp_path / "run")
    with pytest.raises(RunInUseError, match="has been taken over by process 7 on elsewhere, since ") as caught:
        list(reports)
    assert caught.value.exit_code == 7
    after = digest(tmp_path / "run")
    # It takes only its own lease away.
    assert before.keys() - after.keys() == {str(tmp_path / "run" / ".lease-000001")}
    assert after.items() <= before.items()
    assert lease.exists()


def test_a_stopped_process_that_was_taken_over_writes_nothing_when_it_continues(
    tmp_path: Path, charlm_process: Process, tiny_options: list[str]
) -> None:
    run = Run(tmp_path / "run")
    process = charlm_process("train", *tiny_options, *ENDLESS, f"--runs-dir={tmp_path}", "--run=run")
    wait_until_it_trains(process, run)
    process.send_signal(signal.SIGSTOP)
    wait_until_stopped(process)
    add_lease(run.path, generation=2)
    before = digest(run.checkpoints_folder)
    kept = {name: (run.path / name).read_bytes() for name in ("metrics.jsonl", "config.yaml")}
    process.send_signal(signal.SIGCONT)
    returncode, stdout, stderr = finish(process)
    assert (returncode, stdout) == (7, "")
    assert stderr.startswith(f"charlm: the run {run.path} has been taken over by process 7 on elsewhere")
    # The write that was in progress may still have been finished: at most one checkpoint and its lines.
    after = digest(run.checkpoints_folder)
    steps = [{Path(path).parent.name for path in paths if "step-" in path} for paths in (before, after)]
    assert len(steps[1] - steps[0]) <= 1
    assert all((run.path / name).read_bytes().startswith(content) for name, content in kept.items())


def test_a_stopped_process_continues_if_nobody_took_over(
    tmp_path: Path, charlm_process: Process, charlm_command: Charlm, tiny_options: list[str]
) -> None:
    run, where = Run(tmp_path / "run"), (f"--runs-dir={tmp_path}", "--run=run")
    process = charlm_process("train", *tiny_options, *ENDLESS, *where)
    wait_until_it_trains(process, run)
    process.send_signal(signal.SIGSTOP)
    wait_until_stopped(process)
    os.utime(next(run.path.glob(".lease-*")), (1, 1))
    # Its lease is void, but here the lock shows that it is alive.
    assert charlm_command("train", "--resume", *where).exit_code == 7
    process.send_signal(signal.SIGCONT)
    before = max(run.checkpoint_paths())
    while max(run.checkpoint_paths()) == before:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130


def test_asking_who_owns_a_folder_is_cheap(tmp_path: Path, owned: list[Ownership], endurance: Any) -> None:
    owned.append(take_ownership(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    for name in ("config.yaml", "environment.json", "metrics.jsonl", "samples.jsonl"):
        (tmp_path / name).touch()
    events: Counter[str] = Counter()
    sys.setprofile(lambda _frame, event, _argument: events.update([event]))
    owned[0].check()
    sys.setprofile(None)
    began = time.perf_counter()
    for _ in range(1000):
        owned[0].check()
    endurance.tell("ownership check", f"{(time.perf_counter() - began) * 1000:.0f} microseconds")
    assert 0 < events["call"] + events["c_call"] < 500


# A lease from the future.


@pytest.mark.usefixtures("without_locks")
def test_a_lease_from_the_future_is_dated_anew_and_ends(tmp_path: Path, owned: list[Ownership]) -> None:
    lease = add_lease(tmp_path, age=-287_058_335)
    with pytest.raises(
        RunInUseError, match=r"process 7 on elsewhere.*; if that process is gone, its lease ends in 60 s$"
    ):
        take_ownership(tmp_path)
    assert abs(lease.stat().st_mtime - time.time()) < 30
    os.utime(lease, (time.time() - 61,) * 2)
    assert owner_of(tmp_path) is None
    owned.append(take_ownership(tmp_path))


def test_one_who_only_asks_bounds_a_lease_from_the_future_too(tmp_path: Path) -> None:
    lease = add_lease(tmp_path, age=-1e6)
    assert owner_of(tmp_path) is not None
    assert lease.stat().st_mtime < time.time() + 30


def test_a_lease_from_the_future_that_cannot_be_dated_anew_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = add_lease(tmp_path, age=-1e6)
    dated = os.utime

    def refuse(path: Path, *rest: Any, **options: Any) -> None:
        if path == lease:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        dated(path, *rest, **options)

    monkeypatch.setattr(os, "utime", refuse)
    way_out = f"; if that process is gone, its lease never ends, as its date is in the future: remove {lease}"
    with pytest.raises(RunInUseError) as caught:
        take_ownership(tmp_path)
    assert str(caught.value).endswith(way_out)


# A run whose folder is moved or deleted while it trains.


def at_step(reports: Iterator[TrainingEvent], step: int, kind: type[TrainingEvent] = Step) -> None:
    """Continue until a step."""
    while not (isinstance(report := next(reports), kind) and report.step == step):
        pass


MOMENTS = [(Step, 3), (Evaluation, 6), (Step, 12), (Evaluation, 12), (Samples, 12)]


@pytest.mark.parametrize("moment", one_in(3, MOMENTS))
@pytest.mark.parametrize("to", ["away/run", "../elsewhere/run"])
def test_a_run_that_is_moved_while_it_trains_continues_there_and_equals_the_undisturbed_one(
    tmp_path: Path, tiny_settings: Callable[..., Settings], laboratory: Any, moment: tuple[Any, int], to: str
) -> None:
    runs, settings = tmp_path / "runs", tiny_settings("checkpoint.keep_every=1")
    whole = train(settings, name="run", runs_dir=tmp_path / "whole")
    reports = train_reports(settings, name="run", runs_dir=runs)
    kind, step = moment
    at_step(reports, step, kind)
    found = (runs / to).resolve()
    found.parent.mkdir(exist_ok=True)
    (runs / "run").rename(found)
    with pytest.warns(
        CharlmWarning, match=f"^the folder {runs / 'run'} was moved to {found} while its run was training"
    ):
        *_, end = reports
    assert isinstance(end, End)
    assert end.run == found
    assert not (runs / "run").exists()
    assert owner_of(found) is None
    assert laboratory.trace(Run(found)).difference(laboratory.trace(whole)) is None


@pytest.mark.parametrize("moment", one_in(3, MOMENTS))
@pytest.mark.parametrize("has_parent", [True, False])
def test_a_run_that_is_deleted_while_it_trains_is_saved_next_to_its_place(
    tmp_path: Path, tiny_settings: Callable[..., Settings], moment: tuple[Any, int], has_parent: bool
) -> None:
    runs, settings = tmp_path / "runs", tiny_settings("checkpoint.minutes=1e-9")
    reports = train_reports(settings, name="run", runs_dir=runs)
    kind, step = moment
    at_step(reports, step, kind)
    shutil.rmtree(runs / "run" if has_parent else runs)
    with pytest.warns(
        CharlmWarning, match=f"^the folder {runs / 'run'} was deleted while its run was training: training continues"
    ):
        *_, end = reports
    assert isinstance(end, End)
    saved = Run(runs / "run-rescued")
    assert end.run == saved.path
    assert [path.name for path in runs.iterdir()] == ["run-rescued"]
    assert saved.summary() == end.record
    assert owner_of(saved.path) is None
    assert all(verdict.damage is None for verdict in verify_run(saved))
    assert len(next(iter(charlm.generate(saved, "the ", length=3)))) == 7
    more = tiny_settings("checkpoint.minutes=1e-9", "train.max_steps=14")
    *_, longer = train_reports(more, name="run-rescued", runs_dir=runs, resume=True)
    assert isinstance(longer, End)
    assert longer.record["steps"] == 14


def test_a_run_that_is_deleted_while_its_best_checkpoint_is_measured_keeps_that_one(
    tmp_path: Path, tiny_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = milestones.close_run

    def delete_meanwhile(*arguments: Any, **options: Any) -> Any:
        shutil.rmtree(tmp_path / "run")
        return measured(*arguments, **options)

    monkeypatch.setattr(milestones, "close_run", delete_meanwhile)
    with pytest.warns(CharlmWarning, match="was deleted"):
        *_, end = train_reports(tiny_settings(), name="run", runs_dir=tmp_path)
    saved = Run(tmp_path / "run-rescued")
    assert isinstance(end, End)
    assert saved.summary() == end.record
    assert [step_of(path) for path in saved.checkpoint_paths()] == [end.record["best_step"]]


def test_a_run_that_is_deleted_and_can_be_saved_nowhere_ends_with_6(
    tmp_path: Path, tiny_settings: Callable[..., Settings]
) -> None:
    runs = tmp_path / "runs"
    reports = train_reports(tiny_settings("checkpoint.minutes=1e-9"), name="run", runs_dir=runs)
    at_step(reports, 5)
    shutil.rmtree(runs)
    runs.write_text("a file in its place")
    with pytest.raises(StorageError, match=r"not a directory$"):
        list(reports)
    assert runs.read_text() == "a file in its place"


def test_a_stopped_run_whose_folder_was_moved_prints_the_command_that_resumes_it(
    tmp_path: Path, charlm_process: Process, tiny_options: list[str]
) -> None:
    process = charlm_process("train", *tiny_options, *ENDLESS, f"--runs-dir={tmp_path}", "--run=run")
    wait_until_it_trains(process, Run(tmp_path / "run"))
    (tmp_path / "run").rename(tmp_path / "renamed")
    process.send_signal(signal.SIGTERM)
    code, _, said = finish(process)
    assert code == 143
    moved, stopped = said.splitlines()
    assert moved == f"charlm: the folder {tmp_path / 'run'} was moved to {tmp_path / 'renamed'} while its run was " + (
        "training: training continues there"
    )
    assert f"saved in {tmp_path / 'renamed'}; resume with: " in stopped
    assert run_command(stopped.partition("; resume with: ")[2], "--set=train.max_steps=1").exit_code == 0


# Creation.


def create(folder: Path, name: str | None) -> str | None:
    """Create a run, and return its name; None where it is refused."""
    try:
        run, owner = create_run(Settings(), FACTS, folder=folder, name=name)
    except (ConfigError, RunInUseError):
        return None
    owner.release()
    assert run.settings() == Settings()
    return run.name


def test_fifty_creations_at_once_give_fifty_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Frozen(creation.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Frozen:
            del tz
            return cls(2025, 1, 1)

    monkeypatch.setattr(creation, "datetime", Frozen)
    with ThreadPoolExecutor(50) as pool:
        names = list(pool.map(create, [tmp_path] * 50, [None] * 50))
    numbers = ["", *(f"-{number}" for number in range(2, 51))]
    assert sorted(map(str, names)) == sorted(f"20250101-000000-lstm-256{number}" for number in numbers)
    assert all(Run(tmp_path / str(name)).exists for name in names)


def test_only_one_of_fifty_creations_of_one_name_succeeds(tmp_path: Path) -> None:
    with ThreadPoolExecutor(50) as pool:
        names = list(pool.map(create, [tmp_path] * 50, ["run"] * 50))
    assert [name for name in names if name] == ["run"]


def test_fifty_processes_create_runs_alike(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom charlm.runs.creation import create_run\n"
        "from charlm.settings.schema import Settings\n"
        f"facts = {FACTS!r}\n"
        "sys.stdin.read()\n"
        "for _ in range(10):\n"
        "    run, owner = create_run(Settings(), facts, folder=Path(sys.argv[1]))\n"
        "    print(run.name)\n"
    )
    processes = [start_code(script, tmp_path, stdin=subprocess.PIPE) for _ in range(5)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    names = [name for process in processes for name in finish(process).stdout.split()]
    assert len(names) == len(set(names)) == 50


@pytest.mark.parametrize("begun", ["nothing", "the lock", "the lease", "the checkpoints", "the environment", "a draft"])
def test_a_creation_that_was_killed_is_completed_by_resume_and_only_then(
    tmp_path: Path, charlm_command: Charlm, tiny_options: list[str], begun: str
) -> None:
    stages = ["nothing", "the lock", "the lease", "the checkpoints", "the environment", "a draft"]
    done = stages.index(begun)
    (path := tmp_path / "run").mkdir()
    for stage in stages[1 : done + 1]:
        if stage == "the lock":
            (path / ".lock").touch()
        elif stage == "the lease":
            add_lease(path, owner={**ownership._myself(), "pid": 2**22 + 1})
        elif stage == "the checkpoints":
            (path / "checkpoints").mkdir()
        elif stage == "the environment":
            (path / "environment.json").write_text("{}")
        else:
            (path / ".tmp-config.yaml-17-0123abcd").write_text("model:")
    before = digest(path)
    where = ("--run=run", f"--runs-dir={tmp_path}", "--quiet")
    assert charlm_command("train", *tiny_options, *where).exit_code == 2
    assert digest(path) == before
    assert charlm_command("train", *tiny_options, *where, "--resume").exit_code == 0
    assert (Run(path).summary() or {})["steps"] == 12
    assert not list(path.glob(".tmp-*"))


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize("kind", ["a text", "checkpoints", "environment.json", "a file", "a link", "a dangling link"])
def test_a_foreign_folder_of_that_name_is_never_touched(
    tmp_path: Path, charlm_command: Charlm, tiny_options: list[str], kind: str, resume: bool
) -> None:
    runs, away = tmp_path / "runs", tmp_path / "away"
    runs.mkdir()
    path = runs / "run"
    if kind == "a file":
        path.write_text("mine")
    elif kind.endswith("link"):
        path.symlink_to(away)
    else:
        path.mkdir()
    if kind == "a text":
        (path / "poem.txt").write_text("mine")
    elif kind == "checkpoints":
        (path / "checkpoints").mkdir()
        (path / "checkpoints" / "mine.pt").write_text("mine")
    elif kind == "environment.json":
        (path / "environment.json").write_text("mine")
    elif kind == "a link":
        away.mkdir()
    before, paths = digest(tmp_path), sorted(tmp_path.rglob("*"))
    options = (*tiny_options, "--run=run", f"--runs-dir={runs}", *(["--resume"] if resume else []))
    result = charlm_command("train", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "exists already and is never overwritten" in result.stderr.splitlines()[-1]
    assert (digest(tmp_path), sorted(tmp_path.rglob("*"))) == (before, paths)


@pytest.mark.parametrize("name", ["../out", "/tmp/charlm-out", "..", "a/../../out", "~", "a\\..\\out", "a\0"], ids=repr)
@pytest.mark.parametrize("resume", [True, False])
def test_nothing_is_written_outside_the_runs_folder_whatever_a_name_says(
    tmp_path: Path, tiny_settings: Callable[..., Settings], name: str, resume: bool
) -> None:
    with pytest.raises(ConfigError, match="cannot name a run"):
        list(train_reports(tiny_settings(), name=name, runs_dir=tmp_path / "runs", resume=resume))
    assert list(tmp_path.iterdir()) == []
    assert not Path("/tmp/charlm-out").exists()


def test_a_creation_that_comes_second_leaves_the_first_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = creation.take_ownership

    def after_another(path: Path) -> Ownership:
        # Another process makes the run and is through, between this one's look and its lock.
        monkeypatch.setattr(creation, "take_ownership", taken)
        assert create_run(Settings(), FACTS, folder=tmp_path, name="run", goes_on=True)[1].release() is None
        return taken(path)

    monkeypatch.setattr(creation, "take_ownership", after_another)
    other = Settings.model_validate({"model": {"cell": "rnn"}})
    with pytest.raises(ConfigError, match="exists already"):
        create_run(other, FACTS, folder=tmp_path, name="run", goes_on=True)
    assert Run(tmp_path / "run").settings() == Settings()
    take_ownership(tmp_path / "run").release()


def test_a_creation_that_was_taken_over_writes_nothing_more_and_removes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced = creation.replace_file

    def take_over_after(path: Path, content: bytes) -> None:
        replaced(path, content)
        add_lease(path.parent, generation=2)

    monkeypatch.setattr(creation, "replace_file", take_over_after)
    with pytest.raises(RunInUseError, match="has been taken over by process 7 on elsewhere"):
        create_run(Settings(), FACTS, folder=tmp_path, name="run")
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left == {".lock", ".lease-000002", "checkpoints", "environment.json"}


def test_only_one_of_two_that_start_or_resume_a_run_at_once_trains(
    tmp_path: Path, charlm_process: Process, tiny_options: list[str], endurance: Any
) -> None:
    times = endurance.times(1, 20)
    for number in range(times):
        where = ("--resume", f"--run=run-{number}", f"--runs-dir={tmp_path}", "--quiet", "--json")
        started = [charlm_process("train", *tiny_options, *where) for _ in range(2)]
        outcomes = [finish(process) for process in started]
        codes = sorted(ended.exit_code for ended in outcomes)
        assert codes in ([0, 7], [0, 0]), outcomes
        records = [json.loads(ended.stdout) for ended in outcomes if ended.exit_code == 0]
        # If both end well, the second found the run complete.
        assert all(record == Run(tmp_path / f"run-{number}").summary() for record in records)
        assert [record["step"] for record in Run(tmp_path / f"run-{number}").metrics()[:-1]] == [6, 12]


def test_a_missing_run_is_not_made_by_asking_who_owns_it(tmp_path: Path) -> None:
    assert owner_of(tmp_path / "absent") is None
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RunError, match="there is no unfinished run"):
        list(train_reports(None, runs_dir=tmp_path / "runs", resume=True))
    assert not (tmp_path / "runs").exists()
