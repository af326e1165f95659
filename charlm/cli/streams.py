"""The three standard streams: there whatever the shell did to them, and messages that nobody takes cost nothing else.

Imports nothing that takes time, so that it stands before anything else opens a file.
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
    """Open /dev/null on each of the descriptors 0 to 2 that is closed: else the next file would become a stream.

    It is opened the wrong way round, so that using the stream fails as it does where the shell has closed it.
    """
    for number in range(len(NAMES)):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is the one it gets.
            os.open(os.devnull, os.O_RDONLY if number else os.O_WRONLY)
            os.set_inheritable(number, True)


def open_streams() -> None:
    """Give Python its standard streams anew: UTF-8 on every system, and each of them there.

    What standard output does not take is an OSError without a file's name. What standard error does not take is
    dropped, so that a full disk or a closed terminal behind messages ends nothing.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        setattr(sys, name, _opened(number, getattr(sys, name)))


def lost_messages() -> OSError | None:
    """Return why the last message was not written to standard error; None where it was."""
    raw = _raw(sys.stderr)
    return raw.failure if isinstance(raw, _MessageFile) else None


def _opened(number: int, former: io.TextIOWrapper | None) -> io.TextIOWrapper:
    errors = "backslashreplace" if number else "surrogateescape"
    if former is not None and not isinstance(_raw(former), io.FileIO):
        # A console of Windows has files of its own kind.
        former.reconfigure(encoding="utf-8", errors=errors)
        return former
    raw = _MessageFile(number) if number == STDERR else _StandardFile(number)
    if number == 0:
        return io.TextIOWrapper(io.BufferedReader(raw), "utf-8", errors)
    # Python itself writes through where it was told not to buffer.
    is_unbuffered = former is not None and former.write_through
    is_by_line = number == STDERR or raw.isatty()
    buffer = cast("io.BufferedWriter", raw) if is_unbuffered else io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, "utf-8", errors, line_buffering=is_by_line, write_through=is_unbuffered)


def _raw(stream: TextIO | None) -> object:
    """Return the file below a stream's text; an unbuffered one has no buffer in between."""
    buffer = getattr(stream, "buffer", None)
    return getattr(buffer, "raw", buffer)


class _StandardFile(io.FileIO):
    """A standard stream's bytes; the descriptor stays open."""

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
                # Somebody who shares the terminal or pipe has made it one that does not wait.
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
    """Standard error's bytes: what it does not take is dropped, and where somebody looks they are told so once."""

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
        """Say on a terminal that standard output may be, once, why messages stay away."""
        is_closed_on_purpose = error.errno == errno.EBADF
        if self._has_told or is_closed_on_purpose:
            return
        self._has_told = True
        with suppress(OSError):
            if os.isatty(1):
                os.write(1, f"charlm: messages are left out from here on: {reason_of(error)}\n".encode())
