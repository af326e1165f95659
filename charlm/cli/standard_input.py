"""Whether anything is to be read on standard input."""

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
    """Say whether standard input is a pipe or a file with something in it; a terminal and a device are neither.

    Waits for the first byte of a pipe, and says so where none comes: whoever left it open would see no reason. Nothing
    is taken from it.

    Args:
        what: it would be read for, in that message.
    """
    # A closed standard input is None, whatever the type says.
    stream: io.TextIOBase | None = sys.stdin  # pyright: ignore[reportAssignmentType]
    if stream is None or stream.closed:
        return False
    with suppress(OSError, ValueError):  # a stream without a descriptor, which neither waits nor is a device
        mode = os.fstat(stream.fileno()).st_mode
        if stat.S_ISCHR(mode) or stat.S_ISDIR(mode):
            return False
        if os.name == "posix" and not select.select([stream], [], [], PATIENCE_SECONDS)[0]:
            typer.echo(
                f"charlm: waiting for {what} on standard input; with {what} or < /dev/null it is not read", err=True
            )
    buffer = sys.stdin.buffer
    if isinstance(buffer, io.BufferedReader):
        return bool(buffer.peek(1))
    start = buffer.tell()
    content = buffer.read(1)
    buffer.seek(start)
    return bool(content)
