"""What signals that ask for the end do: an order while nothing is at stake, a request once a run trains, then an order.

Imports nothing that takes time, so that it stands before anything slow is imported.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from charlm.errors import STOP_CODES

WORDS = {signal.SIGINT: "interrupt", signal.SIGTERM: "terminate"}
if hasattr(signal, "SIGUSR1"):
    # Batch schedulers send it before the time is up.
    WORDS[signal.SIGUSR1] = "terminate"
if hasattr(signal, "SIGHUP"):
    # The terminal was closed, or the connection to it was lost.
    WORDS[signal.SIGHUP] = "hangup"
SENTENCES = {"interrupt": "interrupted", "terminate": "terminated", "hangup": "hung up"}
CLEAR_LINE = "\x1b[2K"
SHOW_CURSOR = "\x1b[?25h"


class Signals:
    """What the signals that ask a process to end do now."""

    def __init__(self) -> None:
        self.received: str | None = None
        self._waits = False

    def listen(self) -> None:
        """Take the signals from now on: the process ends at once, with one line and its exit code.

        A hangup that whoever started the process has it ignore, as nohup does, stays ignored.
        """
        for number, word in WORDS.items():
            if word != "hangup" or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._receive)

    def ignore(self) -> None:
        """Let no signal change how a process ends that is through: Python would give it back its deadly meaning."""
        for number in WORDS:
            signal.signal(number, signal.SIG_IGN)

    def requested(self) -> str | None:
        """Return interrupt, terminate or hangup once a signal has come, else None.

        From the first time it is asked, a signal is a request that waits for the next time; a second one is an order.
        """
        self._waits = True
        return self.received

    def _receive(self, number: int, frame: FrameType | None) -> None:
        del frame
        word = WORDS[signal.Signals(number)]
        if self.received is None and self._waits:
            self.received = word
            return
        end_at_once(word, " at once; what was saved stays" if self._waits else "")


def end_at_once(word: str, more: str = "") -> NoReturn:
    """End the process with one line on standard error; a live display's hidden cursor comes back.

    No exception: one raised by a signal in the middle of an import or of a destructor may be caught there.
    """
    for stream in (sys.stdout, sys.stderr):
        # RuntimeError: the signal came while this very stream was written. AttributeError: there is no such stream.
        with suppress(OSError, ValueError, RuntimeError, AttributeError):
            stream.flush()
    with suppress(OSError):
        cursor = f"\r{CLEAR_LINE}{SHOW_CURSOR}" if os.isatty(2) else ""
        os.write(2, f"{cursor}charlm: {SENTENCES[word]}{more}\n".encode())
    os._exit(STOP_CODES[word])
