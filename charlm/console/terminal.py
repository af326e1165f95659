"""What kind of place the output goes to, and how text is made fit for it."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping
from typing import TextIO

from rich.console import Console

from charlm.runs.json_records import json_line


class PlainConsole(Console):
    """Rich's console, except that a closed pipe stays an OSError, for the command line to turn into its exit code."""

    def on_broken_pipe(self) -> None:
        """Raise it again, where Rich itself would exit with 1."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def is_live(stream: TextIO) -> bool:
    """Say whether a stream is a terminal that can redraw; a notebook, a log and CI are not."""
    return stream.isatty() and not os.environ.get("CI") and os.environ.get("TERM", "") != "dumb"


def console_for(stream: TextIO) -> Console:
    """Return a console that draws on a stream: colours on a terminal unless NO_COLOR, plain text elsewhere."""
    return PlainConsole(
        file=stream, force_terminal=is_live(stream), highlight=False, emoji=False, soft_wrap=not is_live(stream)
    )


def print_json(record: Mapping[str, object]) -> None:
    """Print one JSON object on a line of standard output."""
    sys.stdout.write(json_line(record) + "\n")


def shown_safely(text: str, stream: TextIO | None = None) -> str:
    """Return text with control characters escaped where a terminal would obey them; newline and tab stay."""
    if not (stream or sys.stdout).isatty():
        return text
    return "".join(character if _is_harmless(character) else _escaped(character) for character in text)


def _is_harmless(character: str) -> bool:
    code = ord(character)
    return character in "\n\t" or not (code < 0x20 or 0x7F <= code < 0xA0)


def _escaped(character: str) -> str:
    return f"\\x{ord(character):02x}"
