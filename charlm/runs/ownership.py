"""Give each run folder one owner: by a lock on one machine, and across machines by a lease that must be renewed.

The lock is flock's and ends with its process, however that ends. File systems that several machines share do not always
pass it on, so an owner also holds a lease: a file named after its generation, created exclusively, renewed every ten
seconds and void after sixty. Whoever finds a void lease creates the next generation; the former owner notices that and
stops writing. Generations start again at 1 after an owner has released its lease, so each lease also contains a mark
that no other has.
"""

from __future__ import annotations

import errno
import math
import os
import platform
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from charlm.errors import RunError, RunInUseError, StorageError
from charlm.runs.durable import storage_error
from charlm.runs.json_records import from_json, json_line
from charlm.runs.owners import Owner, is_dead, machine, process_table
from charlm.runs.untrusted import open_regular, parse_json

try:
    import fcntl
except ImportError:  # Windows does not have it; the lease remains.
    fcntl = None

RENEWED_EVERY_SECONDS = 10.0
VOID_AFTER_SECONDS = 60.0
LOCK_NAME = ".lock"
LEASE_NAME = re.compile(r"\.lease-([0-9]{6,})")
MAX_LEASE_BYTES = 4096
# The errors of file systems that do not support locks.
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class FolderGoneError(StorageError):
    """Report a folder that was deleted while its owner was writing it."""


class Ownership:
    """The right to write a run folder, from `take_ownership` until `release`."""

    def __init__(self, folder: Path, lease: Path, owner: Owner, lock: int | None) -> None:
        self.folder, self._lease, self._owner, self._lock = folder, lease, owner, lock
        self._released = threading.Event()
        self._renewed_at = time.time()
        threading.Thread(target=self._renew, name="charlm lease", daemon=True).start()

    @property
    def mark(self) -> str:
        """The mark that identifies this ownership; `owner_of` returns it too."""
        assert self._owner.mark is not None
        return self._owner.mark

    def check(self) -> None:
        """Make sure before a write that this process still owns the folder, and follow a folder that was moved.

        Raises:
            FolderGoneError: if the folder has been deleted.
            RunInUseError: if another process has taken it over.
            StorageError: if that cannot be found out.
        """
        leases: list[Path] | None = None
        try:
            leases = _leases(self.folder)
            is_owner = leases[-1:] == [self._lease] and self._is_mine()
        except FileNotFoundError:
            is_owner = False
        except OSError as error:
            raise storage_error(self.folder, error, "read") from error
        if is_owner:
            if time.time() - self._renewed_at > RENEWED_EVERY_SECONDS:
                # The machine slept, or this process was stopped, and nobody has taken the folder meanwhile.
                self._renew_once()
        elif (found := self._moved_to()) is not None:
            self.folder, self._lease = found, found / self._lease.name
            self.check()
        elif self._lock is not None and os.fstat(self._lock).st_nlink == 0:
            raise FolderGoneError(f"the folder {self.folder} was deleted while this process was writing it")
        elif leases is not None:
            by = f" by {_owner(leases[-1]).sentence}" if leases else ", or its lease was removed,"
            raise RunInUseError(
                f"the run {self.folder} has been taken over{by} while this process did not answer: nothing more "
                "is written there"
            )
        # Otherwise the disk has vanished and nobody else is the owner: the write itself will report the problem.

    def _moved_to(self) -> Path | None:
        """Return the folder's new place, found through its open lock, or None if it has not moved."""
        if self._lock is None:
            return None
        with suppress(OSError):
            for place in _places_of(self._lock, self.folder):
                is_here = os.path.samestat((place / LOCK_NAME).lstat(), os.fstat(self._lock))
                if is_here and not (self.folder.exists() and place.samefile(self.folder)):
                    return self.folder.with_name(place.name) if _are_siblings(place, self.folder) else place
        return None

    def release(self) -> None:
        """Release the folder; a second call does nothing."""
        if self._released.is_set():
            return
        self._released.set()
        with suppress(OSError):
            # Another process may have removed the folder and made a new one.
            if self._is_mine():
                self._lease.unlink()
        if self._lock is not None:
            os.close(self._lock)

    def _is_mine(self) -> bool:
        try:
            return self._lease.read_bytes() == _content(self._owner)
        except FileNotFoundError:
            return False

    def _renew(self) -> None:
        while not self._released.wait(RENEWED_EVERY_SECONDS):
            self._renew_once()

    def _renew_once(self) -> None:
        # If this fails, the lease may run out; `check` notices if someone else has then taken the folder.
        with suppress(OSError):
            if self._is_mine():
                os.utime(self._lease)
                self._renewed_at = time.time()


