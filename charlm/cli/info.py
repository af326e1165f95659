"""`charlm info`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.arguments import JsonOption, RunsDirOption
from charlm.errors import CharlmError

if TYPE_CHECKING:
    from charlm.runs.overview import Overview
    from charlm.runs.run import Run


def info(
    run: Annotated[str | None, typer.Argument(help="A run's name or path; without it, a table of all.")] = None,
    machine: Annotated[bool, typer.Option("--machine", help="Tell torch, threads and devices instead.")] = False,
    json_: JsonOption = False,
    runs_dir: RunsDirOption = None,
) -> None:
    """Show the runs, one run's settings and results, or the machine.

    Examples:

        charlm info

        charlm info my-lyrics --json
    """
    from charlm.console.runs import show_machine, show_run, show_runs
    from charlm.console.terminal import print_json
    from charlm.runs.run import find_run, list_runs, runs_folder

    folder = runs_folder(runs_dir)
    if machine:
        from charlm.training.environment import machine_facts

        facts = machine_facts()
        print_json(facts) if json_ else show_machine(facts)
    elif run is None:
        overviews = list(_overviews(list_runs(folder)))
        print_json({"runs": overviews}) if json_ else show_runs(overviews, folder)
    else:
        found = find_run(run, folder=folder)
        overview = found.overview()
        settings = found.settings()
        if json_:
            print_json({**overview, "settings": settings.model_dump(mode="json"), "environment": found.environment()})
        else:
            show_run(found, overview)


def _overviews(runs: Iterable[Run]) -> Iterator[Overview]:
    """Yield what the table shows; a damaged run is named on standard error and does not hide the others."""
    for run in runs:
        try:
            yield run.overview()
        except CharlmError as error:
            typer.echo(f"charlm: the run {run.name} is left out: {error}", err=True)
