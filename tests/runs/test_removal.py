"""A removal takes the runs that were named and nothing else, whatever names, links, owners, kills and full disks do."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import run_code

import charlm
from charlm.errors import ConfigError, RunError, RunInUseError, StorageError
from charlm.library.training import train
from charlm.runs import claims, durable, ownership
from charlm.runs.heirs import find_heirs
from charlm.runs.ownership import take_ownership
from charlm.runs.removal import plan_removals, remove
from charlm.runs.run import Run, find_run, list_runs
from charlm.settings.schema import Settings
from charlm.sweeps.events import SweepEnd

ELSEWHERE = {"host": "elsewhere", "machine": "another", "pid": 7, "since": "2025-01-01T00:00:00+00:00"}
SWEEP = "base: base.yaml\nname: cells\nspace:\n  model.cell: [rnn, gru]\n"


@pytest.fixture
def runs(trained: Run, tmp_path: Path) -> Path:
    """Return a folder of two runs."""
    for name in ("a", "b"):
        shutil.copytree(trained.path, tmp_path / "runs" / name)
    return tmp_path / "runs"


@pytest.fixture
def swept(write_sweep: Callable[..., Path], tmp_path: Path, _in_threads: None) -> Path:
    """Return the folder of a sweep of two runs."""
    file = write_sweep(SWEEP, "train.max_steps=2", "train.eval_every=1")
    *_, end = charlm.sweep_reports(file, jobs=1, runs_dir=tmp_path / "runs")
    assert isinstance(end, SweepEnd)
    return end.folder


def contents(folder: Path) -> dict[str, bytes | None]:
    """Return everything in a folder but locks and leases."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if not path.name.startswith((".lock", ".lease"))
    }


def add_lease(folder: Path) -> None:
    """Have a process on another machine own a folder."""
    (folder / ".lease-000001").write_text(json.dumps(ELSEWHERE), encoding="utf-8")


def test_what_was_named_goes_and_nothing_else(runs: Path) -> None:
    (runs / "notes.txt").write_text("mine", encoding="utf-8")
    before = contents(runs)
    (removed,) = charlm.remove_runs("a", runs_dir=runs)
    assert contents(runs) == {name: content for name, content in before.items() if Path(name).parts[0] != "a"}
    assert (removed.name, removed.path, removed.state, removed.num_runs) == ("a", runs / "a", "finished", 1)
    assert [run.name for run in list_runs(runs)] == ["b"]


def test_the_sizes_are_those_of_the_files(runs: Path) -> None:
    (planned,) = charlm.remove_runs("a", runs_dir=runs, dry_run=True)
    assert planned.num_bytes == sum(path.stat().st_size for path in (runs / "a").rglob("*") if path.is_file())
    assert planned.num_checkpoints == len(Run(runs / "a").checkpoint_paths())


