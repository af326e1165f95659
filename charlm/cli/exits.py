"""From errors to one clean sentence and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import ParamSpec, TextIO

import typer

from charlm.errors import CharlmError

CLOSED_PIPE = 141
FAILED_OUTPUT = 6
INTERRUPTED = 130
Arguments = ParamSpec("Arguments")


def clean_exit(command: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Wrap a command: whatever a user can cause becomes a sentence on standard error and its exit code."""

    @wraps(command)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        with clean_output():
            try:
                command(*args, **kwargs)
                sys.stdout.flush()
            except CharlmError as error:
                for line in str(error).splitlines():
                    typer.echo(f"charlm: {line}", err=True)
                raise typer.Exit(error.exit_code) from error
            except KeyboardInterrupt as error:
                typer.echo("charlm: interrupted", err=True)
                raise typer.Exit(INTERRUPTED) from error

    return run


@contextmanager
def clean_output() -> Generator[None]:
    """Turn a closed pipe or a full disk behind standard output or standard error into its exit code."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        if error.errno == errno.ENOSPC:
            with suppress(OSError):
                print(f"charlm: cannot write the output: {os.strerror(errno.ENOSPC).lower()}", file=sys.stderr)
        _discard(sys.stdout)
        _discard(sys.stderr)
        raise SystemExit(CLOSED_PIPE if error.errno == errno.EPIPE else FAILED_OUTPUT) from error
    except SystemExit as error:
        # Typer itself ends with 1 where help meets a closed pipe.
        if isinstance(error.__context__, BrokenPipeError):
            raise SystemExit(CLOSED_PIPE) from error
        raise


def _discard(stream: TextIO) -> None:
    """Point a stream at nothing, so that Python's own last flush does not fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
