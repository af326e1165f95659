"""`charlm info`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.arguments import JsonOption, RunsDirOption
from charlm.errors import CharlmError, printable

if TYPE_CHECKING:
    from charlm.runs.overview import Overview
    from charlm.runs.run import Run


MAX_NAME = 200
MAX_SENTENCE = 2_000


def info(
    run: Annotated[
        str | None, typer.Argument(help="A run's name or path, or an exported file; without it, a table of all runs.")
    ] = None,
    machine: Annotated[
        bool, typer.Option("--machine", help="Show this machine's torch version, threads and devices instead.")
    ] = False,
    json_: JsonOption = False,
    runs_dir: RunsDirOption = None,
) -> None:
    """Show all runs, the results and settings of one run, or the machine.

    Examples:

        charlm info

        charlm info my-lyrics --json
    """
    from charlm.console.ensembles import show_ensemble_run
    from charlm.console.runs import show_machine, show_model_file, show_run, show_runs
    from charlm.console.terminal import print_json
    from charlm.reports.diagnosis import diagnose_run
    from charlm.runs.ensembles import is_ensemble, read_ensemble
    from charlm.runs.model_file import is_model_file, read_model_file
    from charlm.runs.run import find_run, list_runs, runs_folder

    folder = runs_folder(runs_dir)
    if machine:
        from charlm.training.environment import machine_facts

        facts = machine_facts()
        print_json(facts) if json_ else show_machine(facts)
    elif run is None:
        overviews, damaged = _overviews(list_runs(folder))
        if json_:
            print_json({"runs": overviews, "damaged": damaged})
        else:
            show_runs(overviews, folder, damaged=list(damaged))
    else:
        if is_model_file(run, folder=folder):
            file = read_model_file(Path(run))
            print_json(file.as_record()) if json_ else show_model_file(file)
            return
        found = find_run(run, folder=folder)
        overview = found.overview()
        if is_ensemble(found):
            joined = read_ensemble(found)
            if json_:
                print_json({**overview, "ensemble": joined.as_json(), "environment": found.environment()})
            else:
                show_ensemble_run(found, overview, joined)
            return
        settings, diagnosis = found.settings(), diagnose_run(found)
        if json_:
            facts = {"settings": settings.model_dump(mode="json"), "environment": found.environment()}
            told = diagnosis and {"kind": diagnosis.kind, "sentence": diagnosis.sentence}
            print_json({**overview, "diagnosis": told, **facts})
        else:
            show_run(found, overview, diagnosis)


def _overviews(runs: Iterable[Run]) -> tuple[list[Overview], dict[str, str]]:
    """Return the rows of the table and why each damaged run cannot be read; the reasons are printed too."""
    overviews: list[Overview] = []
    damaged: dict[str, str] = {}
    for run in runs:
        try:
            overviews.append(run.overview())
        except CharlmError as error:
            name = printable(run.name, MAX_NAME)
            damaged[name] = "; ".join(str(error).splitlines())
            typer.echo(f"charlm: the run {name} is damaged: {printable(damaged[name], MAX_SENTENCE)}", err=True)
    return overviews, damaged