def test_a_dry_run_writes_nothing(runs: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    assert [each.name for each in charlm.remove_runs("a", "b", runs_dir=runs, dry_run=True)] == ["a", "b"]
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before


def test_a_run_is_found_by_any_of_its_names_and_counts_once(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs.parent)
    names = ("a", "runs/a", str(runs / "a"), "runs/../runs/a", "b/../a")
    assert [each.name for each in charlm.remove_runs(*names, Run(runs / "a"))] == ["a"]
    assert [run.name for run in list_runs(runs)] == ["b"]


@pytest.mark.parametrize(
    ("names", "error", "words"),
    [
        ((), ConfigError, "name the runs to remove"),
        (("",), ConfigError, "the name of a run is empty"),
        (("a", "c"), RunError, "there is no run c in "),
        (("a", "."), RunError, r"\. is the folder of the runs and not a run: name the runs in it, as in \./\*"),
        (("a", ".."), RunError, r"there is no run \.\. in "),
        (("a", "a/checkpoints"), RunError, "there is no run a/checkpoints in "),
        (("a", "a/checkpoints/.."), ConfigError, r"does not say which run is meant: give its name \(a\)"),
        (("a", "a/../../runs"), RunError, "is the folder of the runs and not a run"),
        (("a", "link"), RunError, "link is a link to a, and links are not followed"),
        (("a", "away"), RunError, "away is a link to .*, and links are not followed"),
        (("a", "dangling"), RunError, "there is no run dangling: .* which does not exist"),
        (("a", "project"), RunError, "has a config.yaml, but it is not a run of charlm's"),
        (("a", "b"), RunError, r"holds something that charlm has not written, .* \(notes.md\)"),
    ],
)
def test_nothing_goes_if_anything_that_was_named_cannot_go(
    runs: Path,
    trained: Run,
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...],
    error: type[Exception],
    words: str,
) -> None:
    monkeypatch.chdir(runs)
    (runs / "link").symlink_to("a")
    (runs / "away").symlink_to(trained.path)
    (runs / "dangling").symlink_to("nowhere")
    (runs / "project" / "checkpoints").mkdir(parents=True)
    (runs / "project" / "config.yaml").write_text("model: mine\n", encoding="utf-8")
    (runs / "b" / "notes.md").write_text("mine", encoding="utf-8")
    before, far = contents(runs), contents(trained.path)
    with pytest.raises(error, match=words):
        charlm.remove_runs(*names, runs_dir=runs)
    assert (contents(runs), contents(trained.path)) == (before, far)


def test_the_current_folder_is_no_name(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs / "a")
    with pytest.raises(ConfigError, match=r"\. does not say which run is meant: give its name \(a\)"):
        charlm.remove_runs(".", runs_dir=runs)


def test_every_missing_run_is_named(runs: Path) -> None:
    with pytest.raises(RunError) as caught:
        charlm.remove_runs("c", "a", "d", runs_dir=runs)
    assert [line.partition(" in ")[0] for line in str(caught.value).split("\n")] == [
        "there is no run c",
        "there is no run d",
    ]


@pytest.mark.parametrize(
    "name", ["notes.md", "checkpoints/notes.md", "checkpoints/step-00000060/model.onnx", "nested/config.yaml"]
)
def test_a_file_that_is_not_charlms_keeps_the_run(runs: Path, name: str) -> None:
    path = runs / "a" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(RunError, match="holds something that charlm has not written"):
        charlm.remove_runs("a", runs_dir=runs)
    assert path.read_text(encoding="utf-8") == "mine"


def test_a_link_in_a_run_keeps_it_and_what_it_leads_to(runs: Path, tmp_path: Path) -> None:
    shutil.move(runs / "a" / "checkpoints", tmp_path / "elsewhere")
    (runs / "a" / "checkpoints").symlink_to(tmp_path / "elsewhere")
    before = contents(tmp_path)
    with pytest.raises(RunError, match=r"holds something that charlm has not written, .* \(checkpoints\)"):
        charlm.remove_runs("a", runs_dir=runs)
    assert contents(tmp_path) == before


def test_what_desktops_and_killed_writers_leave_keeps_nothing(runs: Path) -> None:
    run = runs / "a"
    for path in (run, run / "checkpoints"):
        (path / ".DS_Store").touch()
    draft = run / "checkpoints" / ".tmp-step-00000080-12-0123abcd"
    shutil.copytree(Run(run).checkpoint_paths()[-1], draft)
    (run / ".tmp-config.yaml-12-0123abcd").touch()
    assert len(charlm.remove_runs("a", runs_dir=runs)) == 1
    assert not run.exists()


@pytest.mark.parametrize("damage", ["config", "environment", "metrics", "checkpoint"])
def test_a_damaged_run_goes_like_any_other(runs: Path, damage: str) -> None:
    run = Run(runs / "a")
    if damage == "environment":
        (run.path / "environment.json").unlink()
    elif damage == "checkpoint":
        (run.checkpoint_paths()[0] / "manifest.json").unlink()
    else:
        (run.path / {"config": "config.yaml", "metrics": "metrics.jsonl"}[damage]).write_bytes(b"\xff{")
    (removed,) = charlm.remove_runs("a", runs_dir=runs)
    assert removed.state == {"config": "damaged", "metrics": "unfinished"}.get(damage, "finished")
    assert not run.path.exists()


