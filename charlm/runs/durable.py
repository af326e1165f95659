"""Write files that are complete or absent, even if the machine stops in between.

The order is that of every careful writer: make a draft next to the target, sync each file before the manifest that
vouches for it, sync the draft's folder, rename it, and sync the parent. Nothing here follows or makes a link.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from charlm import __version__
from charlm.errors import FULL, StorageError, reason_of
from charlm.runs.formats import FORMAT, FileEntry, Manifest
from charlm.runs.json_records import json_file

MANIFEST = "manifest.json"
DRAFT_NAME = re.compile(
    r"\.tmp-(step-\d{8,}(\.old)?|config\.yaml|environment\.json|sweep\.yaml|base\.yaml|results\.json|table\.csv|best\.yaml)"
    r"-\d+-[0-9a-f]{8}"
)
# A run or sweep that is being removed: no command takes it for one any more.
REMOVED_NAME = re.compile(r"\.removed-\d+-[0-9a-f]{8}")
# A folder that is being replaced by another of its name; until then it stays complete and can still be found.
ASIDE = ".old"
UNSYNCED = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


def write_folder(target: Path, files: Mapping[str, bytes]) -> None:
    """Create a folder with its files and a manifest of their SHA-256, completely or not at all.

    An existing folder of that name is replaced: it is renamed, so that it can still be found, until the new one exists.

    Raises:
        StorageError: if it cannot be written, or cannot be confirmed to be on the disk.
    """
    draft, aside = _draft_name(target), target.with_name(target.name + ASIDE)
    num_bytes = sum(map(len, files.values()))
    try:
        draft.mkdir()
        for name, content in files.items():
            _write_file(draft / name, content)
        entries = {name: FileEntry(bytes=len(content), sha256=sha256(content)) for name, content in files.items()}
        _write_file(draft / MANIFEST, json_file(Manifest(format=FORMAT, charlm=__version__, files=entries)))
        sync_folder(draft)
        if os.path.lexists(target):
            if os.path.lexists(aside):
                remove_folder(aside)
            target.rename(aside)
        draft.rename(target)
        sync_folder(target.parent)
        if os.path.lexists(aside):
            remove_folder(aside)
    except OSError as error:
        raise storage_error(target, error, num_bytes=num_bytes) from error
    finally:
        if os.path.lexists(aside) and not os.path.lexists(target):
            with suppress(OSError):
                aside.rename(target)
        shutil.rmtree(draft, ignore_errors=True)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file or replace an existing one, completely or not at all.

    Raises:
        StorageError: if it cannot be written; the former file stays.
    """
    draft = _draft_name(path)
    try:
        try:
            _write_file(draft, content)
            draft.replace(path)
            sync_folder(path.parent)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(path, error, num_bytes=len(content)) from error


def remove_folder(folder: Path) -> None:
    """Remove a folder; at each moment it is complete or gone.

    Raises:
        StorageError: if it cannot be removed.
    """
    draft = _draft_name(folder)
    try:
        folder.rename(draft)
        # Otherwise a power cut could bring the name back without all of its files.
        sync_folder(folder.parent)
        _remove(draft)
    except OSError as error:
        raise storage_error(folder, error, "remove") from error


def set_aside(folder: Path) -> Path:
    """Rename a run or sweep, so that no command finds it from now on, and return the new path.

    Raises:
        StorageError: if it cannot be renamed.
    """
    # The folder's own name may be so long that nothing can be added to it.
    aside = folder.with_name(f".removed-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        folder.rename(aside)
        # Otherwise a power cut could bring the name back without all of its files.
        sync_folder(aside.parent)
    except OSError as error:
        raise storage_error(folder, error, "remove") from error
    return aside


def remove_aside(aside: Path) -> None:
    """Remove a folder that was set aside; another process may be removing it too.

    Raises:
        StorageError: if something in it cannot be removed.
    """
    while aside.is_dir() and not aside.is_symlink():
        try:
            shutil.rmtree(aside)
        except FileNotFoundError:
            # The other process was quicker with this file.
            continue
        except OSError as error:
            raise storage_error(aside, error, "remove") from error


def sweep_drafts(folder: Path) -> None:
    """Remove the drafts that a killed writer has left in a folder, but nothing that merely looks like one."""
    for path in list(folder.iterdir()) if folder.is_dir() else []:
        if DRAFT_NAME.fullmatch(path.name) and not path.is_symlink():
            _remove(path)


def append_lines(path: Path, lines: Iterable[str]) -> None:
    """Append lines to a file, all of them or none.

    Raises:
        StorageError: if they cannot be written.
    """
    content = "".join(f"{line}\n" for line in lines).encode("utf-8")
    try:
        with _opened(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as descriptor:
            before = os.fstat(descriptor).st_size
            try:
                _write_all(descriptor, content)
            except BaseException:
                os.ftruncate(descriptor, before)
                raise
    except OSError as error:
        raise storage_error(path, error, num_bytes=len(content)) from error


def cut_file(path: Path, num_bytes: int) -> None:
    """Cut a file off after this many bytes.

    Raises:
        StorageError: if it cannot be written.
    """
    try:
        with _opened(path, os.O_WRONLY) as descriptor:
            os.ftruncate(descriptor, num_bytes)
    except OSError as error:
        raise storage_error(path, error) from error


def sync_file(path: Path) -> None:
    """Sync a file and its name to the disk; do nothing if the file does not exist.

    Raises:
        StorageError: if the disk does not accept it.
    """
    num_bytes: int | None = None
    try:
        with _opened(path, os.O_RDONLY) as descriptor:
            # It is not known here how much of the file is new.
            num_bytes = os.fstat(descriptor).st_size
            os.fsync(descriptor)
        sync_folder(path.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(path, error, num_bytes=num_bytes) from error


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems, such as network shares, cannot do this; their servers take care of it.
        if error.errno not in UNSYNCED:
            raise
    finally:
        os.close(descriptor)


def storage_error(path: Path, error: OSError, action: str = "write", *, num_bytes: int | None = None) -> StorageError:
    """Turn an operating system's error into a sentence; for a full disk it names the bytes needed and free."""
    sentence = f"cannot {action} {path}: {reason_of(error)}"
    if dangling := dangling_link(path):
        sentence = f"cannot {action} {path}: {dangling}"
    elif error.errno in FULL and num_bytes is not None:
        sentence += f": {num_bytes:,} bytes are needed"
        if error.errno != errno.EFBIG:
            sentence += f" and {_free_bytes(path):,} are free"
    return StorageError(sentence)


def dangling_link(path: Path) -> str | None:
    """Say which part of a path is a link to something that does not exist; return None if there is none."""
    with suppress(OSError):
        for each in (path, *path.parents):
            if each.is_symlink() and not each.exists():
                return f"{each} is a link to {each.readlink()}, which does not exist"
    return None


def sha256(content: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _write_file(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        _write_all(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


@contextmanager
def _opened(path: Path, flags: int) -> Generator[int]:
    """Open a regular file without following a link or waiting for the other end of a pipe."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove a folder with everything in it, a file, or a link but not its target."""
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _free_bytes(path: Path) -> int:
    """Return the free bytes on the disk of a path, or 0 if that cannot be found out."""
    with suppress(OSError):
        return shutil.disk_usage(next(parent for parent in path.absolute().parents if parent.exists())).free
    return 0


def _draft_name(target: Path) -> Path:
    return target.with_name(f".tmp-{target.name}-{os.getpid()}-{secrets.token_hex(4)}")
