"""The runs that the names on a command line mean: runs, exported files, and all runs of a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from charlm.runs.run import Run, is_run, is_sweep, list_runs

RunName = str | Path | Run


def sweep_of(name: RunName, folder: Path) -> Path | None:
    """Return the folder of the sweep of that name or path, unless it names a run.

    Args:
        name: what was typed.
        folder: the folder of runs.
    """
    if isinstance(name, Run) or any(is_run(path) for path in (folder / name, Path(name))):
        return None
    return next((path for path in (folder / name, Path(name)) if is_sweep(path)), None)


def runs_of(names: Sequence[RunName], folder: Path) -> Iterator[RunName]:
    """Yield each name, or in place of a sweep's name its runs."""
    for name in names:
        if sweep := sweep_of(name, folder):
            yield from list_runs(sweep)
        else:
            yield name
