"""The runs that need others: those that started from one, until their first checkpoint, and ensembles, always."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from charlm.errors import RunError
from charlm.runs.ensembles import Member, is_ensemble, read_ensemble
from charlm.runs.facts import ParentFacts
from charlm.runs.ownership import owner_of
from charlm.runs.run import Run, is_run, is_sweep, list_runs


@dataclass(frozen=True)
class Heir:
    """A run that started from another, or is an ensemble of it.

    Args:
        run: the run.
        parent: what it has recorded about the other: its name, path and step.
        need: nothing, once it has a checkpoint of its own, or a process that has read the other; until then it needs
            the other to begin. An ensemble needs each member.
    """

    run: Run
    parent: ParentFacts | Member
    need: Literal["nothing", "to begin", "as a member"]

    def is_of(self, run: Run) -> bool:
        """Say whether it started from this run, which may have been moved with its whole folder since."""
        try:
            recorded = self.run.path.parent / self.parent.path
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
    """Return the runs in these folders and their sweeps that need others or did; unreadable ones are left out."""
    heirs: list[Heir] = []
    for run in {run.path.resolve(): run for folder in folders for run in all_runs(folder)}.values():
        # OSError: another process is removing it.
        with suppress(RunError, OSError):
            if is_ensemble(run):
                heirs += (Heir(run, member, "as a member") for member in read_ensemble(run).members)
            elif (parent := run.environment().parent) is not None:
                has_begun = bool(run.checkpoint_paths()) or owner_of(run.path) is not None
                heirs.append(Heir(run, parent, "nothing" if has_begun else "to begin"))
    return heirs
