"""Create a run folder: its name, its owner and its configuration."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from datetime import datetime
from itertools import count
from pathlib import Path
from types import MappingProxyType

from charlm.errors import ConfigError, RunInUseError, StorageError
from charlm.runs.durable import DRAFT_NAME, dangling_link, replace_file, storage_error, sync_folder
from charlm.runs.facts import Environment
from charlm.runs.json_records import json_file
from charlm.runs.ownership import LEASE_NAME, LOCK_NAME, Ownership, take_ownership
from charlm.runs.run import CONFIG, ENVIRONMENT, Run
from charlm.settings.loading import dump_settings
from charlm.settings.schema import Settings
from charlm.settings.values import RUN_NAME, RUN_NAME_RULE


def check_run_name(name: str) -> None:
    """Refuse a text that cannot name a run.

    Raises:
        ConfigError: for a path, or a character that could make one.
    """
    if not RUN_NAME.fullmatch(name):
        raise ConfigError(f"{name[:120]!r} cannot name a run: {RUN_NAME_RULE} (--runs-dir chooses the folder)")


def check_new_name(name: str, folder: Path) -> None:
    """Refuse a name that a new run in this folder cannot have.

    Raises:
        ConfigError: for a bad name, or one that exists.
    """
    check_run_name(name)
    if os.path.lexists(folder / name):
        raise _exists(folder / name)


def create_run(
    settings: Settings,
    environment: Environment,
    *,
    folder: Path,
    name: str | None = None,
    stem: str | None = None,
    goes_on: bool = False,
    files: Mapping[str, bytes] = MappingProxyType({}),
) -> tuple[Run, Ownership]:
    """Create a run folder with its configuration and environment, and become its owner.

    Args:
        settings: the resolved settings.
        environment: the content of environment.json.
        folder: the folder of all runs.
        name: the run's name; None uses the stem, with a number if that name exists.
        stem: the beginning of the name; None uses the time and the model.
        goes_on: whether to accept a folder that a killed process has begun and not finished.
        files: the content of other files of the run, by name.
    Raises:
        ConfigError: for a bad or existing name.
        RunInUseError: if another process is creating it now.
        StorageError: if it cannot be written.
    """
    if name is not None:
        check_run_name(name)
    model = settings.model
    stem = name or stem or f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{model.cell}-{model.hidden_size}"
    run = Run(_made_folder(folder, stem, is_exact=name is not None, goes_on=goes_on))
    try:
        ownership = take_ownership(run.path)
    except StorageError:
        if not goes_on:
            # This process has just made the folder, and it contains at most an empty lock.
            shutil.rmtree(run.path, ignore_errors=True)
        raise
    if run.exists:
        # Another process was quicker and has finished creating it.
        ownership.release()
        raise _exists(run.path)
    beginning = {**files, ENVIRONMENT: json_file(environment), CONFIG: dump_settings(settings).encode("utf-8")}
    _write_beginning(run, ownership, beginning, goes_on=goes_on)
    return run, ownership


def _write_beginning(run: Run, ownership: Ownership, files: Mapping[str, bytes], *, goes_on: bool) -> None:
    """Write what makes a folder a run; if that fails, remove the folder.

    Args:
        files: the content of each, the configuration last: a folder that has one is a complete run.
    """
    try:
        # The lock on the disk shows after a power cut that the folder is ours.
        sync_folder(run.path.parent)
        sync_folder(run.path)
        run.checkpoints_folder.mkdir(exist_ok=goes_on)
        for name, content in files.items():
            ownership.check()
            replace_file(run.path / name, content)
    except BaseException as error:
        if not isinstance(error, RunInUseError):
            shutil.rmtree(run.path, ignore_errors=True)
        ownership.release()
        if isinstance(error, OSError):
            raise storage_error(run.checkpoints_folder, error) from error
        raise


def _made_folder(folder: Path, stem: str, *, is_exact: bool, goes_on: bool) -> Path:
    """Make a new folder for a run; fifty processes that do so at once get fifty folders."""
    try:
        if folder.exists() and not folder.is_dir():
            raise storage_error(folder, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for each in missing:
            sync_folder(each.parent)
        for number in count(1):
            path = folder / (stem if number == 1 else f"{stem}-{number}")
            try:
                path.mkdir()
            except FileExistsError as error:
                if is_exact:
                    if goes_on and _is_begun_run(path):
                        return path
                    raise _exists(path) from error
                continue
            return path
    except OSError as error:
        raise storage_error(folder / stem, error) from error
    raise AssertionError


def _is_begun_run(path: Path) -> bool:
    """Say whether a folder is a run, or contains only what a killed process leaves while creating one."""
    if path.is_symlink() or not path.is_dir():
        return False
    if Run(path).exists:
        return True
    ours = {"checkpoints", ENVIRONMENT, LOCK_NAME}
    names = {entry.name for entry in path.iterdir()}
    if not all(name in ours or LEASE_NAME.fullmatch(name) or DRAFT_NAME.fullmatch(name) for name in names):
        return False
    # The lock is made first, and checkpoints after the configuration: otherwise the folder is somebody else's.
    has_checkpoints = "checkpoints" in names and any(Run(path).checkpoints_folder.iterdir())
    return not names or (LOCK_NAME in names and not has_checkpoints)


def _exists(path: Path) -> ConfigError:
    if dangling := dangling_link(path):
        return ConfigError(f"{path} exists already and is never overwritten: {dangling}; choose another name")
    if not Run(path).exists and not _is_begun_run(path):
        return ConfigError(f"{path} exists already and is never overwritten, and it is not a run: choose another name")
    return ConfigError(
        f"the run {path} exists already and is never overwritten: choose another name, or resume it with --resume"
    )
