"""What was typed in conversations, kept in a file from one to the next."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import platformdirs
from prompt_toolkit.history import FileHistory, History

from charlm.errors import printable, reason_of


def history_path() -> Path:
    """Return the file of the history, in the user's folder for such things."""
    return platformdirs.user_state_path("charlm") / "chat-history"


class KeptHistory(History):
    """A history in a file; where that cannot be used, it lasts as long as the conversation.

    Args:
        path: the file, which only its user may read.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path, self._file, self._is_told = path, FileHistory(path), False
        self._failure: OSError | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # A pipe of that name is refused, because it would never end.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o600))
        except OSError as error:
            self._failure = error

    def load_history_strings(self) -> Iterable[str]:
        """Return what was typed before, the last line first."""
        try:
            return list(self._file.load_history_strings()) if self._failure is None else []
        except OSError as error:
            self._failure = error
            return []

    def store_string(self, string: str) -> None:
        """Keep a line."""
        try:
            if self._failure is None:
                self._file.store_string(string)
        except OSError as error:
            self._failure = error

    def take_failure(self) -> str | None:
        """Return, once, a sentence that says why nothing is kept; None where it is."""
        if self._failure is None or self._is_told:
            return None
        self._is_told = True
        return (
            "what you type is remembered only until the end of the conversation: cannot write "
            f"{printable(str(self._path), 200)}: {reason_of(self._failure)}"
        )
