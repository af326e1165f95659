"""Folders that are whole or not there, whatever happens to the writer, and damage that a reader notices."""

from __future__ import annotations

import errno
import io
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from charlm.errors import RunError, StorageError
from charlm.runs.durable import MANIFEST, append_line, read_folder, write_file, write_folder

OLD = {"model.bin": bytes(range(64)), "state.json": b'{"step": 1}\n', "empty": b""}
NEW = {"model.bin": bytes(range(64, 0, -1)) * 4, "state.json": b'{"step": 2}\n', "empty": b""}
OPERATIONS = ("mkdir", "open", "fdopen", "fsync", "rename")


class PowerCut(BaseException):
    """The machine stops: nothing that comes after is done."""


class DyingDisk:
    """Count the writer's file operations, and fail at one of them.

    Args:
        dies_at: the number of the failing operation, from 0; None never fails.
        failure: what it raises.
        for_good: whether every later operation fails as well.
    """

    def __init__(self, dies_at: int | None, failure: BaseException, *, for_good: bool = False) -> None:
        self.dies_at, self.failure, self.for_good = dies_at, failure, for_good
        self.num_operations = 0
        self.is_cleaning = False
        self.remove = shutil.rmtree

    def advance(self) -> None:
        """Count one operation, and fail if its time has come."""
        if self.is_cleaning:
            return
        number = self.num_operations
        self.num_operations += 1
        if self.dies_at is not None and (number == self.dies_at or (self.for_good and number > self.dies_at)):
            raise self.failure

    def wrapped(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        """Return an operation that is counted first."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.advance()
            return operation(*args, **kwargs)

        return counted

    def open_file(self, descriptor: int, mode: str) -> io.BufferedWriter:
        """Stand in for os.fdopen."""
        assert mode == "wb"
        return TearingFile(descriptor, self)

    def clean(self, folder: Path, *, ignore_errors: bool) -> None:
        """Stand in for shutil.rmtree: its own operations are not counted, on a dead machine it does nothing."""
        if self.for_good and self.dies_at is not None and self.num_operations > self.dies_at:
            raise self.failure
        self.is_cleaning = True
        self.remove(folder, ignore_errors=ignore_errors)
        self.is_cleaning = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Put the disk under the functions of `os` that a writer uses."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shutil, "rmtree", self.clean)
            for name in OPERATIONS:
                patch.setattr(os, name, self.wrapped(self.open_file if name == "fdopen" else getattr(os, name)))
            yield


class TearingFile(io.BufferedWriter):
    """A file of which only half is written when the disk dies in the middle."""

    def __init__(self, descriptor: int, disk: DyingDisk) -> None:
        super().__init__(io.FileIO(descriptor, "wb"))
        self.disk = disk

    def write(self, content: Any) -> int:
        half = len(content) // 2
        written = super().write(content[:half])
        self.flush()
        self.disk.advance()
        return written + super().write(content[half:])


def count_operations(tmp_path: Path) -> int:
    """Return how many operations one whole save takes."""
    disk = DyingDisk(None, PowerCut())
    (tmp_path / "counted").mkdir()
    with disk.installed():
        write_folder(tmp_path / "counted" / "step-1", NEW)
    return disk.num_operations


def drafts(folder: Path) -> list[str]:
    """Return what a writer has left behind."""
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_folder(tmp_path / "new" / "step-1", OLD)
    assert read_folder(tmp_path / "new" / "step-1") == OLD
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["step-1"]


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), StorageError),
        (OSError(errno.EIO, os.strerror(errno.EIO)), StorageError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["full", "broken", "interrupted"],
)
def test_a_writer_that_fails_at_any_operation_leaves_no_draft_and_the_earlier_folder(
    tmp_path: Path, failure: BaseException, raised: type[BaseException]
) -> None:
    num_operations = count_operations(tmp_path)
    # A folder; each file opened, wrapped, written in two halves and synced; both folders synced, one rename.
    assert num_operations == 1 + 4 * (len(NEW) + 1) + 2 * 2 + 1
    for dies_at in range(num_operations):
        folder = tmp_path / str(dies_at)
        write_folder(folder / "step-1", OLD)
        with DyingDisk(dies_at, failure).installed(), pytest.raises(raised):
            write_folder(folder / "step-2", NEW)
        assert drafts(folder) == []
        assert read_folder(folder / "step-1") == OLD
        # Only a failure after the rename leaves the new folder, and then it is whole.
        if (folder / "step-2").exists():
            assert dies_at >= num_operations - 2
            assert read_folder(folder / "step-2") == NEW


def test_a_power_cut_at_any_operation_leaves_the_new_folder_whole_or_absent(tmp_path: Path) -> None:
    num_operations = count_operations(tmp_path)
    num_whole = 0
    for dies_at in range(num_operations):
        folder = tmp_path / str(dies_at)
        write_folder(folder / "step-1", OLD)
        with DyingDisk(dies_at, PowerCut(), for_good=True).installed(), pytest.raises(PowerCut):
            write_folder(folder / "step-2", NEW)
        assert read_folder(folder / "step-1") == OLD
        if (folder / "step-2").exists():
            num_whole += 1
            assert read_folder(folder / "step-2") == NEW
        else:
            # Nothing that the dead writer left is in the way of the next.
            write_folder(folder / "step-2", NEW)
            assert read_folder(folder / "step-2") == NEW
    assert num_whole == 2


@pytest.mark.parametrize("seed", [0, 1])
def test_a_killed_writer_leaves_only_whole_folders(tmp_path: Path, seed: int) -> None:
    writer = (
        "import itertools, pathlib, sys\n"
        "from charlm.runs.durable import write_folder\n"
        "for step in itertools.count():\n"
        "    write_folder(pathlib.Path(sys.argv[1]) / f'step-{step}', {'a': bytes(100_000), 'b': b'x' * step})\n"
    )
    with subprocess.Popen([sys.executable, "-c", writer, str(tmp_path / "runs")]) as process:
        while not (tmp_path / "runs" / "step-0").exists():
            time.sleep(0.005)
        time.sleep(random.Random(seed).uniform(0.0, 0.1))
        process.kill()
    written = [path for path in (tmp_path / "runs").iterdir() if not path.name.startswith(".")]
    assert sorted(int(path.name.removeprefix("step-")) for path in written) == list(range(len(written)))
    for path in written:
        assert len(read_folder(path)["b"]) == int(path.name.removeprefix("step-"))


def test_no_single_flipped_bit_of_any_file_goes_unnoticed(tmp_path: Path) -> None:
    write_folder(tmp_path / "step-1", OLD)
    for file in (tmp_path / "step-1").iterdir():
        with file.open("r+b", buffering=0) as stream:
            for position, byte in enumerate(file.read_bytes()):
                for damaged in (*(byte ^ 1 << bit for bit in range(8)), byte):
                    stream.seek(position)
                    stream.write(bytes([damaged]))
                    if damaged != byte:
                        with pytest.raises(RunError, match="step-1"):
                            read_folder(tmp_path / "step-1")
    assert read_folder(tmp_path / "step-1") == OLD


@pytest.mark.parametrize("name", ["model.bin", "state.json", MANIFEST])
@pytest.mark.parametrize("length", [0, 1, 5, -1])
def test_a_truncated_file_is_noticed(tmp_path: Path, name: str, length: int) -> None:
    write_folder(tmp_path / "step-1", OLD)
    file = tmp_path / "step-1" / name
    content = file.read_bytes()
    # JSON does not need its last line end: what is cut there changes nothing, and so it loses its brace too.
    file.write_bytes(content[: len(content) - 2] if length < 0 else content[:length])
    with pytest.raises(RunError, match=r"is not a whole checkpoint|is damaged"):
        read_folder(tmp_path / "step-1")


@pytest.mark.parametrize("name", [*OLD, MANIFEST])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    write_folder(tmp_path / "step-1", OLD)
    (tmp_path / "step-1" / name).unlink()
    with pytest.raises(RunError, match=name):
        read_folder(tmp_path / "step-1")


def test_a_longer_file_is_noticed(tmp_path: Path) -> None:
    write_folder(tmp_path / "step-1", OLD)
    with (tmp_path / "step-1" / "empty").open("ab") as file:
        file.write(b"\n")
    with pytest.raises(RunError, match="empty is damaged"):
        read_folder(tmp_path / "step-1")


def test_a_newer_format_is_refused_as_such(tmp_path: Path) -> None:
    write_folder(tmp_path / "step-1", OLD)
    path = tmp_path / "step-1" / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
    with pytest.raises(RunError, match="has format 2 and this charlm reads 1: a newer one wrote it"):
        read_folder(tmp_path / "step-1")


@pytest.mark.parametrize("manifest", ["[]", "{}", '{"format": 1}', '{"format": 1, "files": {"empty": {}}}', "null"])
def test_a_manifest_of_another_shape_is_no_whole_checkpoint(tmp_path: Path, manifest: str) -> None:
    write_folder(tmp_path / "step-1", OLD)
    (tmp_path / "step-1" / MANIFEST).write_text(manifest)
    with pytest.raises(RunError, match="is not a whole checkpoint"):
        read_folder(tmp_path / "step-1")


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(StorageError, match="exists"):
        write_file(tmp_path / "file", b"theirs")
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_an_existing_folder_is_never_overwritten(tmp_path: Path) -> None:
    write_folder(tmp_path / "step-1", OLD)
    with pytest.raises(StorageError, match="cannot write"):
        write_folder(tmp_path / "step-1", NEW)
    assert read_folder(tmp_path / "step-1") == OLD
    assert drafts(tmp_path) == []


def test_a_full_disk_is_named_in_a_sentence(tmp_path: Path) -> None:
    disk = DyingDisk(3, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    with disk.installed(), pytest.raises(StorageError, match=r"^cannot write \S+: no space left on device$"):
        write_folder(tmp_path / "step-1", NEW)


def test_lines_are_appended_one_by_one_and_a_missing_folder_is_a_sentence(tmp_path: Path) -> None:
    for number in range(3):
        append_line(tmp_path / "lines", {"number": number, "text": "分开\n"})
    lines = (tmp_path / "lines").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [{"number": number, "text": "分开\n"} for number in range(3)]
    with pytest.raises(StorageError, match="no such file or directory"):
        append_line(tmp_path / "absent" / "lines", {})
