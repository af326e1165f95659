"""Read a checkpoint's files as what they are: untrusted data.

Only regular files are read, and never through a link. Each has a largest size and is compared with the manifest; JSON
has a largest size and depth. Nothing is unpickled.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest, sha256
from io import BufferedReader
from pathlib import Path
from typing import NoReturn

from pydantic import JsonValue

from charlm import __version__
from charlm.errors import RunError, printable
from charlm.runs.durable import MANIFEST
from charlm.runs.formats import FORMAT, FileEntry, Manifest
from charlm.runs.json_records import from_json_or_none

MAX_MANIFEST_BYTES = 1 << 16
MAX_JSON_DEPTH = 12
# No count has more digits, and a larger integer may not fit into a float.
MAX_DIGITS = 30
# Files up to this size are read at once and hashed in memory.
SMALL = 1 << 26


@dataclass(frozen=True)
class Folder:
    """A folder with a manifest.

    Args:
        path: path of the folder.
        format: number of its format, which this charlm can read.
        entries: its files by name.
    """

    path: Path
    format: int
    entries: Mapping[str, FileEntry]

    def read(self, name: str, *, at_most: int) -> bytes:
        """Return a file's bytes after comparing them with the manifest.

        Raises:
            RunError: for a file that is missing, too large, not a regular file, or damaged.
        """
        if name not in self.entries:
            raise RunError(f"{self.path} is not a complete checkpoint: it has no {name}")
        entry, path = self.entries[name], self.path / name
        if entry.bytes > at_most:
            raise RunError(f"{path} is too large: it has {entry.bytes:,} bytes, and at most {at_most:,} are expected")
        with open_regular(path) as file:
            is_large, is_whole = entry.bytes > SMALL, os.fstat(file.fileno()).st_size == entry.bytes
            # Large files are hashed block by block first, so that wrong bytes take no memory.
            if is_whole and (not is_large or file_digest(file, "sha256").hexdigest() == entry.sha256):
                file.seek(0)
                content = file.read(entry.bytes)
                if sha256(content).hexdigest() == entry.sha256:
                    return content
        raise RunError(f"{path} is damaged: its bytes are not those that were saved")


def open_folder(path: Path, names: tuple[str, ...]) -> Folder:
    """Read a folder's manifest.

    Args:
        path: path of the folder, which must not be a link.
        names: the files that it must contain, and no others.
    Raises:
        RunError: for a folder that is missing, damaged, or in a newer format.
    """
    if path.is_symlink():
        raise RunError(f"{path} is a link, but a checkpoint must be a real folder")
    with open_regular(path / MANIFEST) as file:
        content = file.read(MAX_MANIFEST_BYTES + 1)
    if len(content) > MAX_MANIFEST_BYTES:
        raise RunError(f"{path / MANIFEST} is too large for a manifest")
    manifest = from_json_or_none(Manifest, parse_json(content, path / MANIFEST))
    if manifest is None:
        raise RunError(f"{path / MANIFEST} is not a checkpoint's manifest")
    if manifest.format > FORMAT:
        raise RunError(_newer(path, manifest))
    if manifest.files is None or set(manifest.files) != set(names):
        raise RunError(f"{path / MANIFEST} does not name a checkpoint's files: {', '.join(names)}")
    return Folder(path, manifest.format, manifest.files)


@contextmanager
def open_regular(path: Path) -> Generator[BufferedReader]:
    """Open a regular file without following a link or waiting for a pipe.

    Raises:
        RunError: for anything else.
    """
    try:
        # A pipe would wait for a writer, and a link may lead out of the folder.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise RunError(f"{path} is not a regular file")
            yield file
    except OSError as error:
        reason = "it is a link" if path.is_symlink() else (error.strerror or str(error)).lower()
        raise RunError(f"cannot read {path}: {reason}") from error


def parse_json(content: bytes, path: Path) -> JsonValue:
    """Parse JSON of limited depth without NaN and infinities.

    Args:
        content: the bytes, whose number the caller limits.
        path: the file's path for messages.
    Raises:
        RunError: for anything else.
    """
    try:
        value: JsonValue = json.loads(
            content.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_finite, parse_int=_bounded
        )
        check_depth(value)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise RunError(f"{path} is not the JSON of a checkpoint: {reason}") from error
    return value


def _newer(path: Path, manifest: Manifest) -> str:
    # Show a version only if it looks like one, because the text may come from anybody.
    is_known = re.fullmatch(r"[0-9][0-9A-Za-z.+-]{0,30}", manifest.charlm or "")
    install = f"charlm {manifest.charlm} or newer" if is_known else "a newer charlm"
    return f"{path} has format {manifest.format}, but charlm {__version__} reads up to {FORMAT}: install {install}"


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{printable(text)} is not a number")
    return value


def _bounded(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"{printable(text)} is too large a number")
    return int(text)


def check_depth(value: JsonValue) -> None:
    """Refuse values nested too deeply.

    Raises:
        RecursionError: for such values.
    """
    level = [value]
    for _ in range(MAX_JSON_DEPTH + 1):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return
    raise RecursionError


def _inside(value: JsonValue) -> Iterable[JsonValue]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
