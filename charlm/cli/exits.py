"""From errors to one clean sentence and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

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
        except OSError as error:
            if error.errno != errno.EPIPE and error.errno != errno.ENOSPC:
                raise
            _discard_output()
            if error.errno == errno.EPIPE:
                raise typer.Exit(CLOSED_PIPE) from error
            typer.echo(f"charlm: cannot write the output: {os.strerror(errno.ENOSPC).lower()}", err=True)
            raise typer.Exit(FAILED_OUTPUT) from error

    return run


def _discard_output() -> None:
    """Point standard output at nothing, so that Python's own last flush does not fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