# Runs in use.


def test_a_run_in_use_keeps_all_that_were_named(runs: Path) -> None:
    mine = take_ownership(runs / "b")
    before = contents(runs)
    try:
        with pytest.raises(RunInUseError, match=rf"the run .*b is in use by process {os.getpid()} on "):
            charlm.remove_runs("a", "b", runs_dir=runs)
    finally:
        mine.release()
    assert contents(runs) == before
    add_lease(runs / "b")
    with pytest.raises(RunInUseError, match="in use by process 7 on elsewhere, since 2025-01-01"):
        charlm.remove_runs("a", "b", runs_dir=runs)
    assert contents(runs) == before


def test_a_process_that_sleeps_longer_than_its_lease_is_still_the_owner(runs: Path) -> None:
    mine = take_ownership(runs / "b")
    (lease,) = (runs / "b").glob(".lease-*")
    os.utime(lease, (time.time() - 1000,) * 2)
    before = contents(runs)
    try:
        with pytest.raises(RunInUseError, match="is in use by process"):
            charlm.remove_runs("a", "b", runs_dir=runs)
    finally:
        mine.release()
    assert contents(runs) == before


def test_nobody_starts_a_run_while_it_goes(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[str] = []

    def trying(folder: Path) -> Path:
        try:
            take_ownership(folder)
        except RunInUseError as error:
            refused.append(str(error))
        return durable.set_aside(folder)

    monkeypatch.setattr("charlm.runs.removal.set_aside", trying)
    charlm.remove_runs("a", runs_dir=runs)
    assert len(refused) == 1
    assert not (runs / "a").exists()


def test_a_run_that_was_trained_after_it_was_shown_stays(runs: Path) -> None:
    removals = plan_removals(["a", "b"], folder=runs)
    with (runs / "b" / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write("{}\n")
    with pytest.raises(RunError, match="b has changed since it was looked at: nothing was removed"):
        list(remove(removals))
    assert [run.name for run in list_runs(runs)] == ["a", "b"]
    shutil.rmtree(runs / "b")
    with pytest.raises(RunError, match="b is not there any more: nothing was removed"):
        list(remove(removals))


def test_a_full_disk_does_not_keep_a_run(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ownership, "_take_lease", lambda *_, **__: full())
    charlm.remove_runs("a", runs_dir=runs)
    assert [run.name for run in list_runs(runs)] == ["b"]
    add_lease(runs / "b")
    with pytest.raises(RunInUseError):
        charlm.remove_runs("b", runs_dir=runs)
    monkeypatch.setattr(ownership, "_take_lease", lambda *_, **__: (_ for _ in ()).throw(PermissionError(errno.EACCES)))
    (runs / "b" / ".lease-000001").unlink()
    with pytest.raises(StorageError):
        charlm.remove_runs("b", runs_dir=runs)
    assert [run.name for run in list_runs(runs)] == ["b"]


# Kills.

# This removes a run, and is killed before an operation on the disk.
KILLED = """
import os, sys
from charlm.runs.removal import remove_runs
folder, left = sys.argv[1], int(sys.argv[2])
def counted(call):
    def counted_call(*arguments, **options):
        global left
        if left == 0:
            os._exit(9)
        left -= 1
        return call(*arguments, **options)
    return counted_call
for name in ("rename", "unlink", "rmdir"):
    setattr(os, name, counted(getattr(os, name)))
remove_runs("a", runs_dir=folder)
"""


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_a_kill_leaves_a_whole_run_or_none_and_the_next_removal_clears_up(runs: Path, trained: Run, every: int) -> None:
    before = contents(runs / "a")
    outcomes: list[bool] = []
    for left in range(0, 100, every):
        if not (runs / "a").exists():
            shutil.copytree(trained.path, runs / "a")
        ended = run_code(KILLED, str(runs), str(left))
        is_whole = (runs / "a").exists()
        outcomes.append(is_whole)
        assert [run.name for run in list_runs(runs)] == (["a", "b"] if is_whole else ["b"])
        if is_whole:
            assert contents(runs / "a") == before
        else:
            with pytest.raises(RunError):
                find_run("a", folder=runs)
            assert all(not Run(path).exists for path in runs.glob(".removed-*"))
        if ended.exit_code == 0:
            break
        assert ended.exit_code == 9
        assert is_whole or list(runs.glob(".removed-*"))
        # What this one has left, the next one removes before it begins.
        claims.sweep_removed(runs)
        assert list(runs.glob(".removed-*")) == []
    # Some kills came before the run was set aside, and many after it.
    assert outcomes == sorted(outcomes, reverse=True)
    assert 0 < sum(outcomes) < len(outcomes) - 5 // every


def test_the_next_removal_clears_up_after_a_killed_one(runs: Path) -> None:
    assert run_code(KILLED, str(runs), "9").exit_code == 9
    assert len(list(runs.glob(".removed-*"))) == 1
    charlm.remove_runs("b", runs_dir=runs)
    assert list(runs.iterdir()) == []


def test_the_leftovers_of_a_process_that_still_removes_them_stay(runs: Path) -> None:
    aside = runs / ".removed-12-0123abcd"
    (runs / "a").rename(aside)
    mine = take_ownership(aside)
    (runs / ".removed-mine").mkdir()
    claims.sweep_removed(runs)
    assert aside.exists()
    mine.release()
    claims.sweep_removed(runs)
    assert sorted(path.name for path in runs.iterdir()) == [".removed-mine", "b"]


def test_two_processes_may_remove_the_same_leftovers(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aside = durable.set_aside(runs / "a")
    rmtree = shutil.rmtree

    def slower(path: Path) -> None:
        monkeypatch.undo()
        rmtree(path / "checkpoints")
        raise FileNotFoundError(errno.ENOENT, "gone")

    monkeypatch.setattr(shutil, "rmtree", slower)
    durable.remove_aside(aside)
    assert [path.name for path in runs.iterdir()] == ["b"]


# Sweeps.


def test_a_whole_sweep_goes_with_its_runs(swept: Path) -> None:
    assert {"sweep.yaml", "trials.jsonl", "results.json"} <= {path.name for path in swept.iterdir()}
    size = sum(path.stat().st_size for path in swept.rglob("*") if path.is_file())
    (removed,) = charlm.remove_runs("cells", runs_dir=swept.parent)
    assert (removed.name, removed.state, removed.num_runs, removed.num_bytes) == ("cells", "sweep", 2, size)
    assert list(swept.parent.iterdir()) == []


def test_a_trial_goes_by_itself_and_the_sweep_trains_it_again(swept: Path, tmp_path: Path) -> None:
    trial, other = list_runs(swept)
    (removed,) = charlm.remove_runs(f"cells/{trial.name}", runs_dir=swept.parent)
    assert (removed.name, removed.sweep) == (f"cells/{trial.name}", "cells")
    assert list_runs(swept) == [other]
    *_, end = charlm.sweep_reports(tmp_path / "sweep.yaml", jobs=1, runs_dir=swept.parent)
    assert isinstance(end, SweepEnd)
    assert {run.name for run in list_runs(swept)} == {trial.name, other.name}


def test_a_trial_that_is_named_with_its_sweep_counts_once(swept: Path) -> None:
    trial, _ = list_runs(swept)
    assert [each.name for each in charlm.remove_runs(trial, "cells", runs_dir=swept.parent)] == ["cells"]


def test_a_sweep_is_in_use_if_it_or_any_of_its_runs_is(swept: Path) -> None:
    trial, other = list_runs(swept)
    before = contents(swept)
    for folder, names in ((swept, ("cells", f"cells/{other.name}")), (trial.path, ("cells",))):
        mine = take_ownership(folder)
        for name in names:
            with pytest.raises(RunInUseError):
                charlm.remove_runs(name, runs_dir=swept.parent)
        mine.release()
    assert contents(swept) == before


def test_a_trial_that_starts_at_the_last_moment_brings_its_sweep_back(
    swept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, _ = list_runs(swept)
    before = contents(swept)

    def begin_first(folder: Path) -> Path:
        take_ownership(trial.path)
        return durable.set_aside(folder)

    monkeypatch.setattr("charlm.runs.removal.set_aside", begin_first)
    with pytest.raises(RunInUseError, match=f"the run {trial.path} is in use"):
        charlm.remove_runs("cells", runs_dir=swept.parent)
    assert contents(swept) == before


@pytest.mark.parametrize("name", ["notes.md", "mine/notes.md", "TRIAL/notes.md"])
def test_a_file_that_is_not_charlms_keeps_a_sweep(swept: Path, name: str) -> None:
    path = swept / name.replace("TRIAL", list_runs(swept)[0].name)
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(RunError, match="holds something that charlm has not written"):
        charlm.remove_runs("cells", runs_dir=swept.parent)
    assert path.exists()


# Runs that started from others.


@pytest.fixture
def make_heir(runs: Path, tiny_settings: Callable[..., Settings]) -> Callable[[str], Run]:
    """Return a function that trains a run that starts from the run a."""

    def make(name: str) -> Run:
        return train(tiny_settings(f"start.run='{runs / 'a'}'", "train.max_steps=2"), name=name, runs_dir=runs)

    return make


def test_heirs_are_named_and_keep_working(
    runs: Path, make_heir: Callable[[str], Run], tiny_settings: Callable[..., Settings]
) -> None:
    heir = make_heir("heir")
    (removed,) = charlm.remove_runs("a", runs_dir=runs)
    assert (removed.heirs, removed.needed_by) == (("heir",), ())
    text = charlm.generate(heir, "the ", length=10)
    assert len(text[0]) == 14
    *_, end = charlm.train_reports(
        tiny_settings(f"start.run='{runs / 'a'}'", "train.max_steps=4"), name="heir", runs_dir=runs, resume=True
    )
    assert end.record["steps"] == 4  # pyright: ignore[reportAttributeAccessIssue]


def test_an_heir_that_has_not_begun_is_said_to_need_its_parent(runs: Path, make_heir: Callable[[str], Run]) -> None:
    heir = make_heir("heir")
    shutil.rmtree(heir.checkpoints_folder)
    (planned,) = plan_removals(["a"], folder=runs)
    assert (planned.heirs, planned.needed_by) == ((), ("heir",))
    # Whoever removes both loses nothing.
    planned, _ = plan_removals(["a", "heir"], folder=runs)
    assert (planned.heirs, planned.needed_by) == ((), ())


def test_heirs_are_found_after_the_folder_of_runs_has_moved(runs: Path, make_heir: Callable[[str], Run]) -> None:
    make_heir("heir")
    moved = runs.rename(runs.with_name("moved"))
    assert plan_removals(["a"], folder=moved)[0].heirs == ("heir",)
    assert plan_removals(["b"], folder=moved)[0].heirs == ()
    (moved / "loop").symlink_to("loop")
    for path in ("a\0b", "x" * 5000, "loop"):
        facts = json.loads((moved / "heir" / "environment.json").read_text(encoding="utf-8"))
        facts["parent_path"] = str(moved / path)
        (moved / "heir" / "environment.json").write_text(json.dumps(facts), encoding="utf-8")
        assert plan_removals(["b"], folder=moved)[0].heirs == ()
    (moved / "heir" / "environment.json").write_text("{", encoding="utf-8")
    assert find_heirs([moved]) == []
