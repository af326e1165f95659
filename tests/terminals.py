"""Programs on a pseudo-terminal of their own, with an emulator that knows what a person would see."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import processes
import pyte
from processes import Process

ROWS, COLUMNS = 60, 100
# Only a program that hangs takes this long.
TIMEOUT = 120.0
# What makes the terminal the one whose keys send signals, as a login does.
START = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
sys.argv[0] = "charlm"
from charlm.__main__ import main
main()
"""


class Terminal:
    """A terminal with one program on it.

    Args:
        arguments: those of charlm.
        before: lines of Python to run before it, in an interpreter of its own.

    Attributes:
        shown: everything that was written to it.
        process: the program.
    """

    def __init__(self, *arguments: str | Path, before: str = "") -> None:
        self._master, self._slave = pty.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.mode = termios.tcgetattr(self._slave)
        self.shown = b""
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), self._slave)
        self.process: Process = processes.start_code(before + START, *arguments, is_cold=bool(before), **streams)

    @property
    def lines(self) -> list[str]:
        """The lines on the screen, without the spaces at their ends."""
        return [line.rstrip() for line in self._screen.display]

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def wait_for(self, what: str | Callable[[list[str]], object]) -> None:
        """Wait until a line is on the screen, or until its lines are as they should be."""
        until = time.monotonic() + TIMEOUT
        while not (what in self.lines if isinstance(what, str) else what(self.lines)):
            assert time.monotonic() < until, "\n".join(self.lines)
            self._read()

    def wait(self) -> int:
        """Wait for the end of the program and return its exit code."""
        until = time.monotonic() + TIMEOUT
        while self.process.poll() is None:
            assert time.monotonic() < until, "\n".join(self.lines)
            self._read()
        # The terminal holds more than one read takes.
        while self._read():
            pass
        code = self.process.returncode
        assert code is not None
        return code

    @property
    def is_as_before(self) -> bool:
        """Whether the terminal shows and cooks what is typed, as it did before the program."""
        return termios.tcgetattr(self._slave) == self.mode

    def close(self) -> None:
        """End the program."""
        self.process.kill()
        self.process.wait()
        for each in (self._master, self._slave):
            with suppress(OSError):
                os.close(each)

    def hang_up(self) -> None:
        """Close the terminal's window."""
        os.close(self._slave)
        os.close(self._master)

    def _read(self) -> bool:
        """Read what has been written, if there is anything within a moment, and say whether there was."""
        if not select.select([self._master], [], [], 0.02)[0]:
            return False
        content = os.read(self._master, 1 << 16)
        self.shown += content
        self._stream.feed(content)
        return True


@contextmanager
def terminal(*arguments: str | Path, before: str = "") -> Iterator[Terminal]:
    """Yield a terminal on which charlm runs."""
    opened = Terminal(*arguments, before=before)
    try:
        yield opened
    finally:
        opened.close()
