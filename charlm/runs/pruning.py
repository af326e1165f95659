"""Thin out the checkpoints of runs: what stays is enough to evaluate, to write with, to resume and to train on.

First a plan is made, which only reads; then it is carried out.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import time_ns
from typing import get_args

from charlm.errors import CharlmWarning, ConfigError, RunError, RunInUseError, printable
from charlm.runs.checkpoints import step_of
from charlm.runs.claims import check_free, find_target, last_written, name_in, owned, size_of, sweep_removed
from charlm.runs.durable import DRAFT_NAME, remove_folder, storage_error, sweep_drafts
from charlm.runs.heirs import Heir, all_runs, find_heirs
from charlm.runs.json_records import Json
from charlm.runs.retention import Keep, kept_checkpoints
from charlm.runs.run import Run, is_sweep, list_runs, runs_folder

MAX_PATH = 1_000
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
DURATION = re.compile(rf"([0-9]{{1,9}}(?:\.[0-9]{{1,9}})?)([{''.join(UNITS)}])")


@dataclass(frozen=True)
class Thinning:
    """The checkpoints to remove from one run.

    Args:
        name: the run's path within the folder of runs, or else its whole path.
        run: the run.
        removed: the checkpoints that go, oldest first.
        leftovers: what killed processes have left between the checkpoints, which goes too.
        kept: why each of the other checkpoints stays, oldest first: best, last, evaluated, parent, foreign (it holds a
            file that is not charlm's) or unreadable.
        num_bytes: size of what goes in bytes.
        changed: when the run was last written, in nanoseconds.
    """

    name: str
    run: Run
    removed: tuple[Path, ...]
    leftovers: tuple[Path, ...]
    kept: Mapping[Path, Sequence[str]]
    num_bytes: int
    changed: int

    def as_record(self) -> Json:
        """Return a JSON object, whose sizes are in bytes."""
        return {
            "run": self.name,
            "path": str(self.run.path),
            "removed_steps": [step_of(path) for path in self.removed],
            "kept_steps": {str(step_of(path)): list(reasons) for path, reasons in self.kept.items()},
            "num_leftovers": len(self.leftovers),
            "bytes": self.num_bytes,
        }


@dataclass(frozen=True)
class Pruning:
    """The checkpoints to remove from several runs.

    Args:
        thinnings: one for each run that loses something.
        skipped: why each of the runs that were not named, and cannot be thinned now, is left as it is.
        younger: names of the runs that are left as they are because they were written too recently.
        is_named: whether the runs were named, so that one in use is an error.
    """

    thinnings: tuple[Thinning, ...]
    skipped: Mapping[str, str]
    younger: tuple[str, ...]
    is_named: bool

    @property
    def num_bytes(self) -> int:
        """Size of what goes in bytes."""
        return sum(thinning.num_bytes for thinning in self.thinnings)


def prune_runs(
    *runs: str | Path | Run,
    keep: Keep = "best",
    older: str | None = None,
    runs_dir: str | Path | None = None,
    dry_run: bool = False,
) -> Pruning:
    """Remove the checkpoints that runs do not need, and return what was removed; nobody is asked.

    The last checkpoint of a run always stays, so that it can be resumed; keep="best" also keeps the best, so that
    results and samples are what they were.

    Args:
        runs: runs or sweeps, or their names or paths; without any, all runs in the folder and in its sweeps, except
            those in use.
        keep: best, or last to keep only the last checkpoint.
        older: a duration such as 12h or 7d (s, m, h, d or w): only runs that were last written before that; None means
            all.
        runs_dir: the folder that contains the runs; None means CHARLM_RUNS_DIR or ./runs.
        dry_run: whether to remove nothing and only return what would be removed.
    Raises:
        ConfigError: for another kind of checkpoint to keep, or a duration that is none.
        RunError: if a run that was named is missing or cannot be thinned.
        RunInUseError: if a run that was named is in use.
        StorageError: if something cannot be removed.

    Example:
        >>> pruning = charlm.prune_runs("my-run", keep="last")
        >>> [(thinning.name, len(thinning.removed)) for thinning in pruning.thinnings]
        [('my-run', 1)]
        >>> charlm.prune_runs("my-run", keep="last").thinnings
        ()
    """
    if keep not in get_args(Keep):
        raise ConfigError(f"keep must be best or last, got {keep!r}")
    names = [str(run.path if isinstance(run, Run) else run) for run in runs]
    seconds = None if older is None else read_duration(older, "older")
    pruning = plan_pruning(names, folder=runs_folder(runs_dir), keep=keep, older_seconds=seconds)
    if not dry_run:
        for _ in prune(pruning):
            pass
    return pruning


def plan_pruning(
    names: Sequence[str], *, folder: Path, keep: Keep = "best", older_seconds: float | None = None
) -> Pruning:
    """Return what goes if these runs are thinned out; nothing is written.

    Args:
        names: names or paths of runs or sweeps; none means all.
        folder: the folder of runs.
        keep: which checkpoint stays besides the last.
        older_seconds: only runs that were last written longer ago than this; None means all.
    Raises:
        RunError: naming a run that is missing or cannot be thinned.
        RunInUseError: if a run that was named is in use.
    """
    before = None if older_seconds is None else time_ns() - round(1e9 * older_seconds)
    runs = list(_named(names, folder)) if names else all_runs(folder)
    heirs = find_heirs({folder, *(run.path.parent for run in runs)})
    thinnings: list[Thinning] = []
    skipped: dict[str, str] = {}
    younger: list[str] = []
    # A link next to a run must not stand for it.
    for run in {run.path.parent.resolve() / run.name: run for run in runs}.values():
        name = name_in(folder, run.path)
        if before is not None and last_written(run.path) >= before:
            younger.append(name)
            continue
        try:
            thinning = _thinning(run, name, keep, heirs)
        except (RunError, RunInUseError) as error:
            if names:
                raise
            skipped[name] = str(error)
            continue
        thinnings += [thinning] if thinning.removed or thinning.leftovers else []
    return Pruning(tuple(thinnings), skipped, tuple(younger), is_named=bool(names))


def prune(pruning: Pruning) -> Iterator[Thinning]:
    """Remove what was planned, and yield each run once it is thinned out.

    Raises:
        RunInUseError: if a run that was named is in use; others are left as they are, with a `CharlmWarning`.
        RunError: if a run that was named has changed since the plan was made; likewise.
        StorageError: if something cannot be removed.
    """
    for parent in {thinning.run.path.parent for thinning in pruning.thinnings}:
        sweep_removed(parent)
    for thinning in pruning.thinnings:
        try:
            with owned(thinning.run.path):
                _remove(thinning)
        except (RunError, RunInUseError) as error:
            if pruning.is_named:
                raise
            warnings.warn(f"{error}: it is left as it is", CharlmWarning, stacklevel=2)
            continue
        yield thinning


def read_duration(text: str, name: str) -> float:
    """Return the seconds of a duration such as 90s, 12h, 7d or 1.5w.

    Args:
        text: a number and a unit: s, m (minutes), h, d or w.
        name: what the text is given as, for messages.
    Raises:
        ConfigError: for any other text.
    """
    if (found := DURATION.fullmatch(text.strip())) is None:
        raise ConfigError(f"{name} must be a number and a unit (s, m, h, d or w), as in 7d, got {printable(text)!r}")
    return float(found[1]) * UNITS[found[2]]


def _named(names: Iterable[str], folder: Path) -> Iterator[Run]:
    """Yield the runs with these names; those of a sweep stand for its trials.

    Raises:
        RunError: naming each one that is missing.
        RunInUseError: if one is in use.
    """
    paths: list[Path] = []
    problems: list[str] = []
    for name in dict.fromkeys(names):
        try:
            paths.append(find_target(name, folder))
        except RunError as error:
            problems.append(str(error))
    if problems:
        raise RunError("\n".join(problems))
    for path in paths:
        check_free(path)
        yield from list_runs(path) if is_sweep(path) else [Run(path)]


def _thinning(run: Run, name: str, keep: Keep, heirs: Iterable[Heir]) -> Thinning:
    """Return what goes from a run.

    Raises:
        RunError: if it is a link, or its checkpoints are.
        RunInUseError: if it is in use.
    """
    if run.path.is_symlink():
        raise RunError(f"{printable(str(run.path), MAX_PATH)} is a link, and links are not followed")
    check_free(run.path)
    paths = run.checkpoint_paths()
    kept = kept_checkpoints(run, paths, keep, {heir.parent.step for heir in heirs if heir.is_of(run)})
    removed = tuple(path for path in paths if path not in kept)
    folder = run.checkpoints_folder
    drafts = (path for path in folder.iterdir() if DRAFT_NAME.fullmatch(path.name)) if folder.is_dir() else ()
    leftovers = tuple(sorted(path for path in drafts if not path.is_symlink()))
    num_bytes = sum(map(size_of, (*removed, *leftovers)))
    return Thinning(name, run, removed, leftovers, kept, num_bytes, last_written(run.path))


def _remove(thinning: Thinning) -> None:
    """Remove what goes from a run that this process owns.

    Raises:
        RunError: if the run has been written since the plan was made.
        StorageError: if something cannot be removed.
    """
    run = thinning.run
    if last_written(run.path) != thinning.changed:
        raise RunError(f"the run {thinning.name} has changed since it was looked at: nothing of it was removed")
    for path in thinning.removed:
        remove_folder(path)
    try:
        sweep_drafts(run.checkpoints_folder)
    except OSError as error:
        raise storage_error(run.checkpoints_folder, error, "clear") from error
