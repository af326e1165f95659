"""Handle signals that ask the process to end: at once at first; after the next step while a run trains.

This module imports nothing slow, so that the handlers are installed before anything slow is imported.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from charlm.errors import STOP_CODES

try:
    import termios
except ImportError:  # Windows has no such terminals.
    termios = None

WORDS = {signal.SIGINT: "interrupt", signal.SIGTERM: "terminate"}
if hasattr(signal, "SIGUSR1"):
    # Batch schedulers send it before a job's time is up.
    WORDS[signal.SIGUSR1] = "terminate"
if hasattr(signal, "SIGHUP"):
    # The terminal was closed, or the connection to it was lost.
    WORDS[signal.SIGHUP] = "hangup"
SENTENCES = {"interrupt": "interrupted", "terminate": "terminated", "hangup": "hung up"}
CLEAR_LINE = "\x1b[2K"
SHOW_CURSOR = "\x1b[?25h"
# Plain characters, and pasted text that is not marked as such.
RESET = "\x1b[0m\x1b[?2004l"


class Signals:
    """Decide what a signal that asks the process to end does at this moment."""

    def __init__(self) -> None:
        self.received: str | None = None
        self._waits = False
        self._holds_interrupts = self._is_interrupted = False
        self._terminal: list[Any] | None = None

    def listen(self) -> None:
        """Handle the signals from now on: the process ends at once, with one line and its exit code.

        A hangup that the process was started to ignore, as with nohup, stays ignored.
        """
        for number, word in WORDS.items():
            if word != "hangup" or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._receive)

    def ignore(self) -> None:
        """Ignore signals once the work is done: Python restores their default, deadly action as it shuts down."""
        for number in WORDS:
            signal.signal(number, signal.SIG_IGN)

    def requested(self) -> str | None:
        """Return interrupt, terminate or hangup once a signal has arrived, else None.

        After the first call, a signal is only recorded until the next call; a second signal ends the process at once.
        """
        self._waits = True
        return self.received

    @contextmanager
    def hold_interrupts(self) -> Generator[Callable[[], bool]]:
        """Within this context only record interrupts; other signals end the process, and reset the terminal before.

        Yields:
            What says whether an interrupt has arrived since the last time.
        """
        self._terminal, self._holds_interrupts = _terminal_mode(), True
        try:
            yield self._take_interrupt
        finally:
            self._terminal, self._holds_interrupts = None, False

    def _take_interrupt(self) -> bool:
        arrived, self._is_interrupted = self._is_interrupted, False
        return arrived

    def _receive(self, number: int, frame: FrameType | None) -> None:
        del frame
        word = WORDS[signal.Signals(number)]
        if word == "interrupt" and self._holds_interrupts:
            self._is_interrupted = True
            return
        if self.received is None and self._waits:
            self.received = word
            return
        _restore_terminal(self._terminal)
        end_at_once(word, " at once; what was already saved is kept" if self._waits else "")


def end_at_once(word: str, more: str = "") -> NoReturn:
    """End the process with one line on standard error, and show the cursor that a live display has hidden.

    This raises no exception, because one raised in the middle of an import or a destructor may be caught there.
    """
    for stream in (sys.stdout, sys.stderr):
        # RuntimeError: the signal arrived while this stream was being written. AttributeError: the stream is closed.
        with suppress(OSError, ValueError, RuntimeError, AttributeError):
            stream.flush()
    with suppress(OSError):
        cursor = f"\r{CLEAR_LINE}{SHOW_CURSOR}" if os.isatty(2) else ""
        os.write(2, f"{cursor}charlm: {SENTENCES[word]}{more}\n".encode())
    os._exit(STOP_CODES[word])


def _terminal_mode() -> list[Any] | None:
    """Return the mode of the terminal on standard input; None where there is none."""
    if termios is not None:
        with suppress(OSError, termios.error):
            return termios.tcgetattr(0)
    return None


def _restore_terminal(mode: list[Any] | None) -> None:
    """Give a terminal back as it was before lines were edited on it."""
    if mode is not None and termios is not None:
        with suppress(OSError, termios.error):
            termios.tcsetattr(0, termios.TCSANOW, mode)
            os.write(1, RESET.encode())
