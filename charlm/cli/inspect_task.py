"""`charlm inspect --task`: a memory task in place of runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from charlm.cli.arguments import shown
from charlm.errors import ConfigError, printable
from charlm.settings.nearest import did_you_mean, nearest_choice

if TYPE_CHECKING:
    from charlm.insight.memory_records import MemoryFindings

TASKS = ("copy", "adding", "brackets")
MAX_NAME = 1_000
DEFAULT_MINUTES = 1.0


def inspect_task(
    task: str | None,
    minutes: float | None,
    *,
    seed: int,
    output: Path | None,
    force: bool,
    as_json: bool,
    not_with: Mapping[str, object],
) -> None:
    """Train the three cells on a memory task and show how far each of them remembers.

    Args:
        task: the word after --task, if it was given.
        minutes: those that were given.
        seed: the random seed.
        output: the picture's file.
        force: whether to replace a file that exists.
        as_json: whether to print JSON.
        not_with: the options that belong to runs, each with something true if it was given.
    Raises:
        ConfigError: for what does not go together.
    """
    if task is None:
        raise ConfigError("--minutes belongs to --task: give --task copy, adding or brackets, or leave out --minutes")
    if task not in TASKS:
        near = did_you_mean(nearest_choice(task, TASKS))
        raise ConfigError(f"--task must be copy, adding or brackets, got {shown(task)}{near}")
    if wrong := [name for name, is_given in not_with.items() if is_given]:
        raise ConfigError(f"--task trains networks of its own and reads no run: give it without {' and '.join(wrong)}")
    _check_output(output, force=force)
    from charlm.console.evaluation import stages_progress
    from charlm.library.remembering import memory_task

    with stages_progress() as report:
        found = memory_task(task, minutes=DEFAULT_MINUTES if minutes is None else minutes, seed=seed, report=report)
    _print(found, output, force=force, as_json=as_json)


def _check_output(output: Path | None, *, force: bool) -> None:
    """Refuse a picture that cannot be drawn before anything is trained."""
    if output is None:
        if force:
            raise ConfigError("--force replaces a file that exists, so it needs -o FILE")
        return
    from charlm.reports.plotting import check_output

    check_output(output, force=force)


def _print(found: MemoryFindings, output: Path | None, *, force: bool, as_json: bool) -> None:
    """Print what was found as JSON or for people, and draw it into a file if one was named."""
    from charlm.console.memory import show_memory
    from charlm.console.terminal import print_json
    from charlm.runs.json_records import to_json

    if output is not None:
        from charlm.reports.memory_pictures import memory_picture
        from charlm.reports.plotting import save_picture

        save_picture(memory_picture(found), output, force=force)
    if as_json:
        print_json({"task": to_json(found), "verdict": found.verdict} | ({"file": str(output)} if output else {}))
        return
    show_memory(found)
    if output is not None:
        typer.echo(f"{printable(str(output), MAX_NAME)}: {output.stat().st_size:,} bytes")
