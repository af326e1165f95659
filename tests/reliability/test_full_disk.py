"""A full disk: what was saved stays, training continues, and nothing is lost if space comes back."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pairs import one_in
from typer.testing import Result

from charlm.errors import StorageError
from charlm.runs.checkpoints import load_checkpoint
from charlm.runs.durable import append_lines
from charlm.runs.run import Run
from charlm.training import saving
from charlm.training.events import End, Step, TrainingEvent, Unsaved
from charlm.training.launch import train_reports
from charlm.training.verification import verify_run

Charlm = Callable[..., Result]
FULL = ("ENOSPC", "EDQUOT")
CLOSED = ("EROFS", "EACCES")
SETTINGS = ("train.max_steps=16", "train.eval_every=3", "sample.every=2", "checkpoint.minutes=1e-9")
OF_FULL = re.compile(r"cannot write \S+: [a-z ]+: [\d,]+ bytes are needed and [\d,]+ are free")
OF_CLOSED = re.compile(r"cannot (write|remove|clear) \S+: (read-only file system|permission denied)")


class Disk:
    """The disk of this process, with a limit.

    Args:
        root: only what is written below it counts.
        kind: of the error once the limit is reached: an errno's name. A full disk refuses bytes and new names, a closed
            one every change.
    """

    def __init__(self, root: Path, kind: str) -> None:
        self.root, self.kind = root, kind
        self.written, self.limit = 0, float("inf")

    def free(self) -> None:
        """Take the limit away."""
        self.limit = float("inf")

    def fill(self) -> None:
        """Take nothing more from now on."""
        self.limit = self.written

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Intercept calls between Python and the system."""
        write, plain_open = os.write, os.open

        def limited_write(descriptor: int, content: Any) -> int:
            if not Path(f"/proc/self/fd/{descriptor}").readlink().is_relative_to(self.root):
                return write(descriptor, content)
            if len(content) and self.written >= self.limit:
                raise self._error()
            # As much as still fits is written, because a full disk tears files.
            taken = write(descriptor, content[: int(min(len(content), self.limit - self.written))])
            self.written += taken
            return taken

        def limited_open(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
            if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
                self._take_name(path, is_new=not os.path.lexists(path))
            return plain_open(path, flags, *args, **kwargs)

        patch.setattr(os, "write", limited_write)
        patch.setattr(os, "open", limited_open)
        for name in ("mkdir", "rename", "replace", "unlink", "rmdir", "truncate"):
            patch.setattr(os, name, self._limited(getattr(os, name), is_new=name == "mkdir"))

    def _limited(self, call: Callable[..., Any], *, is_new: bool) -> Callable[..., Any]:
        def limited(path: Any, *args: Any, **kwargs: Any) -> Any:
            self._take_name(path, is_new=is_new)
            return call(path, *args, **kwargs)

        return limited

    def _take_name(self, path: Any, *, is_new: bool) -> None:
        if not str(path).startswith(str(self.root)):
            return
        if self.written >= self.limit and (is_new or self.kind in CLOSED):
            raise self._error()
        # A name takes room too, so that the limit can fall between any two operations.
        self.written += 1

    def _error(self) -> OSError:
        number = getattr(errno, self.kind)
        return OSError(number, os.strerror(number))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again after each step."""
    monkeypatch.setattr(saving, "RETRY_SECONDS", 0.0)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Disk]]:
    """Yield what limits the disk below a folder of this test."""
    with monkeypatch.context() as patch:

        def limit(name: str, kind: str) -> Disk:
            patch.undo()
            patch.setattr(saving, "RETRY_SECONDS", 0.0)
            patch.setattr(os, "fsync", lambda _: None)
            made = Disk(tmp_path / name, kind)
            made.install(patch)
            return made

        yield limit


class Trial:
    """One run on a limited disk.

    Args:
        make: makes its settings.
        folder: its run folder.
        disk: under it.
    """

    def __init__(self, make: Callable[..., Any], folder: Path, disk: Disk) -> None:
        self.settings, self.run, self.disk = make(*SETTINGS), Run(folder / "run"), disk
        self.unsaved: list[str] = []

    def train(self, *, filled_after: int | None = None, freed_after: int | None = None) -> StorageError | None:
        """Start or resume the run until it has ended or the disk ends it; return its error.

        Args:
            filled_after: the step after which the disk is full; None leaves it.
            freed_after: how many steps after the first refusal there is space again; None is never.
        """
        freed_at: int | None = None
        report: TrainingEvent | None = None
        try:
            for report in train_reports(self.settings, name="run", runs_dir=self.run.path.parent, resume=True):
                if isinstance(report, Unsaved):
                    self.unsaved.append(report.sentence)
                    self.assert_what_was_saved_stays()
                    freed_at = report.step + freed_after if freed_after is not None and freed_at is None else freed_at
                elif isinstance(report, Step) and report.step == filled_after:
                    self.disk.fill()
                elif isinstance(report, Step) and report.step == freed_at:
                    self.disk.free()
        except StorageError as error:
            return error
        assert isinstance(report, End)
        return None

    def assert_what_was_saved_stays(self) -> None:
        """Check that the last checkpoint loads, and that no line is torn."""
        if self.run.checkpoint_paths():
            load_checkpoint(self.run, "last")
        for name in ("metrics.jsonl", "samples.jsonl"):
            path = self.run.path / name
            content = path.read_bytes() if path.exists() else b""
            assert content == b"" or content.endswith(b"\n")
            assert all(json.loads(line) for line in content.splitlines())


@pytest.fixture(scope="module")
def whole(tiny_settings: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory, laboratory: Any) -> Any:
    """Return the trace of the run on a disk without limits, its last checkpoint only, and what it writes in all."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saving, "RETRY_SECONDS", 0.0)
        (disk := Disk(folder, "ENOSPC")).install(patch)
        Trial(tiny_settings, folder, disk).train()
    return last_of(laboratory.trace(Run(folder / "run"))), disk.written


def last_of(trace: Any) -> Any:
    """Return a trace with its last checkpoint only: which others there are depends on when the disk was full."""
    last = max(trace.checkpoints)
    return replace(trace, checkpoints={last: trace.checkpoints[last]})


@pytest.mark.parametrize("comes_back", [True, False], ids=["space comes back", "it does not"])
@pytest.mark.parametrize("kind", one_in(2, [*FULL, *CLOSED]))
def test_a_disk_that_takes_no_more_at_any_moment_loses_nothing(
    tmp_path: Path,
    tiny_settings: Callable[..., Any],
    disk: Callable[..., Disk],
    whole: Any,
    laboratory: Any,
    effort: Any,
    endurance: Any,
    kind: str,
    comes_back: bool,
) -> None:
    expected, num_bytes = whole
    random = Random(f"{endurance.seed} {kind} {comes_back}")
    sentence = OF_FULL if kind in FULL else OF_CLOSED
    times, went_on = effort.times(4, 20, 50) if kind == "ENOSPC" else effort.times(1, 3, 50), 0
    for number in range(times):
        limited = disk(f"{number}", kind)
        trial = Trial(tiny_settings, tmp_path / f"{number}", limited)
        limited.limit = random.randrange(num_bytes * number // times, num_bytes * (number + 1) // times)
        error = trial.train(freed_after=random.randrange(1, 4) if comes_back else None)
        if error is not None:
            assert error.exit_code == 6
            assert str(tmp_path) in str(error)
            trial.assert_what_was_saved_stays()
            limited.free()
            assert trial.train() is None
        # Before the run is there, a full disk may have no room for a name either.
        is_during = [] if error is None or not trial.unsaved else [str(error)]
        assert all(sentence.fullmatch(each) for each in trial.unsaved + is_during), (trial.unsaved, error)
        went_on += bool(trial.unsaved)
        assert last_of(laboratory.trace(trial.run)).difference(expected) is None, number
        assert all(verdict.damage is None for verdict in verify_run(trial.run))
        assert not list(trial.run.path.rglob(".tmp-*"))
    assert went_on >= times // 2
    name = f"full disk, {kind}, {'space comes back' if comes_back else 'it does not'}"
    endurance.tell(name, f"{times} of {times} intact and identical, {went_on} went on training meanwhile")


@pytest.mark.parametrize("kind", FULL)
def test_training_continues_with_a_warning_and_ends_with_6_if_space_never_comes_back(
    tmp_path: Path, charlm_command: Charlm, tiny_options: list[str], disk: Callable[..., Disk], kind: str
) -> None:
    limited = disk("runs", kind)
    limited.limit = 30_000
    options = (*tiny_options, *(f"--set={setting}" for setting in SETTINGS), "--set=checkpoint.minutes=60")
    where = ("--run=run", f"--runs-dir={tmp_path / 'runs'}")
    result = charlm_command("train", *options, *where)
    assert (result.exit_code, result.stdout) == (6, "")
    *lines, last = result.stderr.splitlines()
    warnings = [line for line in lines if line.startswith("warning: ")]
    assert warnings
    for line in warnings:
        said = re.fullmatch(r"warning: the checkpoint of step \d+ could not be saved: (.*); training continues", line)
        assert said
        assert OF_FULL.fullmatch(said[1])
    assert OF_FULL.fullmatch(last.removeprefix("charlm: "))
    assert "epoch 1  step 15  " in "".join(lines)
    limited.free()
    assert charlm_command("train", "--resume", *where, "--quiet").exit_code == 0


@pytest.mark.parametrize("before", [b"", b'{"step": 1}\n'], ids=["new", "longer"])
def test_lines_are_appended_whole_or_not_at_all(tmp_path: Path, disk: Callable[..., Disk], before: bytes) -> None:
    lines, limited = ['{"step": 2}', '{"step": "é"}'], disk("", "ENOSPC")
    content = "".join(f"{line}\n" for line in lines).encode()
    for room in range(len(content)):
        path = tmp_path / f"{room}.jsonl"
        limited.free()
        path.write_bytes(before)
        limited.limit = limited.written + 1 + room
        with pytest.raises(StorageError, match=rf"{len(content)} bytes are needed and [\d,]+ are free"):
            append_lines(path, lines)
        assert path.read_bytes() == before
        limited.free()
        append_lines(path, lines)
        assert path.read_bytes() == before + content


def test_a_small_file_system_that_is_really_full(
    tmp_path: Path, tiny_settings: Callable[..., Any], whole: Any, laboratory: Any
) -> None:
    (small := tmp_path / "small").mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", small], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("no file system can be mounted here; the same with made-up errors is tested above")

    class Ballast(Disk):
        """A file that takes whatever space there is."""

        def fill(self) -> None:
            free = shutil.disk_usage(small).free
            (small / "ballast").write_bytes(bytes(free - free % 4096))

        def free(self) -> None:
            (small / "ballast").unlink(missing_ok=True)

    try:
        for name, freed_after in (("back", 3), ("never", None)):
            trial = Trial(tiny_settings, small / name, Ballast(small, "ENOSPC"))
            error = trial.train(filled_after=4, freed_after=freed_after)
            assert trial.unsaved
            said = trial.unsaved if freed_after else [*trial.unsaved, str(error)]
            assert all(OF_FULL.fullmatch(sentence) for sentence in said), said
            assert (error is None) is (freed_after is not None)
            trial.disk.free()
            assert trial.train() is None
            assert last_of(laboratory.trace(trial.run)).difference(whole[0]) is None
    finally:
        subprocess.run(["umount", small], check=True)
