"""Files and folders are complete or absent whatever happens to the writer, and a reader notices all damage."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from processes import start_code

from charlm.errors import RunError, StorageError
from charlm.runs import durable, untrusted
from charlm.runs.durable import (
    ASIDE,
    DRAFT_NAME,
    MANIFEST,
    append_lines,
    cut_file,
    remove_folder,
    replace_file,
    storage_error,
    sweep_drafts,
    sync_file,
    sync_folder,
    write_folder,
)
from charlm.runs.formats import FORMAT
from charlm.runs.json_records import json_file
from charlm.runs.untrusted import MAX_JSON_DEPTH, MAX_MANIFEST_BYTES, open_folder, open_regular, parse_json

OLD = {"model.bin": bytes(range(64)), "state.json": b'{"step": 1}\n', "empty": b""}
NEW = {"model.bin": bytes(range(64, 0, -1)) * 4, "state.json": b'{"step": 2}\n', "empty": b""}
NAMES = tuple(OLD)
# All functions through which the writer changes a disk; opening for reading counts too, which does no harm.
OPERATIONS = ("mkdir", "open", "write", "fsync", "rename", "replace", "unlink", "rmdir", "ftruncate")
FULL_DISK = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class PowerCut(BaseException):
    """The machine stops: nothing after this is done."""


class DyingDisk:
    """Count the file operations of this process, and fail at one of them.

    Args:
        dies_at: the number of the failing operation, from 0; None never fails.
        failure: what it raises.
        for_good: whether every later operation fails as well.
        operations: of `os`, that are counted.
    """

    def __init__(
        self,
        dies_at: int | None,
        failure: BaseException,
        *,
        for_good: bool = False,
        operations: tuple[str, ...] = OPERATIONS,
    ) -> None:
        self.dies_at, self.failure, self.for_good, self.operations = dies_at, failure, for_good, operations
        self.num_operations = 0

    def advance(self) -> None:
        """Count one operation, and fail if its time has come."""
        number = self.num_operations
        self.num_operations += 1
        if self.dies_at is not None and (number == self.dies_at or (self.for_good and number > self.dies_at)):
            raise self.failure

    def wrapped(self, name: str) -> Callable[..., Any]:
        """Return an operation that is counted before it runs; a failing write has written half."""
        operation = getattr(os, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            try:
                self.advance()
            except BaseException:
                if name == "write":
                    operation(args[0], bytes(args[1])[: len(args[1]) // 2])
                raise
            return operation(*args, **kwargs)

        return counted

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Make the functions of `os` use this disk."""
        with pytest.MonkeyPatch.context() as patch:
            for name in self.operations:
                patch.setattr(os, name, self.wrapped(name))
            yield


def read(path: Path) -> dict[str, bytes]:
    """Return the files of a written folder after comparing each with the manifest."""
    folder = open_folder(path, NAMES)
    return {name: folder.read(name, at_most=1 << 20) for name in folder.entries}


def found(folder: Path) -> dict[str, bytes]:
    """Return what a reader finds of step-2: the new folder, else the one that was renamed."""
    path = folder / "step-00000002"
    return read(path if path.exists() else path.with_name(path.name + ASIDE))


def drafts(folder: Path) -> list[str]:
    """Return what a writer has left behind."""
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def start(folder: Path, *, has_old: bool = True) -> Path:
    """Return a folder with step-1, and with step-2 if that is to be replaced."""
    folder.mkdir()
    write_folder(folder / "step-00000001", OLD)
    if has_old:
        write_folder(folder / "step-00000002", OLD)
    return folder


def count_operations(tmp_path: Path, *, has_old: bool) -> int:
    """Return how many operations a complete save takes."""
    disk = DyingDisk(None, PowerCut())
    folder = start(tmp_path / "counted", has_old=has_old)
    with disk.installed():
        write_folder(folder / "step-00000002", NEW)
    return disk.num_operations


def test_a_written_folder_can_be_read_back(tmp_path: Path) -> None:
    write_folder(tmp_path / "step-1", OLD)
    assert read(tmp_path / "step-1") == OLD
    assert [path.name for path in tmp_path.iterdir()] == ["step-1"]


