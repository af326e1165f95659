"""`charlm verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from charlm.cli.arguments import JsonOption, RunsDirOption
from charlm.errors import RunError

if TYPE_CHECKING:
    from charlm.runs.run import Run


def verify(
    run: Annotated[str | None, typer.Argument(help="A run's name or path.", show_default="the newest")] = None,
    json_: JsonOption = False,
    runs_dir: RunsDirOption = None,
) -> None:
    """Check every checkpoint of a run: each byte against the manifest, each tensor against the configuration.

    Of an ensemble, check that its members and its n-grams are those that it was made of.

    Example:

        charlm verify my-lyrics
    """
    from charlm.console.runs import show_verdicts
    from charlm.console.terminal import print_json
    from charlm.runs.ensembles import is_ensemble
    from charlm.runs.run import find_run, runs_folder
    from charlm.training.verification import verify_run

    found = find_run(run, folder=runs_folder(runs_dir))
    if is_ensemble(found):
        _verify_ensemble(found, as_json=json_)
        return
    verdicts = list(verify_run(found))
    if json_:
        print_json(
            {
                "run": found.name,
                "checkpoints": [
                    {"step": verdict.step, "bytes": verdict.num_bytes, "damage": verdict.damage} for verdict in verdicts
                ],
            }
        )
    else:
        show_verdicts(found, verdicts)
    damaged = [verdict for verdict in verdicts if verdict.damage]
    if not verdicts:
        raise RunError(f"the run {found.path} has no checkpoint yet")
    if damaged:
        raise RunError(f"{len(damaged)} of {len(verdicts)} checkpoints of the run {found.name} cannot be used")


def _verify_ensemble(run: Run, *, as_json: bool) -> None:
    from charlm.console.terminal import print_json
    from charlm.library.ensembles import verify_ensemble

    # What has changed is an error, which names it.
    names = verify_ensemble(run)
    if as_json:
        print_json({"run": run.name, "members": names})
    else:
        typer.echo(f"{run.path}: unchanged: {', '.join(names)}")
