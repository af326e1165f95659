"""The runs that started from others: after their first checkpoint they need nothing of them any more."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from charlm.errors import RunError
from charlm.runs.facts import ParentFacts
from charlm.runs.ownership import owner_of
from charlm.runs.run import Run, is_run, is_sweep, list_runs


@dataclass(frozen=True)
class Heir:
    """A run that started from another.

    Args:
        run: the run.
        parent: what it has recorded about the other.
        has_begun: whether it has a checkpoint, or a process that has read the other; otherwise it needs that to begin.
    """

    run: Run
    parent: ParentFacts
    has_begun: bool

    def is_of(self, run: Run) -> bool:
        """Say whether it started from this run, which may have been moved with its whole folder since."""
        try:
            recorded = Path(self.parent.path)
            if recorded.resolve() == run.path.resolve():
                return True
            are_together = self.run.path.resolve().parent == run.path.resolve().parent
            return are_together and self.parent.name == run.name and not is_run(recorded)
        except (OSError, ValueError, RuntimeError):
            # What is recorded may be no path at all: too long, with NUL in it, or a circle of links.
            return False


def all_runs(folder: Path) -> list[Run]:
    """Return the runs in a folder and those of its sweeps; the link to a sweep is not followed.

    Raises:
        RunError: if the folder is a link to something that does not exist.
    """
    runs = list_runs(folder)
    sweeps = sorted(path for path in folder.iterdir() if is_sweep(path)) if folder.is_dir() else []
    return runs + [run for sweep in sweeps if not sweep.is_symlink() for run in list_runs(sweep)]


def find_heirs(folders: Iterable[Path]) -> list[Heir]:
    """Return the runs in these folders and their sweeps that started from others; unreadable ones are left out."""
    heirs: list[Heir] = []
    for run in {run.path.resolve(): run for folder in folders for run in all_runs(folder)}.values():
        # OSError: another process is removing it.
        with suppress(RunError, OSError):
            if (parent := run.environment().parent) is not None:
                heirs.append(Heir(run, parent, bool(run.checkpoint_paths()) or owner_of(run.path) is not None))
    return heirs