@pytest.mark.parametrize("has_old", [False, True], ids=["new", "replacing"])
@pytest.mark.parametrize(
    ("failure", "raised"),
    [(FULL_DISK, StorageError), (OSError(errno.EIO, "broken"), StorageError), (KeyboardInterrupt(), KeyboardInterrupt)],
    ids=["full", "broken", "interrupted"],
)
def test_a_writer_that_fails_at_any_operation_leaves_no_draft_and_keeps_the_former_folder(
    tmp_path: Path, failure: BaseException, raised: type[BaseException], has_old: bool
) -> None:
    for dies_at in range(count_operations(tmp_path, has_old=has_old)):
        folder = start(tmp_path / str(dies_at), has_old=has_old)
        with DyingDisk(dies_at, failure).installed(), pytest.raises(raised):
            write_folder(folder / "step-00000002", NEW)
        assert read(folder / "step-00000001") == OLD
        left = [path.name for path in folder.iterdir() if path.name not in ("step-00000001", "step-00000002")]
        # The replaced folder may be left as a draft, which the next writer removes.
        assert all(name == f"step-00000002{ASIDE}" or DRAFT_NAME.fullmatch(name) for name in left)
        if has_old:
            assert found(folder) in (OLD, NEW)
        elif (folder / "step-00000002").exists():
            assert found(folder) == NEW
        else:
            assert left == []


@pytest.mark.parametrize("has_old", [False, True], ids=["new", "replacing"])
def test_a_power_cut_at_any_operation_leaves_the_new_or_the_former_folder(tmp_path: Path, has_old: bool) -> None:
    outcomes: set[bytes] = set()
    for dies_at in range(count_operations(tmp_path, has_old=has_old)):
        folder = start(tmp_path / str(dies_at), has_old=has_old)
        with DyingDisk(dies_at, PowerCut(), for_good=True).installed(), pytest.raises(PowerCut):
            write_folder(folder / "step-00000002", NEW)
        assert read(folder / "step-00000001") == OLD
        if has_old or (folder / "step-00000002").exists():
            content = found(folder)
            assert content in (OLD, NEW)
            outcomes.add(content["model.bin"])
        # Nothing that the dead writer left hinders the next one.
        sweep_drafts(folder)
        write_folder(folder / "step-00000002", NEW)
        assert read(folder / "step-00000002") == NEW
        assert sorted(path.name for path in folder.iterdir()) == ["step-00000001", "step-00000002"]
    assert outcomes == ({OLD["model.bin"], NEW["model.bin"]} if has_old else {NEW["model.bin"]})


