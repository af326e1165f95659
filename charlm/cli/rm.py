"""`charlm rm`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.arguments import JsonOption, RunsDirOption
from charlm.cli.asking import DryRunOption, YesOption, check_answerable, is_agreed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from charlm.runs.removal import Removal


def rm(
    runs: Annotated[list[str], typer.Argument(help="Names or paths of runs or of whole sweeps.", metavar="RUN")],
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    json_: JsonOption = False,
    runs_dir: RunsDirOption = None,
) -> None:
    """Remove runs, each with its whole folder, after showing what goes and asking.

    Nothing is removed if any of them is missing, in use, a link, or holds a file that charlm has not written.

    Runs that started from a removed one keep working.

    Examples:

        charlm rm my-lyrics --dry-run

        charlm rm my-lyrics newest --yes
    """
    from charlm.console.removal import show_removals
    from charlm.console.terminal import print_json
    from charlm.runs.removal import plan_removals
    from charlm.runs.run import runs_folder

    if not dry_run:
        check_answerable("charlm rm", yes=yes, as_json=json_)
    removals = plan_removals(runs, folder=runs_folder(runs_dir))
    if not json_:
        show_removals(removals)
    if not dry_run:
        if not (yes or is_agreed(f"Remove {_told(removals)}, for good?")):
            typer.echo("charlm: nothing was removed", err=True)
            return
        _remove(removals)
    if json_:
        num_bytes = sum(removal.num_bytes for removal in removals)
        records = [removal.as_record() for removal in removals]
        print_json({"dry_run": dry_run, "bytes": num_bytes, "runs": records})


def _remove(removals: Sequence[Removal]) -> None:
    """Remove what was shown, and say what is gone, also where an error ends it."""
    from charlm.runs.removal import remove

    gone: list[Removal] = []
    try:
        for removal in remove(removals):
            gone.append(removal)
    finally:
        if gone:
            typer.echo(f"charlm: removed {_told(gone)}", err=True)


def _told(removals: Sequence[Removal]) -> str:
    num_runs, num_bytes = sum(each.num_runs for each in removals), sum(each.num_bytes for each in removals)
    return f"{num_runs:,} run{'s' * (num_runs != 1)}, {num_bytes:,} bytes"
