"""Remove runs and sweeps: first say what goes, then remove it, so that a kill leaves a whole run or none.

A folder is renamed before anything in it is removed, to a name that no command takes for a run's. What a killed process
leaves under such a name is removed by the next removal in the same folder of runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from charlm.errors import CharlmError, ConfigError, RunError, printable
from charlm.runs.claims import check_free, find_target, last_written, name_in, owned, size_of, sweep_removed
from charlm.runs.durable import remove_aside, set_aside
from charlm.runs.heirs import Heir, find_heirs
from charlm.runs.json_records import Json
from charlm.runs.ownership import in_use, owner_of
from charlm.runs.recognition import foreign_in_run, foreign_in_sweep, is_recognised
from charlm.runs.run import Run, is_run, is_sweep, list_runs, runs_folder

MAX_PATH = 1_000
MAX_NAMED = 3


@dataclass(frozen=True)
class Removal:
    """A run or a whole sweep to remove.

    Args:
        name: its path within the folder of runs, or else its whole path.
        path: its folder.
        state: finished, unfinished, diverged or damaged; sweep for a whole sweep.
        sweep: the name of the sweep that the run is a trial of, which trains it again when it goes on; otherwise None.
        num_runs: number of runs: 1, or the trials of the sweep.
        num_checkpoints: number of their checkpoints.
        num_bytes: size of all files in bytes.
        heirs: names of runs that started from it and keep working.
        needed_by: names of runs that are to start from it and have not begun: they cannot without it.
        ensembles: names of the ensembles that it is a member of, which cannot be used without it.
        changed: when it was last written, in nanoseconds.
    """

    name: str
    path: Path
    state: str
    sweep: str | None
    num_runs: int
    num_checkpoints: int
    num_bytes: int
    heirs: tuple[str, ...]
    needed_by: tuple[str, ...]
    ensembles: tuple[str, ...]
    changed: int

    def as_record(self) -> Json:
        """Return a JSON object, whose sizes are in bytes."""
        return {
            "run": self.name,
            "path": str(self.path),
            "state": self.state,
            "sweep": self.sweep,
            "num_runs": self.num_runs,
            "num_checkpoints": self.num_checkpoints,
            "bytes": self.num_bytes,
            "heirs": list(self.heirs),
            "needed_by": list(self.needed_by),
            "ensembles": list(self.ensembles),
        }


def remove_runs(
    *runs: str | Path | Run, runs_dir: str | Path | None = None, dry_run: bool = False
) -> tuple[Removal, ...]:
    """Remove runs with everything in their folders, and return what was removed; nobody is asked.

    The folder of a sweep is removed with all its runs. Only what charlm recognises is removed: a link, or a folder with
    any file that is not charlm's, is refused, and then nothing at all is removed. Runs that started from a removed one
    keep working once they have a checkpoint.

    Args:
        runs: runs, or their names or paths; a run that is named twice counts once.
        runs_dir: the folder that contains the runs; None means CHARLM_RUNS_DIR or ./runs.
        dry_run: whether to remove nothing and only return what would be removed.
    Raises:
        ConfigError: if no run is named.
        RunError: if a run is missing, a link, or not recognised.
        RunInUseError: if a run is in use.
        StorageError: if something cannot be removed.

    Example:
        >>> [removal.name for removal in charlm.remove_runs("my-run", dry_run=True)]
        ['my-run']
        >>> charlm.remove_runs("my-run")[0].num_bytes > 1000
        True
    """
    names = [str(run.path if isinstance(run, Run) else run) for run in runs]
    removals = plan_removals(names, folder=runs_folder(runs_dir))
    return removals if dry_run else tuple(remove(removals))


def plan_removals(names: Sequence[str], *, folder: Path) -> tuple[Removal, ...]:
    """Return what goes if these runs and sweeps are removed; nothing is written.

    Args:
        names: names or paths.
        folder: the folder of runs.
    Raises:
        ConfigError: if no run is named.
        RunError: naming each one that is missing, a link, or not recognised.
        RunInUseError: if one is in use.
    """
    if not names:
        raise ConfigError("name the runs to remove")
    paths: dict[Path, Path] = {}
    problems: list[str] = []
    for name in dict.fromkeys(names):
        try:
            path = find_target(name, folder)
            _check_recognised(path)
            paths.setdefault(path.resolve(), path)
        except RunError as error:
            problems.append(str(error))
    if problems:
        raise RunError("\n".join(problems))
    # A trial goes with its sweep.
    paths = {real: path for real, path in paths.items() if real.parent not in paths}
    for path in paths.values():
        for each in (path, *_trials(path)):
            check_free(each)
    heirs = find_heirs({folder, *(path.parent for path in paths.values())})
    staying = [heir for heir in heirs if not {heir.run.path.resolve(), heir.run.path.resolve().parent} & paths.keys()]
    return tuple(_removal(path, folder, staying) for path in paths.values())


def remove(removals: Sequence[Removal]) -> Iterator[Removal]:
    """Remove what was planned, and yield each run or sweep once it is gone.

    Raises:
        RunInUseError: if one is in use; unless it was started this very moment, nothing is removed then.
        RunError: if one has changed since the plan was made; nothing is removed then.
        StorageError: if something cannot be removed.
    """
    for parent in {removal.path.parent for removal in removals}:
        sweep_removed(parent)
    for removal in removals:
        _check_unchanged(removal)
    for removal in removals:
        _remove(removal)
        yield removal


def _check_recognised(path: Path) -> None:
    """Refuse a folder that holds anything that charlm has not written.

    Raises:
        RunError: naming the first of it.
    """
    shown = printable(str(path), MAX_PATH)
    if not is_sweep(path) and not is_recognised(path):
        raise RunError(f"{shown} has a config.yaml, but it is not a run of charlm's: nothing in it is removed")
    foreign = foreign_in_sweep(path) if is_sweep(path) else foreign_in_run(path)
    found = [printable(str(each.relative_to(path)), MAX_PATH) for each in foreign]
    if found:
        more = f" and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
        raise RunError(
            f"{shown} holds something that charlm has not written, and only whole runs are removed: move it elsewhere "
            f"first ({', '.join(found[:MAX_NAMED])}{more})"
        )


def _check_unchanged(removal: Removal) -> None:
    """Refuse a run that is in use, even by a process that is stopped, or that was written since the plan was made."""
    path, shown = removal.path, printable(str(removal.path), MAX_PATH)
    if not (is_run(path) or is_sweep(path)):
        raise RunError(f"{shown} is not there any more: nothing was removed")
    for folder in (path, *_trials(path)):
        with owned(folder):
            pass
    if _last_written(path) != removal.changed:
        raise RunError(f"{shown} has changed since it was looked at: nothing was removed")


def _remove(removal: Removal) -> None:
    with owned(removal.path):
        aside = set_aside(removal.path)
        for trial in _trials(aside):
            # A trial may have been started by itself before its sweep's folder was set aside.
            if (owner := owner_of(trial)) is not None:
                aside.rename(removal.path)
                raise in_use(removal.path / trial.name, owner)
        remove_aside(aside)


def _removal(path: Path, folder: Path, heirs: Sequence[Heir]) -> Removal:
    runs = _trials(path) if is_sweep(path) else [path]
    ours = [heir for heir in heirs if any(heir.is_of(Run(run)) for run in runs)]
    by_need = {
        need: tuple(dict.fromkeys(name_in(folder, heir.run.path) for heir in ours if heir.need == need))
        for need in ("nothing", "to begin", "as a member")
    }
    num_checkpoints = 0
    for run in runs:
        with suppress(RunError):
            num_checkpoints += len(Run(run).checkpoint_paths())
    return Removal(
        name=name_in(folder, path),
        path=path,
        state="sweep" if is_sweep(path) else _state_of(Run(path)),
        sweep=name_in(folder, path.parent) if is_sweep(path.parent) else None,
        num_runs=len(runs),
        num_checkpoints=num_checkpoints,
        num_bytes=size_of(path),
        heirs=by_need["nothing"],
        needed_by=by_need["to begin"],
        ensembles=by_need["as a member"],
        changed=_last_written(path),
    )


def _state_of(run: Run) -> str:
    try:
        run.settings()
        history = run.history()
    except CharlmError:
        return "damaged"
    return "finished" if history.summary else "diverged" if history.divergence else "unfinished"


def _trials(path: Path) -> list[Path]:
    """Return the folders of a sweep's runs; a run has none."""
    return [] if is_run(path) else [run.path for run in list_runs(path)]


def _last_written(path: Path) -> int:
    """Return when a run, or any trial of a sweep, was last written, in nanoseconds."""
    return max(map(last_written, (path, *_trials(path))))
