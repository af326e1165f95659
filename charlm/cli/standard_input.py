"""Find out whether standard input has anything to read."""

from __future__ import annotations

import io
import os
import select
import stat
import sys
from contextlib import suppress

import typer

PATIENCE_SECONDS = 2.0


def has_input(what: str) -> bool:
    """Return whether standard input is a pipe or a file that is not empty; a terminal and a device do not count.

    Waits for the first byte of a pipe and, where none arrives, prints a note: otherwise a pipe left open would make the
    command seem to hang. Nothing is consumed.

    Args:
        what: the purpose of the input, for that note.
    """
    # A closed standard input is None, whatever the type says.
    stream: io.TextIOBase | None = sys.stdin  # pyright: ignore[reportAssignmentType]
    if stream is None or stream.closed:
        return False
    with suppress(OSError, ValueError):  # a stream without a descriptor never blocks and is not a device
        mode = os.fstat(stream.fileno()).st_mode
        if stat.S_ISCHR(mode) or stat.S_ISDIR(mode):
            return False
        if os.name == "posix" and not select.select([stream], [], [], PATIENCE_SECONDS)[0]:
            typer.echo(
                f"charlm: waiting for {what} on standard input; to skip it, give {what} or add < /dev/null", err=True
            )
    buffer = sys.stdin.buffer
    if isinstance(buffer, io.BufferedReader):
        return bool(buffer.peek(1))
    start = buffer.tell()
    content = buffer.read(1)
    buffer.seek(start)
    return bool(content)
