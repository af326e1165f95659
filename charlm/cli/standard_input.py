"""Whether anything is to be read on standard input."""

from __future__ import annotations

import io
import sys


def has_input() -> bool:
    """Say whether standard input is a pipe or a file with something in it; a terminal is neither.

    Waits for the first byte of a pipe; nothing is taken from it.
    """
    # A closed standard input is None, whatever the type says.
    stream: io.TextIOBase | None = sys.stdin  # pyright: ignore[reportAssignmentType]
    if stream is None or stream.closed or stream.isatty():
        return False
    buffer = sys.stdin.buffer
    if isinstance(buffer, io.BufferedReader):
        return bool(buffer.peek(1))
    start = buffer.tell()
    content = buffer.read(1)
    buffer.seek(start)
    return bool(content)
