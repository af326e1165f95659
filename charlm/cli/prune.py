"""`charlm prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from charlm.cli.arguments import JsonOption, RunsDirOption
from charlm.cli.asking import DryRunOption, YesOption, check_answerable, is_agreed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from charlm.runs.pruning import Pruning, Thinning


def prune(
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Names or paths of runs or sweeps; without any, all runs.", metavar="RUN"),
    ] = None,
    keep: Annotated[
        Literal["best", "last"], typer.Option("--keep", help="The checkpoint to keep besides the last one.")
    ] = "best",
    older: Annotated[
        str | None,
        typer.Option("--older", help="Only runs last written before that, as in 12h or 7d.", metavar="AGE"),
    ] = None,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    json_: JsonOption = False,
    runs_dir: RunsDirOption = None,
) -> None:
    """Remove the checkpoints that runs do not need, after showing what goes and asking.

    The last checkpoint always stays, so every run can still be resumed or trained for longer. With --keep best, results
    and samples stay what they were; --keep last gives up the best checkpoint.

    Without RUN, runs in use are left as they are.

    Examples:

        charlm prune --keep best --older 7d --dry-run

        charlm prune my-lyrics --yes
    """
    from charlm.console.removal import show_pruning
    from charlm.console.terminal import print_json
    from charlm.runs.pruning import plan_pruning, read_duration
    from charlm.runs.run import runs_folder

    seconds = None if older is None else read_duration(older, "--older")
    if not dry_run:
        check_answerable("charlm prune", yes=yes, as_json=json_)
    pruning = plan_pruning(runs or [], folder=runs_folder(runs_dir), keep=keep, older_seconds=seconds)
    for reason in pruning.skipped.values():
        typer.echo(f"charlm: {reason}: it is left as it is", err=True)
    thinned = pruning.thinnings
    if not json_:
        show_pruning(pruning)
    if thinned and not dry_run:
        if not (yes or is_agreed(f"Remove {_told(thinned)}, for good?")):
            typer.echo("charlm: nothing was removed", err=True)
            return
        thinned = _prune(pruning)
    if json_:
        num_bytes = sum(thinning.num_bytes for thinning in thinned)
        records = [thinning.as_record() for thinning in thinned]
        print_json({"dry_run": dry_run, "bytes": num_bytes, "runs": records, "skipped": pruning.skipped})


def _prune(pruning: Pruning) -> tuple[Thinning, ...]:
    """Remove what was shown, and say what is gone, also where an error ends it."""
    from charlm.runs.pruning import prune

    gone: list[Thinning] = []
    try:
        for thinning in prune(pruning):
            gone.append(thinning)
    finally:
        if gone:
            typer.echo(f"charlm: removed {_told(gone)}", err=True)
    return tuple(gone)


def _told(thinnings: Sequence[Thinning]) -> str:
    num_checkpoints = sum(len(each.removed) for each in thinnings)
    num_bytes = sum(each.num_bytes for each in thinnings)
    return f"{num_checkpoints:,} checkpoint{'s' * (num_checkpoints != 1)}, {num_bytes:,} bytes"
