"""Files that a command writes where its user says: what must not be replaced by one, and what only if asked."""

from __future__ import annotations

import os
from pathlib import Path

from charlm.errors import ConfigError, printable

MAX_NAME = 1_000


def check_output_file(path: Path, *, force: bool, example: str) -> None:
    """Refuse what cannot or must not be replaced by a file.

    Args:
        path: the file to write.
        force: whether to replace a file that exists.
        example: the name of a file, for the message about a folder.
    Raises:
        ConfigError: for a file that exists, unless it may be replaced; for a folder, a link, a pipe or a device always.
    """
    name = printable(str(path), MAX_NAME)
    if path.is_dir():
        inside = printable(str(path / example), MAX_NAME)
        raise ConfigError(f"{name} is a folder: name the file to write, such as {inside}")
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_file():
        raise ConfigError(f"{name} is not a regular file and is not replaced: name another file")
    if not force:
        raise ConfigError(f"{name} exists: --force replaces it")
