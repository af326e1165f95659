"""Turn errors into one clear sentence and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any, ParamSpec, TextIO

import typer

from charlm.cli.streams import lost_messages
from charlm.errors import (
    FULL,
    CharlmError,
    CharlmWarning,
    DivergedError,
    FailedTrialsError,
    StoppedError,
    out_of_memory,
    printable,
    reason_of,
)

CLOSED_PIPE = 141
FAILED_OUTPUT = 6
INTERRUPTED = 130
MAX_LINE = 2_000
OUTCOMES = (DivergedError, FailedTrialsError, StoppedError)
Arguments = ParamSpec("Arguments")


def clean_exit(command: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Wrap a command so that every error a user can cause becomes a sentence on standard error and an exit code."""

    @wraps(command)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        with clean_output(), _plain_warnings(), clean_errors():
            try:
                command(*args, **kwargs)
                sys.stdout.flush()
            except OSError as error:
                # An error without a file name comes from the output.
                if error.filename is None:
                    raise
                _say(f"cannot use {error.filename}: {reason_of(error)}")
                raise typer.Exit(FAILED_OUTPUT) from error
            except (MemoryError, RuntimeError, ImportError) as error:
                told = out_of_memory(error)
                if told is None:
                    raise
                _say(str(told))
                raise typer.Exit(told.exit_code) from error
            except KeyboardInterrupt as error:
                typer.echo("charlm: interrupted", err=True)
                raise typer.Exit(INTERRUPTED) from error

    return run


@contextmanager
def clean_errors() -> Generator[None]:
    """Turn our own errors, including those about options, into a sentence on standard error and their exit code."""
    try:
        yield
    except CharlmError as error:
        _say(str(error))
        raise typer.Exit(FAILED_OUTPUT if _is_untold(error) else error.exit_code) from error


def _say(sentences: str) -> None:
    """Print sentences on standard error, one per line, with control characters in names and texts escaped."""
    for line in sentences.split("\n"):
        typer.echo(f"charlm: {printable(line, MAX_LINE)}", err=True)


def _is_untold(error: CharlmError) -> bool:
    """Return whether a full disk swallowed an error's sentence; errors that report how a run ended keep their code."""
    lost = lost_messages()
    return lost is not None and lost.errno in FULL and not isinstance(error, OUTCOMES)


@contextmanager
def _plain_warnings() -> Generator[None]:
    """Print our own warnings as sentences, without the line of code that raised them."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", CharlmWarning)
        shown = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any) -> None:
            _say(str(message)) if issubclass(category, CharlmWarning) else shown(message, category, *rest)

        warnings.showwarning = show
        yield


@contextmanager
def clean_output() -> Generator[None]:
    """Turn a closed pipe, a full disk or a lost terminal behind standard output into a sentence and its exit code."""
    try:
        try:
            yield
        finally:
            # The help text or the version may still be in the buffer.
            sys.stdout.flush()
    except OSError as error:
        if error.filename is not None:
            raise
        _discard(sys.stdout)
        if error.errno == errno.EPIPE:
            raise SystemExit(CLOSED_PIPE) from error
        with suppress(OSError):
            print(f"charlm: cannot write the output: {reason_of(error)}", file=sys.stderr)
        raise SystemExit(FAILED_OUTPUT) from error
    except SystemExit as error:
        # Typer itself exits with 1 when it prints help into a closed pipe.
        if isinstance(error.__context__, BrokenPipeError):
            raise SystemExit(CLOSED_PIPE) from error
        raise


def _discard(stream: TextIO) -> None:
    """Redirect a stream to the null device, so that Python's own last flush does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
