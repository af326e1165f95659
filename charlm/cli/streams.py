"""Open the three standard streams whatever the shell did to them, and drop messages that cannot be written.

This module imports nothing slow, so that it runs before anything else opens a file.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TextIO, TypeVar, cast

from charlm.errors import reason_of

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

NAMES = ("standard input", "standard output", "standard error")
STDERR = 2
T = TypeVar("T")


def hold_descriptors() -> None:
    """Open /dev/null on each of the descriptors 0 to 2 that is closed: otherwise the next file would take its place.

    It is opened for the wrong direction, so that using the stream fails as it would after the shell has closed it.
    """
    for number in range(len(NAMES)):
        try:
            os.fstat(number)
        except OSError:
            # open() takes the lowest free number, which is this one.
            os.open(os.devnull, os.O_RDONLY if number else os.O_WRONLY)
            os.set_inheritable(number, True)


def open_streams() -> None:
    """Replace Python's standard streams: all three exist and use UTF-8 on every system.

    A failed write to standard output is an OSError without a file name. A failed write to standard error is dropped, so
    that a full disk or a closed terminal behind the messages ends nothing.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        setattr(sys, name, _opened(number, getattr(sys, name)))


def lost_messages() -> OSError | None:
    """Return why the last message could not be written to standard error; None where it was written."""
    raw = _raw(sys.stderr)
    return raw.failure if isinstance(raw, _MessageFile) else None


def _opened(number: int, former: io.TextIOWrapper | None) -> io.TextIOWrapper:
    errors = "backslashreplace" if number else "surrogateescape"
    if former is not None and not isinstance(_raw(former), io.FileIO):
        # A Windows console has its own kind of file.
        former.reconfigure(encoding="utf-8", errors=errors)
        return former
    raw = _MessageFile(number) if number == STDERR else _StandardFile(number)
    if number == 0:
        return io.TextIOWrapper(io.BufferedReader(raw), "utf-8", errors)
    # Python itself writes through where it was started without buffering.
    is_unbuffered = former is not None and former.write_through
    is_by_line = number == STDERR or raw.isatty()
    buffer = cast("io.BufferedWriter", raw) if is_unbuffered else io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, "utf-8", errors, line_buffering=is_by_line, write_through=is_unbuffered)


def _raw(stream: TextIO | None) -> object:
    """Return the raw file below a text stream; an unbuffered stream has no buffer in between."""
    buffer = getattr(stream, "buffer", None)
    return getattr(buffer, "raw", buffer)


class _StandardFile(io.FileIO):
    """The raw bytes of a standard stream; closing it leaves the descriptor open."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "w" if number else "r", closefd=False)
        self.name = NAMES[number]

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        return self._told(partial(super().readinto, buffer), "reading")

    def readall(self) -> bytes:
        return self._told(super().readall, "reading") or b""

    def write(self, content: ReadableBuffer, /) -> int:
        left = memoryview(content).cast("B")
        size = len(left)
        while left:
            taken = self._told(partial(super().write, left), "writing")
            if taken is None:
                # Another process that shares the terminal or pipe has made it non-blocking.
                select.select([], [self.fileno()], [])
            left = left[taken or 0 :]
        return size

    def _told(self, call: Callable[[], T], use: str) -> T:
        try:
            return call()
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            raise OSError(errno.EBADF, f"{self.name} is not open for {use}") from error


class _MessageFile(_StandardFile):
    """The raw bytes of standard error: a failed write is dropped, and reported once where somebody can see it."""

    failure: OSError | None = None
    _has_told = False

    def write(self, content: ReadableBuffer, /) -> int:
        try:
            if self.failure is not None:
                super().write(f"charlm: messages are missing here: {reason_of(self.failure)}\n".encode())
                self.failure = None
            return super().write(content)
        except OSError as error:
            self.failure = error
            self._tell(error)
            return memoryview(content).nbytes

    def _tell(self, error: OSError) -> None:
        """Report once, where standard output is a terminal, why messages are missing."""
        is_closed_on_purpose = error.errno == errno.EBADF
        if self._has_told or is_closed_on_purpose:
            return
        self._has_told = True
        with suppress(OSError):
            if os.isatty(1):
                os.write(1, f"charlm: messages are left out from here on: {reason_of(error)}\n".encode())