@pytest.mark.parametrize("seed", [0, 1])
def test_a_killed_writer_leaves_only_complete_folders(tmp_path: Path, seed: int) -> None:
    writer = (
        "import itertools, pathlib, sys\n"
        "from charlm.runs.durable import write_folder\n"
        "for step in itertools.count():\n"
        "    write_folder(pathlib.Path(sys.argv[1]) / f'step-{step}', {'a': bytes(100_000), 'b': b'x' * step})\n"
    )
    with start_code(writer, tmp_path) as process:
        while not (tmp_path / "step-0").exists():
            time.sleep(0.005)
        time.sleep(random.Random(seed).uniform(0.0, 0.1))
        process.kill()
    written = [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
    assert sorted(int(path.name.removeprefix("step-")) for path in written) == list(range(len(written)))
    for path in written:
        assert len(open_folder(path, ("a", "b")).read("b", at_most=1 << 20)) == int(path.name.removeprefix("step-"))


def test_no_single_flipped_bit_of_any_file_goes_unnoticed(tmp_path: Path) -> None:
    write_folder(tmp_path / "step-1", OLD)
    for file in (tmp_path / "step-1").iterdir():
        with file.open("r+b", buffering=0) as stream:
            for position, byte in enumerate(file.read_bytes()):
                for damaged in (*(byte ^ 1 << bit for bit in range(8)), byte):
                    stream.seek(position)
                    stream.write(bytes([damaged]))
                    # The blanks and the version in a manifest say nothing about the files.
                    if damaged != byte:
                        try:
                            content = read(tmp_path / "step-1")
                        except RunError as error:
                            assert "step-1" in str(error)  # noqa: PT017
                        else:
                            assert file.name == MANIFEST
                            assert content == OLD
    assert read(tmp_path / "step-1") == OLD


@pytest.mark.parametrize("name", ["model.bin", "state.json", MANIFEST])
@pytest.mark.parametrize("length", [0, 1, 5, -1])
def test_a_truncated_file_is_noticed(tmp_path: Path, name: str, length: int) -> None:
    write_folder(tmp_path / "step-1", OLD)
    file = tmp_path / "step-1" / name
    content = file.read_bytes()
    # JSON does not need its last line end, so the closing brace is cut off too.
    file.write_bytes(content[: len(content) - 2] if length < 0 else content[:length])
    with pytest.raises(RunError, match=r"is not the JSON|is damaged"):
        read(tmp_path / "step-1")


@pytest.mark.parametrize("name", [*OLD, MANIFEST])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    write_folder(tmp_path / "step-1", OLD)
    (tmp_path / "step-1" / name).unlink()
    with pytest.raises(RunError, match=rf"cannot read .*{name}: no such file"):
        read(tmp_path / "step-1")


def test_a_longer_file_is_noticed(tmp_path: Path) -> None:
    write_folder(tmp_path / "step-1", OLD)
    with (tmp_path / "step-1" / "empty").open("ab") as file:
        file.write(b"\n")
    with pytest.raises(RunError, match="empty is damaged"):
        read(tmp_path / "step-1")


def test_a_large_file_is_hashed_before_it_takes_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(untrusted, "SMALL", 16)
    write_folder(tmp_path / "step-1", OLD)
    assert read(tmp_path / "step-1") == OLD
    (tmp_path / "step-1" / "model.bin").write_bytes(bytes(64))
    monkeypatch.setattr(untrusted, "sha256", lambda _: pytest.fail("it was read into memory"))
    with pytest.raises(RunError, match=r"model\.bin is damaged"):
        open_folder(tmp_path / "step-1", NAMES).read("model.bin", at_most=1 << 20)


def test_a_file_that_changes_between_hashing_and_reading_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change_after(*args: Any) -> Any:
        digest = hash_file(*args)
        (tmp_path / "step-1" / "model.bin").write_bytes(bytes(64))
        return digest

    hash_file = untrusted.file_digest
    monkeypatch.setattr(untrusted, "SMALL", 16)
    monkeypatch.setattr(untrusted, "file_digest", change_after)
    write_folder(tmp_path / "step-1", OLD)
    with pytest.raises(RunError, match=r"model\.bin is damaged"):
        read(tmp_path / "step-1")


def test_a_file_larger_than_expected_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    write_folder(tmp_path / "step-1", OLD)
    folder = open_folder(tmp_path / "step-1", NAMES)
    (tmp_path / "step-1" / "model.bin").unlink()
    with pytest.raises(RunError, match=r"model\.bin is too large: it has 64 bytes, and at most 63 are expected"):
        folder.read("model.bin", at_most=63)


@pytest.mark.parametrize(
    ("version", "install"),
    [("7.1.0", "charlm 7.1.0 or newer"), ("\x1b[31mevil", "a newer charlm"), (7, "a newer charlm")],
)
def test_a_newer_format_is_refused_with_the_version_to_install(tmp_path: Path, version: Any, install: str) -> None:
    write_folder(tmp_path / "step-1", OLD)
    path = tmp_path / "step-1" / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": FORMAT + 1, "charlm": version}))
    with pytest.raises(RunError, match=rf"has format {FORMAT + 1}, but .* reads up to {FORMAT}: install {install}$"):
        read(tmp_path / "step-1")


@pytest.mark.parametrize(
    "manifest",
    [
        "[]",
        "{}",
        "null",
        '{"format": 1}',
        '{"format": 1, "files": {"empty": {}}}',
        '{"format": 1, "files": []}',
        *(f'{{"format": {number}, "files": {{}}}}' for number in ("0", "-1", "1.5", "true", '"2"', "null", "1e1")),
    ],
)
def test_a_manifest_of_another_shape_is_refused(tmp_path: Path, manifest: str) -> None:
    write_folder(tmp_path / "step-1", OLD)
    (tmp_path / "step-1" / MANIFEST).write_text(manifest)
    with pytest.raises(RunError, match=r"is not a checkpoint's manifest|does not name a checkpoint's files"):
        read(tmp_path / "step-1")


@pytest.mark.parametrize("names", [NAMES[:-1], (*NAMES, "more")], ids=["too many", "too few"])
def test_a_manifest_names_the_expected_files_and_no_others(tmp_path: Path, names: tuple[str, ...]) -> None:
    write_folder(tmp_path / "step-1", OLD)
    with pytest.raises(RunError, match="does not name a checkpoint's files"):
        open_folder(tmp_path / "step-1", names)


def test_a_manifest_has_a_largest_size(tmp_path: Path) -> None:
    write_folder(tmp_path / "step-1", OLD)
    path = tmp_path / "step-1" / MANIFEST
    content = path.read_bytes()
    path.write_bytes(content + b" " * (MAX_MANIFEST_BYTES - len(content)))
    assert read(tmp_path / "step-1") == OLD
    path.write_bytes(content + b" " * (MAX_MANIFEST_BYTES - len(content) + 1))
    with pytest.raises(RunError, match="too large for a manifest"):
        read(tmp_path / "step-1")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[" * (MAX_JSON_DEPTH + 2) + "]" * (MAX_JSON_DEPTH + 2), "nested too deeply"),
        ('{"a":' * 5_000 + "1" + "}" * 5_000, "nested too deeply"),
        ("NaN", "NaN is not a number"),
        ("-Infinity", "-Infinity is not a number"),
        ("1e999", "1e999 is not a number"),
        ("1" * 31, "too large a number"),
        ("-" + "1" * 6_000, "too large a number"),
        ("{", "Expecting"),
        ("\ufeff{}", "BOM"),
    ],
    ids=lambda value: value[:20],
)
def test_json_has_limited_depth_and_only_finite_numbers(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(RunError, match="is not the JSON of a checkpoint") as caught:
        parse_json(text.encode("utf-8"), tmp_path / "state.json")
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 400


def test_json_of_the_largest_depth_is_read(tmp_path: Path) -> None:
    text = "[" * (MAX_JSON_DEPTH + 1) + "]" * (MAX_JSON_DEPTH + 1)
    assert parse_json(text.encode(), tmp_path / "a") == json.loads(text)
    with pytest.raises(RunError, match="is not the JSON of a checkpoint"):
        parse_json(b'"\xff"', tmp_path / "a")


def make_link(path: Path) -> None:
    (path.parent / "elsewhere").write_bytes(b"mine")
    path.symlink_to(path.parent / "elsewhere")


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(path.parent)  # a socket's name has at most 107 bytes
        server.bind(path.name)


STRANGE = {
    "link": (make_link, "it is a link"),
    "dangling link": (lambda path: path.symlink_to("nowhere"), "it is a link"),
    "pipe": (os.mkfifo, "is not a regular file"),
    "folder": (Path.mkdir, "is not a regular file|is a directory"),
    "socket": (make_socket, "no such device"),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_only_a_regular_file_is_opened_and_without_waiting(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, reason = STRANGE[kind]
    make(tmp_path / "file")
    with pytest.raises(RunError, match=reason), open_regular(tmp_path / "file"):
        pass


def test_a_device_is_not_read() -> None:
    with pytest.raises(RunError, match="/dev/zero is not a regular file"), open_regular(Path("/dev/zero")):
        pass


@pytest.mark.parametrize("kind", STRANGE)
def test_records_go_only_to_regular_files_and_without_waiting(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    STRANGE[kind][0](tmp_path / "file")
    for write in (lambda path: append_lines(path, ["a"]), lambda path: cut_file(path, 0)):
        with pytest.raises(StorageError, match="cannot write"):
            write(tmp_path / "file")
    if kind == "link":
        assert (tmp_path / "elsewhere").read_bytes() == b"mine"


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "elsewhere", OLD)
    (tmp_path / "step-1").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RunError, match="step-1 is a link"):
        read(tmp_path / "step-1")


def test_a_link_in_place_of_a_folder_is_replaced_and_not_followed(tmp_path: Path) -> None:
    write_folder(tmp_path / "elsewhere", OLD)
    for target in ("elsewhere", "nowhere"):
        (tmp_path / "step-00000001").symlink_to(tmp_path / target)
        write_folder(tmp_path / "step-00000001", NEW)
        assert read(tmp_path / "elsewhere") == OLD
        assert read(tmp_path / "step-00000001") == NEW
        remove_folder(tmp_path / "step-00000001")
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]


def test_an_existing_folder_is_replaced_completely(tmp_path: Path) -> None:
    write_folder(tmp_path / "step-00000001", OLD)
    (tmp_path / "step-00000001" / "stray").write_bytes(b"")
    write_folder(tmp_path / "step-00000001", NEW)
    assert sorted(path.name for path in (tmp_path / "step-00000001").iterdir()) == sorted((*NEW, MANIFEST))
    assert read(tmp_path / "step-00000001") == NEW
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_a_replaced_folder_can_be_found_at_every_moment(tmp_path: Path) -> None:
    folder, seen = start(tmp_path / "folder"), 0

    class Watching(DyingDisk):
        def advance(self) -> None:
            nonlocal seen
            seen += 1
            assert os.access(folder / "step-00000002", os.F_OK) or os.access(folder / f"step-00000002{ASIDE}", os.F_OK)

    with Watching(None, PowerCut()).installed():
        write_folder(folder / "step-00000002", NEW)
    assert seen > 20


def test_a_folder_loses_its_name_on_the_disk_before_its_files_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def watched(name: str) -> Callable[..., Any]:
        operation = getattr(os, name)
        return lambda *args, **options: done.append(name) or operation(*args, **options)

    folder, done = start(tmp_path / "folder"), list[str]()
    for name in ("rename", "fsync", "unlink"):
        monkeypatch.setattr(os, name, watched(name))
    remove_folder(folder / "step-00000002")
    assert done == ["rename", "fsync", *["unlink"] * (len(OLD) + 1)]


def test_a_file_is_replaced_completely_or_not_at_all(tmp_path: Path) -> None:
    disk = DyingDisk(None, FULL_DISK)
    path = tmp_path / "config.yaml"
    with disk.installed():
        replace_file(path, b"old")
    outcomes: list[bytes] = []
    for dies_at in range(disk.num_operations):
        replace_file(path, b"old")
        with DyingDisk(dies_at, FULL_DISK).installed(), pytest.raises(StorageError, match=r"config\.yaml"):
            replace_file(path, b"another")
        outcomes.append(path.read_bytes())
        assert drafts(tmp_path) == []
    assert set(outcomes) == {b"old", b"another"}
    assert outcomes == sorted(outcomes, reverse=True)


def test_a_link_in_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    make_link(tmp_path / "config.yaml")
    replace_file(tmp_path / "config.yaml", b"new")
    assert (tmp_path / "elsewhere").read_bytes() == b"mine"
    assert not (tmp_path / "config.yaml").is_symlink()


def test_only_our_own_drafts_are_removed(tmp_path: Path) -> None:
    ours = [
        ".tmp-step-00000012-123-0123abcd",
        ".tmp-step-123456789-1-0123abcd",
        ".tmp-config.yaml-1-0123abcd",
        ".tmp-environment.json-7-0123abcd",
        f".tmp-step-00000012{ASIDE}-7-0123abcd",
    ]
    theirs = [
        ".tmp-notes-1-0123abcd",
        ".tmp-step-12-1-0123abcd",
        ".tmp-step-00000012-1-0123abcdef",
        ".tmp-step-00000012-1-0123abcd.bak",
        ".tmp-config.yaml-x-0123abcd",
        ".tmp",
        "tmp-step-00000012-1-0123abcd",
        "step-00000012",
        "my notes",
    ]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine").write_bytes(b"mine")
    for number, name in enumerate((*ours, *theirs)):
        if number % 2:
            (tmp_path / name).write_bytes(b"")
        else:
            (tmp_path / name).mkdir()
            (tmp_path / name / "file").write_bytes(b"")
            (tmp_path / name / "link").symlink_to(tmp_path / "elsewhere")
    link = tmp_path / ".tmp-step-00000013-123-0123abcd"
    link.symlink_to(tmp_path / "elsewhere")
    sweep_drafts(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*theirs, "elsewhere", link.name}
    assert (tmp_path / "elsewhere" / "mine").read_bytes() == b"mine"
    sweep_drafts(tmp_path / "absent")


def test_every_kind_of_draft_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "_write_file", lambda path, _: made.append(path) or path.write_bytes(b""))
    made: list[Path] = []
    write_folder(tmp_path / "step-00000012", {})
    for name in ("config.yaml", "environment.json"):
        replace_file(tmp_path / name, b"")
    names = {made[0].parent.name, *(path.name for path in made[1:])}
    assert len(names) == 3
    assert all(DRAFT_NAME.fullmatch(name) for name in names)


