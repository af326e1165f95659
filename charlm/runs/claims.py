"""What comes before any removal: runs are found by their names, are in nobody's use, and are owned meanwhile."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from charlm.errors import FULL, ConfigError, RunError, StorageError, printable
from charlm.runs.durable import REMOVED_NAME, remove_aside
from charlm.runs.ownership import in_use, owner_of, take_ownership
from charlm.runs.run import CONFIG, METRICS, RESUMES, SAMPLES, SWEEP_DEFINITION, Run, find_run, is_run, is_sweep

MAX_NAME = 1_000


def find_target(name: str, folder: Path) -> Path:
    """Return the folder of the run or sweep with a name or path, as every command finds runs.

    Raises:
        ConfigError: for a name that is empty, or that names a run only by where it is.
        RunError: if there is none, or a link in its place.
    """
    if not name:
        raise ConfigError("the name of a run is empty (perhaps a shell variable is unset)")
    shown = printable(name, MAX_NAME)
    for path in (folder / name, Path(name)):
        if not (is_run(path) or is_sweep(path)):
            continue
        if path.name in ("", ".."):
            raise ConfigError(f"{shown} does not say which run is meant: give its name ({path.resolve().name})")
        if path.is_symlink():
            raise RunError(
                f"{printable(str(path), MAX_NAME)} is a link to {printable(str(path.readlink()), MAX_NAME)}, and links "
                "are not followed: name the run that it leads to, or remove the link itself with rm"
            )
        return path
    if Path(name).is_dir() and folder.is_dir() and Path(name).samefile(folder):
        raise RunError(f"{shown} is the folder of the runs and not a run: name the runs in it, as in {shown}/*")
    return find_run(name, folder=folder).path


def name_in(folder: Path, path: Path) -> str:
    """Return a run's name for people: its path within the folder of runs, or else its whole path."""
    inside = path.parent.resolve() / path.name
    root = folder.resolve()
    return str(inside.relative_to(root) if inside.is_relative_to(root) else path)


def check_free(path: Path) -> None:
    """Refuse a run or sweep that somebody uses, and a trial of a sweep that is running.

    Raises:
        RunInUseError: naming the owner.
    """
    for each in (path, *([path.parent] if is_sweep(path.parent) else [])):
        if (owner := owner_of(each)) is not None:
            raise in_use(each, owner)


@contextmanager
def owned(folder: Path) -> Generator[None]:
    """Own a folder, so that nobody starts its run meanwhile.

    Raises:
        RunInUseError: naming the process that owns it.
        StorageError: if it cannot be written.
    """
    ownership = None
    try:
        ownership = take_ownership(folder)
    except StorageError as error:
        # A full disk has no room for a lease, and removing something is what helps then.
        if not (isinstance(error.__cause__, OSError) and error.__cause__.errno in FULL):
            raise
        check_free(folder)
    try:
        yield
    finally:
        if ownership is not None:
            ownership.release()


def sweep_removed(folder: Path) -> None:
    """Remove what a killed process has left of the runs that it was removing.

    Raises:
        StorageError: if something in them cannot be removed.
    """
    for entry in os.scandir(folder) if folder.is_dir() else ():
        is_left = REMOVED_NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
        if is_left and owner_of(Path(entry.path)) is None:
            remove_aside(Path(entry.path))


def last_written(path: Path) -> int:
    """Return when a run, or a sweep apart from its trials, was last written, in nanoseconds; locks do not count."""
    records = (CONFIG, METRICS, SAMPLES, RESUMES, SWEEP_DEFINITION)
    times = [file.lstat().st_mtime_ns for name in records if (file := path / name).is_file()]
    with suppress(RunError):
        times += [checkpoint.lstat().st_mtime_ns for checkpoint in Run(path).checkpoint_paths()[-1:]]
    return max(times, default=0)


def size_of(path: Path) -> int:
    """Return the size of a file, or of all files in a folder, in bytes; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(size_of(each) for each in path.iterdir())
