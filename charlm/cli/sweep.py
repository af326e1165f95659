"""`charlm sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.arguments import JsonOption, RunsDirOption, SetOption
from charlm.cli.signals import Signals
from charlm.errors import STOP_CODES, FailedTrialsError, StoppedError

if TYPE_CHECKING:
    from charlm.sweeps.events import SweepEnd
    from charlm.sweeps.plan import Plan


def sweep(
    context: typer.Context,
    file: Annotated[
        str, typer.Argument(help="A sweep file, or the name of a bundled one, such as cells.", metavar="FILE")
    ],
    jobs: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Number of worker processes.", show_default="one per core")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="The address of a Dask scheduler whose workers share the runs folder.", metavar="ADDRESS"),
    ] = None,
    set_: SetOption = None,
    runs_dir: RunsDirOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only the closing table.")] = False,
    json_: JsonOption = False,
) -> None:
    """Train many runs, as a sweep file describes, and report the best.

    Run the same command again to resume an interrupted sweep.

    Examples:

        charlm sweep cells

        charlm sweep my-sweep.yaml --jobs 2 --json
    """
    # The whole file is checked first, because importing torch is slow.
    from charlm.sweeps.sweep_file import read_plan

    plan = read_plan(file, overrides=set_ or [])
    run_plan(context, plan, jobs=jobs, scheduler=scheduler, runs_dir=runs_dir, quiet=quiet, as_json=json_)


def run_plan(
    context: typer.Context,
    plan: Plan,
    *,
    jobs: int | None,
    scheduler: str | None,
    runs_dir: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run a sweep and show its progress and results.

    Raises:
        StoppedError: where a signal stopped it.
        FailedTrialsError: where trials have failed.
    """
    from charlm.console.sweeps import SweepView
    from charlm.sweeps.events import SweepEnd
    from charlm.sweeps.sweeping import sweep_reports

    signals = context.obj if isinstance(context.obj, Signals) else Signals()
    reports = sweep_reports(plan, runs_dir=runs_dir, jobs=jobs, scheduler=scheduler, should_stop=signals.requested)
    end: SweepEnd | None = None
    view = SweepView(quiet=quiet)
    with view.showing():
        for report in reports:
            view.show(report)
            end = report if isinstance(report, SweepEnd) else end
    assert end is not None
    _close(end, as_json=as_json)


def _close(end: SweepEnd, *, as_json: bool) -> None:
    from charlm.console.sweep_results import show_results
    from charlm.console.terminal import print_json

    results = end.results
    print_json({**results.as_record(), "folder": str(end.folder)}) if as_json else show_results(results, end.folder)
    num_open = sum(row.state in ("cut", "new") for row in results.trials)
    if end.stopped_by in STOP_CODES:
        raise StoppedError(
            f"stopped with {num_open} of {len(results.trials)} trials to go; every trial that ran is saved in "
            f"{end.folder}; run the same command again to resume",
            end.stopped_by,
        )
    if results.failed:
        lines = [f"the trial {row.trial} failed: {row.reason}" for row in results.failed]
        lines.append(f"{len(results.failed)} of {len(results.trials)} trials failed")
        raise FailedTrialsError("\n".join(lines))