def test_a_full_disk_is_named_with_the_bytes_needed_and_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = r"cannot write \S+: no space left on device: ([\d,]+) bytes are needed and ([\d,]+) are free"
    disk = DyingDisk(0, FULL_DISK, operations=("write",))
    with disk.installed(), pytest.raises(StorageError) as caught:
        write_folder(tmp_path / "step-00000001", NEW)
    match = re.fullmatch(sentence, str(caught.value))
    assert match
    assert int(match[1].replace(",", "")) == sum(map(len, NEW.values()))
    assert int(match[2].replace(",", "")) > 0
    # Other errors, and a file of unknown size, name no bytes.
    assert "bytes" not in str(storage_error(tmp_path / "a", OSError(errno.EIO, "broken"), num_bytes=3))
    assert "bytes" not in str(storage_error(tmp_path / "a", FULL_DISK))
    monkeypatch.setattr(durable.shutil, "disk_usage", lambda _: (_ for _ in ()).throw(PermissionError()))
    assert str(storage_error(tmp_path / "a", FULL_DISK, num_bytes=3)).endswith("3 bytes are needed and 0 are free")


def test_lines_are_appended_in_order_and_a_missing_folder_is_reported(tmp_path: Path) -> None:
    lines = [json.dumps({"number": number, "text": "分开\n"}, ensure_ascii=False) for number in range(3)]
    append_lines(tmp_path / "lines", lines[:1])
    append_lines(tmp_path / "lines", lines[1:])
    append_lines(tmp_path / "lines", [])
    assert (tmp_path / "lines").read_text(encoding="utf-8").split("\n") == [*lines, ""]
    with pytest.raises(StorageError, match="no such file or directory"):
        append_lines(tmp_path / "absent" / "lines", ["a"])


