"""A writer that dies at any operation, and whatever a power cut may leave on a disk: the newest checkpoint is resumed.

Two kinds of end are tried. A process is really ended at its k-th file operation, for every k. And the operations are
watched, and after each the states are made that a disk may be in if the power goes then: what was not synced is there,
partly there, zeros, garbage or not there at all; a name that was not synced is the old one or the new one.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charlm.library.training import train
from charlm.runs.checkpoints import Checkpoint, load_checkpoint
from charlm.runs.creation import create_run
from charlm.runs.durable import append_lines, replace_file
from charlm.runs.history import read_lines
from charlm.runs.ownership import LOCK_NAME, take_ownership
from charlm.runs.run import CONFIG, METRICS, Run
from charlm.runs.tensors import Array
from charlm.runs.writer import RunWriter
from charlm.settings.loading import dump_settings
from charlm.settings.schema import Settings
from charlm.training.experiment import prepare
from charlm.training.launch import train_reports

OPERATIONS = ("mkdir", "open", "write", "fsync", "rename", "replace", "unlink", "rmdir", "ftruncate", "truncate")
DIED = 77
# What says whose the folder is belongs to a process, not to the run.
OWNERSHIP = (".lease-", ".now-")
CONTENTS = ("whole", "old", "half", "zeros", "garbage")

Make = Callable[..., Settings]
Tree = Mapping[str, bytes | None]


class File:
    """A file: its content, and how much of it is certain to be on the disk."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = self.synced = content

    def may_be(self, kind: str) -> bytes:
        """Return what the disk may have of it."""
        if kind == "whole" or self.content == self.synced:
            return self.content
        if not self.content.startswith(self.synced):
            return self.synced if kind == "old" else self.content
        tail = len(self.content) - len(self.synced)
        tails = {"old": b"", "half": self.content[len(self.synced) :][: tail // 2], "zeros": bytes(tail)}
        return self.synced + tails.get(kind, bytes(byte ^ 0xA5 for byte in self.content[-tail:]))


@dataclass(frozen=True, eq=False)
class Change:
    """A change of one folder's names: something appears under a name, loses it, or gets another."""

    node: File | Folder
    old: str | None
    new: str | None


class Folder:
    """A folder: the names that are surely on the disk, and the changes since."""

    def __init__(self) -> None:
        self.synced: dict[str, File | Folder] = {}
        self.changes: list[Change] = []

    def names(self, changes: list[Change]) -> dict[str, File | Folder]:
        """Return its names after some changes; one that needs another that has not happened has not either."""
        names = dict(self.synced)
        for change in changes:
            if change.old is not None and names.get(change.old) is not change.node:
                continue
            if isinstance(names.get(change.new or ""), Folder):
                continue
            if change.old is not None:
                del names[change.old]
            if change.new is not None:
                names[change.new] = change.node
        return names

    def now(self) -> dict[str, File | Folder]:
        """Return its names as a living process sees them."""
        return self.names(self.changes)

    def possible(self) -> list[list[Change]]:
        """Return which of its changes a power cut may leave: some first ones, or all but one."""
        number = len(self.changes)
        first = [self.changes[:end] for end in range(number + 1)]
        return first + [self.changes[:at] + self.changes[at + 1 :] for at in range(number - 1)]


@dataclass
class Disk:
    """A disk that follows what is done to a folder, and tells in what states a power cut may leave it."""

    root: Path
    top: Folder = field(default_factory=Folder)
    open_files: dict[int, File | Folder] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.top = self._loaded(self.root)

    def _loaded(self, path: Path) -> Folder:
        folder = Folder()
        for entry in path.iterdir():
            folder.synced[entry.name] = self._loaded(entry) if entry.is_dir() else File(entry.read_bytes())
        return folder

    def find(self, path: Any, dir_fd: int | None) -> tuple[Folder, str] | None:
        """Return where a path lies and its name there; None outside of this disk."""
        if dir_fd is not None:
            folder = self.open_files.get(dir_fd)
            return (folder, str(path)) if isinstance(folder, Folder) else None
        if not Path(path).is_relative_to(self.root) or Path(path) == self.root:
            return None
        folder = self.top
        *parents, name = Path(path).relative_to(self.root).parts
        for parent in parents:
            inner = folder.now()[parent]
            assert isinstance(inner, Folder)
            folder = inner
        return folder, name

    def did(self, name: str, args: tuple[Any, ...], options: Mapping[str, Any], result: Any) -> None:
        """Follow an operation that has been done."""
        if name in ("write", "fsync", "ftruncate"):
            self._did_with_open(name, args, result)
            return
        place = self.find(args[0], options.get("dir_fd"))
        if name == "open" and place is None and Path(args[0]) == self.root:
            self.open_files[result] = self.top
        if place is None:
            return
        folder, own = place
        node = folder.now().get(own)
        if name == "open":
            if node is None:
                node = File()
                folder.changes.append(Change(node, None, own))
            self.open_files[result] = node
        elif name == "mkdir":
            folder.changes.append(Change(Folder(), None, own))
        elif name in ("rename", "replace"):
            target = self.find(args[1], None)
            assert node is not None
            assert target is not None
            assert target[0] is folder
            folder.changes.append(Change(node, own, target[1]))
        elif name in ("unlink", "rmdir"):
            assert node is not None
            folder.changes.append(Change(node, own, None))
        else:
            pytest.fail(f"the disk does not know {name}")

    def _did_with_open(self, name: str, args: tuple[Any, ...], result: Any) -> None:
        node = self.open_files.get(args[0])
        if isinstance(node, Folder):
            assert name == "fsync"
            node.synced, node.changes = node.now(), []
        elif node is not None and name == "write":
            node.content += bytes(args[1])[:result]
        elif node is not None and name == "ftruncate":
            node.content = node.content[: args[1]]
        elif node is not None:
            node.synced = node.content

    def states(self) -> Iterator[Tree]:
        """Yield what a power cut may leave now."""
        dirty = [folder for folder in self._folders(self.top) if folder.changes]
        for names in product(*(folder.possible() for folder in dirty)):
            chosen = dict(zip(dirty, names, strict=True))
            for kind in CONTENTS:
                yield dict(self._tree(self.top, "", chosen, kind))

    def _folders(self, folder: Folder) -> Iterator[Folder]:
        yield folder
        for node in {**folder.synced, **folder.now()}.values():
            if isinstance(node, Folder):
                yield from self._folders(node)

    def _tree(
        self, folder: Folder, prefix: str, chosen: Mapping[Folder, list[Change]], kind: str
    ) -> Iterator[tuple[str, bytes | None]]:
        for name, node in folder.names(chosen.get(folder, [])).items():
            if name.startswith(OWNERSHIP):
                continue
            if isinstance(node, File):
                yield prefix + name, node.may_be(kind)
            else:
                yield prefix + name, None
                yield from self._tree(node, f"{prefix}{name}/", chosen, kind)

    @contextmanager
    def watching(self, after_each: Callable[[], None]) -> Iterator[None]:
        """Follow what this process does, and call a function after each operation."""

        def wrapped(name: str) -> Callable[..., Any]:
            operation = getattr(os, name)

            def watched(*args: Any, **options: Any) -> Any:
                result = operation(*args, **options)
                self.did(name, args, options, result)
                after_each()
                return result

            return watched

        with pytest.MonkeyPatch.context() as patch:
            for name in OPERATIONS:
                patch.setattr(os, name, wrapped(name))
            yield


def put_down(tree: Tree, folder: Path) -> None:
    """Make a state's files."""
    folder.mkdir(parents=True)
    for name, content in sorted(tree.items()):
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)


def possible_states(run: Path, action: Callable[[], None]) -> tuple[int, list[Tree], list[Tree]]:
    """Return how many operations an action takes, the states during it, and those once it is done."""
    during: dict[frozenset[Any], Tree] = {}
    after: dict[frozenset[Any], Tree] = {}
    number = 0

    def gather(into: dict[frozenset[Any], Tree]) -> None:
        for tree in disk.states():
            into.setdefault(frozenset(tree.items()), tree)

    def count() -> None:
        nonlocal number
        number += 1
        gather(during)

    disk = Disk(run)
    gather(during)
    with disk.watching(count):
        action()
    gather(after)
    return number, list(during.values()), list(after.values())


def ends_at(number: int, action: Callable[[], None]) -> bool:
    """Do something in a process that ends at an operation, a write half done; say whether it came to that."""
    process = os.fork()
    if process == 0:  # pragma: no cover
        try:
            _end_at(number)
            action()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert code in (0, DIED)
    return code == DIED


def _end_at(number: int) -> None:
    done = 0

    def wrapped(name: str) -> Callable[..., Any]:
        operation = getattr(os, name)

        def counted(*args: Any, **options: Any) -> Any:
            nonlocal done
            if done == number:
                if name == "write":
                    operation(args[0], bytes(args[1])[: len(args[1]) // 2])
                os._exit(DIED)
            done += 1
            return operation(*args, **options)

        return counted

    for name in OPERATIONS:
        setattr(os, name, wrapped(name))


def results(run: Run) -> Any:
    """Return all results of a run, except for clock times."""
    last = load_checkpoint(run, "last")
    tensors = {**last.model, **{f"training.{name}": tensor for name, tensor in last.training.items()}}
    return (
        {name: tensor.tobytes() for name, tensor in tensors.items()},
        without_clock(last.state),
        without_clock(run.metrics()),
        run.samples(),
        [path.name for path in run.checkpoint_paths()],
        dump_settings(run.settings()),
    )


def without_clock(value: Any) -> Any:
    """Return JSON values without those that differ from one run to the next."""
    if isinstance(value, list):
        return [without_clock(each) for each in value]
    if isinstance(value, Mapping):
        return {key: without_clock(each) for key, each in value.items() if "second" not in key and key != "run"}
    return value


@dataclass(frozen=True)
class Saving:
    """A save in the middle of a run, as it was done once.

    Args:
        name: of the scenario.
        before: the run's folder as it was.
        records: the lines that waited.
        checkpoint: that was saved.
        options: of the save.
        previous: the newest checkpoint before.
        outcome: the results of the run.
    """

    name: str
    before: Path
    records: Mapping[str, list[str]]
    checkpoint: Checkpoint
    options: Mapping[str, Any]
    previous: Checkpoint
    outcome: Any

    def action(self, folder: Path) -> Callable[[], None]:
        """Return what does it again in a copy of the run."""
        run = Run(folder)

        def save() -> None:
            writer = RunWriter(run, take_ownership(folder))
            for name, lines in self.records.items():
                writer._pending[name][:] = lines
            writer.save(self.checkpoint, **self.options)
            writer.close()

        return save


# Where the run is stopped, and where it ends: the next save is a new step's, with a rotation of what is older; or that
# of the stop's own step once more, with its evaluation; or with the run's end.
DROPOUT = ("model.num_layers=2", "model.dropout=0.2")
SCENARIOS = {"first records": (2, 18), "new step": (9, 18), "same step": (8, 18), "last step": (15, 15)}


@pytest.fixture(scope="module", params=SCENARIOS)
def saving(request: pytest.FixtureRequest, tiny_settings: Make, tmp_path_factory: pytest.TempPathFactory) -> Saving:
    """Return a save to be cut short."""
    stop_at, max_steps = SCENARIOS[request.param]
    folder = tmp_path_factory.mktemp("saving")
    settings = tiny_settings(f"train.max_steps={max_steps}", "train.eval_every=4", *DROPOUT)
    whole = train(settings, name="run", runs_dir=folder / "whole")
    steps = 0

    def stop() -> str | None:
        return "interrupt" if steps >= stop_at else None

    for report in train_reports(settings, name="run", runs_dir=folder / "before", should_stop=stop):
        steps = getattr(report, "step", steps)
    before = folder / "before" / "run"
    previous = load_checkpoint(Run(before), "last")
    assert previous.step == stop_at
    shutil.copytree(before, folder / "seen" / "run")
    seen: list[tuple[Any, ...]] = []
    with pytest.MonkeyPatch.context() as patch:
        save = RunWriter.save

        def watched(writer: RunWriter, checkpoint: Checkpoint, **options: Any) -> None:
            kept = {**vars(checkpoint), "model": _copied(checkpoint.model), "training": _copied(checkpoint.training)}
            records = {name: list(lines) for name, lines in writer._pending.items()}
            seen.append((records, Checkpoint(**kept), options))
            save(writer, checkpoint, **options)

        patch.setattr(RunWriter, "save", watched)
        resumed = train(name="run", runs_dir=folder / "seen", resume=True)
    outcome = results(whole)
    assert results(resumed) == outcome
    records, checkpoint, options = seen[0]
    assert any(records.values())
    assert (checkpoint.step == stop_at) == (request.param in ("same step", "last step"))
    return Saving(request.param, before, records, checkpoint, options, previous, outcome)


def _copied(tensors: Mapping[str, Array]) -> dict[str, Array]:
    return {name: tensor.copy() for name, tensor in tensors.items()}


def is_the_same(found: Checkpoint, saved: Checkpoint) -> bool:
    """Return whether two checkpoints are the same."""
    return (
        found.step == saved.step
        and {**found.state} == {**saved.state, "step": saved.step}
        and all(np.array_equal(found.model[name], tensor) for name, tensor in saved.model.items())
        and all(np.array_equal(found.training[name], tensor) for name, tensor in saved.training.items())
    )


def newest(run: Run, saving: Saving) -> str:
    """Return which checkpoint the loader finds: the new one or the one before, bit for bit, nothing else."""
    with warnings.catch_warnings():
        # No damaged checkpoint has a checkpoint's name.
        warnings.simplefilter("error")
        found = load_checkpoint(run, "last")
        load_checkpoint(run, "best")
    if is_the_same(found, saving.checkpoint):
        lines = [json.dumps(record, ensure_ascii=False) for _, record in read_lines(run.path / METRICS)]
        assert set(saving.records[METRICS]) <= set(lines), "a checkpoint stands without its records"
        return "new"
    assert is_the_same(found, saving.previous)
    return "previous"


def goes_on(run: Path, outcome: Any) -> None:
    """Resume a run and compare it with the undisturbed one."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed = train(name=run.name, runs_dir=run.parent, resume=True)
    assert results(resumed) == outcome
    hidden = [path.name for path in run.rglob(".*") if not path.name.startswith((*OWNERSHIP, LOCK_NAME))]
    assert hidden == [], "a draft was left"


def test_a_save_that_dies_at_any_operation_leaves_the_newest_whole_checkpoint(
    saving: Saving, tmp_path: Path, effort: Any, endurance: Any
) -> None:
    found: list[str] = []
    # In the quick suite each seventh operation, of each scenario other ones.
    every, each_goes_on = effort.times(7, 1, 1), effort.times(42, 30, 1)
    first = list(SCENARIOS).index(saving.name) % every
    for number in range(first, 1_000, every):
        folder = tmp_path / str(number) / "run"
        shutil.copytree(saving.before, folder)
        is_cut = ends_at(number, saving.action(folder))
        found.append(newest(Run(folder), saving))
        if number % each_goes_on == first:
            goes_on(folder, saving.outcome)
        shutil.rmtree(tmp_path / str(number))
        if not is_cut:
            break
    assert 50 // every < len(found) < 500
    # Once the new one is there it stays.
    assert found == sorted(found, reverse=True)
    assert set(found) == {"previous", "new"}
    endurance.tell(
        f"die at file operation k of a save, {saving.name}", f"{len(found)} operations, all found and gone on"
    )


def test_whatever_a_power_cut_leaves_of_a_save_the_newest_whole_checkpoint_is_found(
    saving: Saving, tmp_path: Path, effort: Any, endurance: Any
) -> None:
    shutil.copytree(saving.before, tmp_path / "run")
    number, during, after = possible_states(tmp_path / "run", saving.action(tmp_path / "run"))
    # One in so many, and all once it is done.
    states = [*((tree, False) for tree in during[:: effort.times(48, 8, 1)]), *((tree, True) for tree in after)]
    found: set[str] = set()
    for at, (tree, is_done) in enumerate(states):
        folder = tmp_path / str(at) / "run"
        put_down(tree, folder)
        result = newest(Run(folder), saving)
        found.add(result)
        assert result == "new" or not is_done
        if at % max(1, len(states) // effort.times(2, 12, 200)) == 0:
            goes_on(folder, saving.outcome)
        shutil.rmtree(tmp_path / str(at))
    assert found == {"previous", "new"}
    assert len(during) > 100
    endurance.tell(
        f"power cut during a save, {saving.name}", f"{number} operations, {len(states):,} states of the disk"
    )


@pytest.fixture(scope="module")
def small(tiny_settings: Make, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Any]:
    """Return settings of a short run, and what it comes to."""
    settings = tiny_settings("train.max_steps=3", "train.eval_every=2")
    return settings, results(train(settings, name="run", runs_dir=tmp_path_factory.mktemp("small")))


def test_a_creation_that_dies_at_any_operation_can_be_resumed(
    small: tuple[Settings, Any], tmp_path: Path, endurance: Any
) -> None:
    settings, outcome = small
    experiment = prepare(settings)
    made: list[bool] = []
    for number in range(500):
        runs = tmp_path / str(number)
        is_cut = ends_at(
            number, lambda runs=runs: create_run(experiment.settings, experiment.facts, folder=runs, name="run")
        )
        run = Run(runs / "run")
        made.append(run.exists)
        if run.exists:
            assert run.settings() == experiment.settings
            assert run.environment() == experiment.facts
        if number % endurance.times(5, 1) == 0:
            assert results(train(settings, name="run", runs_dir=runs, resume=True)) == outcome
        if not is_cut:
            break
    assert 10 < len(made) < 100
    assert made == sorted(made)
    endurance.tell("die at file operation k of a creation", f"{len(made)} operations")


def test_whatever_a_power_cut_leaves_of_a_creation_is_a_whole_run_or_none(
    small: tuple[Settings, Any], tmp_path: Path, endurance: Any
) -> None:
    settings, outcome = small
    experiment = prepare(settings)
    (tmp_path / "disk").mkdir()

    def create() -> None:
        create_run(experiment.settings, experiment.facts, folder=tmp_path / "disk" / "runs", name="run")[1].release()

    number, during, after = possible_states(tmp_path / "disk", create)
    for at, tree in enumerate([*during, *after]):
        put_down(tree, tmp_path / str(at))
        run = Run(tmp_path / str(at) / "runs" / "run")
        assert run.exists or at < len(during), "a run that was made is gone"
        if run.exists:
            assert run.settings() == experiment.settings
            assert run.environment() == experiment.facts
            assert run.checkpoint_paths() == []
        if at % max(1, (len(during) + len(after)) // endurance.times(8, 100)) == 0:
            assert results(train(settings, name="run", runs_dir=run.path.parent, resume=True)) == outcome
    endurance.tell(
        "power cut during a creation", f"{number} operations, {len(during) + len(after):,} states of the disk"
    )


def test_a_configuration_that_is_replaced_is_the_old_or_the_new_one_at_any_operation(
    trained: Run, tmp_path: Path, endurance: Any
) -> None:
    old = trained.settings()
    new = old.model_copy(update={"train": old.train.model_copy(update={"max_steps": 80})})
    content = dump_settings(new).encode()
    found: list[bool] = []
    for number in range(100):
        shutil.copytree(trained.path, tmp_path / str(number))
        is_cut = ends_at(number, lambda number=number: replace_file(tmp_path / str(number) / CONFIG, content))
        settings = Run(tmp_path / str(number)).settings()
        assert settings in (old, new)
        found.append(settings == new)
        if not is_cut:
            break
    assert found == sorted(found)
    assert set(found) == {False, True}
    number, during, after = possible_states(
        shutil.copytree(trained.path, tmp_path / "disk"),
        lambda: replace_file(tmp_path / "disk" / CONFIG, content),
    )
    for at, tree in enumerate([*during, *after]):
        put_down(tree, tmp_path / f"state {at}")
        settings = Run(tmp_path / f"state {at}").settings()
        assert settings == new if at >= len(during) else settings in (old, new)
    told = f"{number} operations, {len(during) + len(after)} states of the disk"
    endurance.tell("replacing a configuration", told)


def test_records_that_are_cut_are_whole_or_cut_at_any_operation(
    saving: Saving, tmp_path: Path, effort: Any, endurance: Any
) -> None:
    shutil.copytree(saving.before, tmp_path / "before" / "run")
    # What a process has written that died before its next checkpoint.
    until, before = saving.previous.state["recorded_until"], Run(saving.before).metrics()
    clock = {"seconds": 1.0, "chars_per_second": 1.0}
    evaluation = {"kind": "evaluation", "step": 98, "epoch": 1, "chars_seen": 9, "epoch_seconds": None, **clock}
    evaluation |= {"learning_rate": 0.1, "gradient_norm": 0.1}
    end = {"kind": "end", "run": "run", "stopped_by": "epochs", "steps": 98, "epochs": 1, "best_step": 98, **clock}
    later = [evaluation, end | {"direction": "forward"}]
    append_lines(tmp_path / "before" / "run" / METRICS, map(json.dumps, later))

    def cut(folder: Path) -> Callable[[], None]:
        def action() -> None:
            writer = RunWriter(Run(folder), take_ownership(folder))
            writer.cut_records(until)
            writer.close()

        return action

    lengths: list[int] = []
    for number in range(200):
        folder = tmp_path / str(number) / "run"
        shutil.copytree(tmp_path / "before" / "run", folder)
        is_cut = ends_at(number, cut(folder))
        records = Run(folder).metrics()
        assert records in (before, before + later)
        lengths.append(len(records))
        if number % effort.times(12, 6, 1) == 0:
            goes_on(folder, saving.outcome)
        if not is_cut:
            break
    assert lengths == sorted(lengths, reverse=True)
    assert set(lengths) == {len(before), len(before) + 2}
    endurance.tell(f"die at file operation k of cutting records, {saving.name}", f"{len(lengths)} operations")


def test_the_disk_that_loses_what_was_not_synced_is_that_of_a_careless_writer_too(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "file").write_bytes(b"old")

    def write() -> None:
        descriptor = os.open(tmp_path / "disk" / "draft", os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, b"newer")
        os.close(descriptor)
        os.replace(tmp_path / "disk" / "draft", tmp_path / "disk" / "file")  # noqa: PTH105

    _, during, after = possible_states(tmp_path / "disk", write)
    assert stat.S_ISREG((tmp_path / "disk" / "file").stat().st_mode)
    contents = {tree.get("file") for tree in [*during, *after]}
    # The classic mistake: the name is there before its content.
    assert {b"old", b"newer", b"", b"ne", bytes(5)} <= contents
    assert len(contents) == 6
