"""Ask before something is removed, on a terminal; everywhere else --yes answers."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from charlm.errors import ConfigError

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Remove without asking; needed outside a terminal.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")]
YES = ("y", "yes")


def check_answerable(command: str, *, yes: bool, as_json: bool) -> None:
    """Make sure that somebody has answered, or can.

    Raises:
        ConfigError: where nobody can.
    """
    if yes:
        return
    if as_json:
        raise ConfigError(
            f"nothing was removed: {command} --json does not ask, so add --yes, or --dry-run to look only"
        )
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise ConfigError(
            f"nothing was removed: {command} asks on a terminal, and here there is none, so add --yes, or --dry-run to "
            "look only"
        )


def is_agreed(question: str) -> bool:
    """Ask a question, whose answer is no unless it is y or yes."""
    sys.stdout.flush()
    typer.echo(f"{question} [y/N] ", err=True, nl=False)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        # The end of the input leaves the cursor behind the question.
        typer.echo(err=True)
    return answer.strip().lower() in YES