@pytest.mark.parametrize("failure", [FULL_DISK, KeyboardInterrupt()], ids=["full", "interrupted"])
def test_lines_that_do_not_fit_leave_the_file_as_it_was(tmp_path: Path, failure: BaseException) -> None:
    append_lines(tmp_path / "lines", ["first"])
    disk = DyingDisk(0, failure, operations=("write",))
    with disk.installed(), pytest.raises((StorageError, KeyboardInterrupt)):
        append_lines(tmp_path / "lines", ["second", "third"])
    assert (tmp_path / "lines").read_bytes() == b"first\n"


def test_a_file_is_cut_at_the_given_place(tmp_path: Path) -> None:
    append_lines(tmp_path / "lines", ["first", "second"])
    cut_file(tmp_path / "lines", 6)
    assert (tmp_path / "lines").read_bytes() == b"first\n"
    with pytest.raises(StorageError, match="no such file"):
        cut_file(tmp_path / "absent", 0)
    assert not (tmp_path / "absent").exists()


def test_syncing_puts_a_file_and_its_name_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode)))
    sync_file(tmp_path / "absent")
    assert synced == []
    append_lines(tmp_path / "lines", ["first"])
    sync_file(tmp_path / "lines")
    assert synced == [False, True]


@pytest.mark.parametrize(("number", "is_passed_over"), [(errno.EINVAL, True), (errno.EIO, False)])
def test_a_file_system_that_cannot_sync_folders_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_passed_over: bool
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    if is_passed_over:
        sync_folder(tmp_path)
    else:
        with pytest.raises(OSError, match=os.strerror(number)):
            sync_folder(tmp_path)


def test_json_is_written_as_text_with_only_finite_numbers() -> None:
    assert json_file({"a": "分"}).decode("utf-8") == '{\n "a": "分"\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_file({"a": float("nan")})