def take_ownership(folder: Path) -> Ownership:
    """Become the only process that writes a run folder.

    Raises:
        RunInUseError: naming the process that owns it already.
        StorageError: if the folder cannot be written.
    """
    try:
        lock, is_locked = _lock(folder)
        try:
            return _take_lease(folder, lock, is_locked=is_locked)
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise
    except OSError as error:
        raise storage_error(folder, error) from error


def owner_of(folder: Path) -> Owner | None:
    """Return the live owner of a run folder, or None if there is none."""
    try:
        leases = _leases(folder)
        if not leases or _age_seconds(leases[-1]) > VOID_AFTER_SECONDS:
            return None
    except OSError:
        return None
    owner = _owner(leases[-1])
    return None if is_dead(owner) else owner


def _lock(folder: Path) -> tuple[int | None, bool]:
    """Return the lock's descriptor (None on a system without locks), and whether the file system locked it."""
    descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    if fcntl is None:
        os.close(descriptor)
        return None, False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in NO_LOCKS:
            return descriptor, False
        os.close(descriptor)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            leases = _leases(folder)
            raise in_use(folder, _owner(leases[-1]) if leases else Owner()) from error
        raise
    return descriptor, True


def _take_lease(folder: Path, lock: int | None, *, is_locked: bool) -> Ownership:
    leases = _leases(folder)
    if leases and (left := VOID_AFTER_SECONDS - _age_seconds(leases[-1])) >= 0:
        owner = _owner(leases[-1])
        # Whoever has the lock knows that the owner of a lease from this machine is dead, or that of an empty one.
        is_left_over = owner.machine in (None, machine()) if is_locked else is_dead(owner)
        if not is_left_over:
            raise in_use(folder, owner, f"; if that process is gone, its lease {_ending(leases[-1], left)}")
    lease = folder / f".lease-{_generation(leases[-1]) + 1 if leases else 1:06d}"
    owner = _myself()
    try:
        descriptor = os.open(lease, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError as error:
        raise in_use(folder, _owner(lease)) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_content(owner))
    except OSError:
        lease.unlink()
        raise
    for former in leases:
        with suppress(OSError):
            former.unlink()
    return Ownership(folder, lease, owner, lock)


def _leases(folder: Path) -> list[Path]:
    """Return the leases in a folder, the newest generation last."""
    return sorted((path for path in folder.iterdir() if LEASE_NAME.fullmatch(path.name)), key=_generation)


def _generation(lease: Path) -> int:
    return int(lease.name.removeprefix(".lease-"))


def _owner(lease: Path) -> Owner:
    """Return the owner that a lease names, or an unknown one if it cannot be read."""
    try:
        with open_regular(lease) as file:
            return from_json(Owner, parse_json(file.read(MAX_LEASE_BYTES), lease))
    except RunError:
        return Owner()


def _age_seconds(lease: Path) -> float:
    """Return how long ago a lease was renewed; a lease that is gone counts as infinitely old.

    A clock that was set back can leave a lease dated in the future. It gets the present date: then either its owner
    renews it, or it ends.
    """
    # Use the clock that dates the files in the folder if possible, because the clocks of machines may differ.
    now, clock = time.time(), lease.with_name(LOCK_NAME)
    with suppress(OSError):
        os.utime(clock, follow_symlinks=False)
        now = clock.lstat().st_mtime
    try:
        age = now - lease.lstat().st_mtime
        if age < -VOID_AFTER_SECONDS:
            with suppress(PermissionError):
                os.utime(lease, follow_symlinks=False)
                age = 0.0
    except FileNotFoundError:
        return math.inf
    return age


def _ending(lease: Path, left: float) -> str:
    """Say when a lease ends, and what to do if its date is in the future."""
    if left > 2 * VOID_AFTER_SECONDS:
        return f"never ends, as its date is in the future: remove {lease}"
    return f"ends in {max(1, round(left))} s"


def _places_of(lock: int, folder: Path) -> Iterator[Path]:
    """Yield where the folder of an open lock may be: where the system says, else next to its former place."""
    try:
        yield Path(f"/proc/self/fd/{lock}").readlink().parent
    except OSError:
        yield from (path for path in folder.absolute().parent.iterdir() if (path / LOCK_NAME).exists())


def _are_siblings(one: Path, other: Path) -> bool:
    return other.parent.exists() and one.parent.samefile(other.parent)


def in_use(folder: Path, owner: Owner, more: str = "") -> RunInUseError:
    """Return the error that says who owns a folder."""
    return RunInUseError(f"the run {folder} is in use by {owner.sentence}{more}")


def _content(owner: Owner) -> bytes:
    """Return the content of a lease."""
    return json_line(owner).encode("utf-8")


def _myself() -> Owner:
    return Owner(
        host=platform.node(),
        machine=machine(),
        processes=process_table(),
        pid=os.getpid(),
        since=datetime.now().astimezone().isoformat(timespec="seconds"),
        mark=secrets.token_hex(8),
    )
