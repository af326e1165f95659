"""Reading a checkpoint's files as what they are: data from a stranger.

Regular files only, never through a link; each read up to a size, held against the manifest; JSON of bounded size and
depth. Nothing is unpickled.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest, sha256
from io import BufferedReader
from pathlib import Path
from typing import Any, NoReturn, cast

from charlm import __version__
from charlm.errors import RunError, printable
from charlm.runs.durable import MANIFEST
from charlm.runs.formats import FORMAT

MAX_MANIFEST_BYTES = 1 << 16
MAX_JSON_DEPTH = 12
# No count has more, and a larger integer may not become a float.
MAX_DIGITS = 30
# What is read at once, to be hashed in memory.
SMALL = 1 << 26


@dataclass(frozen=True)
class Entry:
    """What a manifest says of a file."""

    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class Folder:
    """A folder with a manifest.

    Args:
        path: of it.
        format: its format's number, one that this charlm reads.
        entries: its files by name.
    """

    path: Path
    format: int
    entries: dict[str, Entry]

    def read(self, name: str, *, at_most: int) -> bytes:
        """Return a file's bytes, held against the manifest.

        Raises:
            RunError: for a file that is missing, too large, no regular file, or damaged.
        """
        if name not in self.entries:
            raise RunError(f"{self.path} is not a whole checkpoint: it has no {name}")
        entry, path = self.entries[name], self.path / name
        if entry.num_bytes > at_most:
            raise RunError(f"{path} is too large: {entry.num_bytes:,} bytes, where at most {at_most:,} are expected")
        with open_regular(path) as file:
            is_large, is_whole = entry.num_bytes > SMALL, os.fstat(file.fileno()).st_size == entry.num_bytes
            # Large ones are hashed block by block first: what is not the saved bytes takes no memory.
            if is_whole and (not is_large or file_digest(file, "sha256").hexdigest() == entry.sha256):
                file.seek(0)
                content = file.read(entry.num_bytes)
                if sha256(content).hexdigest() == entry.sha256:
                    return content
        raise RunError(f"{path} is damaged: its bytes are not those that were saved")


def open_folder(path: Path, names: tuple[str, ...]) -> Folder:
    """Read a folder's manifest.

    Args:
        path: of the folder; not a link.
        names: the files it must hold, no others.
    Raises:
        RunError: for a folder that is missing, damaged, or of a newer format.
    """
    if path.is_symlink():
        raise RunError(f"{path} is a link, and a checkpoint is a folder of its own")
    with open_regular(path / MANIFEST) as file:
        content = file.read(MAX_MANIFEST_BYTES + 1)
    if len(content) > MAX_MANIFEST_BYTES:
        raise RunError(f"{path / MANIFEST} is too large for a manifest")
    manifest = as_object(parse_json(content, path / MANIFEST))
    number = manifest.get("format")
    if type(number) is not int or number < 1:
        raise RunError(f"{path / MANIFEST} is not a checkpoint's manifest")
    if number > FORMAT:
        raise RunError(_newer(path, number, manifest.get("charlm")))
    entries = _entries(manifest.get("files"))
    if entries is None or set(entries) != set(names):
        raise RunError(f"{path / MANIFEST} does not name a checkpoint's files: {', '.join(names)}")
    return Folder(path, number, entries)


@contextmanager
def open_regular(path: Path) -> Generator[BufferedReader]:
    """Open a regular file, through no link, without waiting for anyone.

    Raises:
        RunError: for anything else.
    """
    try:
        # A pipe would wait for a writer; a link may lead out of the folder.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise RunError(f"{path} is not a regular file")
            yield file
    except OSError as error:
        reason = "it is a link" if path.is_symlink() else (error.strerror or str(error)).lower()
        raise RunError(f"cannot read {path}: {reason}") from error


def parse_json(content: bytes, path: Path) -> Any:
    """Parse JSON of bounded depth without NaN and infinities.

    Args:
        content: its bytes; the caller bounds their number.
        path: for messages.
    Raises:
        RunError: for anything else.
    """
    try:
        value = json.loads(
            content.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_finite, parse_int=_bounded
        )
        check_depth(value)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise RunError(f"{path} is not the JSON of a checkpoint: {reason}") from error
    return value


def as_object(value: Any) -> dict[str, Any]:
    """Return a JSON object; an empty one for any other value."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _newer(path: Path, number: int, version: Any) -> str:
    # A version is shown only where it looks like one: the text may come from anywhere.
    known = isinstance(version, str) and re.fullmatch(r"[0-9][0-9A-Za-z.+-]{0,30}", version)
    install = f"charlm {version} or newer" if known else "a newer charlm"
    return f"{path} has format {number} and charlm {__version__} reads up to {FORMAT}: install {install}"


def _entries(files: Any) -> dict[str, Entry] | None:
    if not isinstance(files, dict):
        return None
    entries: dict[str, Entry] = {}
    for name, entry in cast("dict[str, Any]", files).items():
        fields = as_object(entry)
        size, digest = fields.get("bytes"), fields.get("sha256")
        if type(size) is not int or size < 0 or not isinstance(digest, str):
            return None
        entries[name] = Entry(size, digest)
    return entries


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


def check_depth(value: Any) -> None:
    """Refuse values nested too deeply.

    Raises:
        RecursionError: for those.
    """
    level: list[Any] = [value]
    for _ in range(MAX_JSON_DEPTH + 1):
        level = [inner for each in level if isinstance(each, dict | list) for inner in _inside(each)]
        if not level:
            return
    raise RecursionError


def _inside(value: Any) -> Iterable[Any]:
    return as_object(value).values() if isinstance(value, dict) else value
