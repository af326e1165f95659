"""A run on disk: where it is, what it contains, and how one is found."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from charlm.errors import RunError, printable
from charlm.runs.durable import ASIDE, REMOVED_NAME, dangling_link
from charlm.runs.facts import Environment
from charlm.runs.history import History, read_history, read_samples
from charlm.runs.json_records import from_json
from charlm.runs.overview import Overview, overview_of
from charlm.runs.ownership import owner_of
from charlm.runs.records import EvaluationLine, SampleTable, Summary
from charlm.runs.untrusted import open_regular, parse_json
from charlm.settings.loading import load_run_settings
from charlm.settings.nearest import did_you_mean, nearest_name
from charlm.settings.schema import Settings

# A checkpoint that is being replaced can be found next to its successor, or in its place.
CHECKPOINT_NAME = re.compile(rf"step-(\d{{8,}})({re.escape(ASIDE)})?", re.ASCII)
CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
METRICS = "metrics.jsonl"
SAMPLES = "samples.jsonl"
RESUMES = "resumes.jsonl"
# What an ensemble of other runs has in place of checkpoints.
ENSEMBLE = "ensemble.json"
# The definition in the folder of a sweep, whose trials are runs.
SWEEP_DEFINITION = "sweep.yaml"
MAX_NAME = 1_000
MAX_ENVIRONMENT_BYTES = 1 << 20


@dataclass(frozen=True)
class Run:
    """A run folder."""

    path: Path

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.name

    @property
    def exists(self) -> bool:
        """Whether the run exists and is complete: its configuration is written last."""
        return is_run(self.path)

    @property
    def checkpoints_folder(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    def settings(self) -> Settings:
        """Read the resolved configuration."""
        return load_run_settings(self.path / CONFIG)

    def environment(self) -> Environment:
        """Read the facts about the run: its text, its network and its machine.

        Raises:
            RunError: if they are missing or damaged.
        """
        path = self.path / ENVIRONMENT
        with open_regular(path) as file:
            content = file.read(MAX_ENVIRONMENT_BYTES)
        try:
            return from_json(Environment, parse_json(content, path))
        except ValueError as error:
            raise RunError(f"{path} is not the environment of a run: {error}") from error

    def history(self) -> History:
        """Read the evaluations and the closing summary; a last line that was cut off is left out."""
        return read_history(self.path / METRICS)

    def metrics(self) -> list[EvaluationLine | Summary]:
        """Read the evaluations and, last, the closing summary; a last line that was cut off is left out."""
        history = self.history()
        return [*history.evaluations, *([history.summary] if history.summary else [])]

    def samples(self) -> list[SampleTable]:
        """Read what the model wrote during training; a last line that was cut off is left out."""
        return list(read_samples(self.path / SAMPLES))

    def summary(self) -> Summary | None:
        """Return the closing summary, or None for a run that is running or was cut off."""
        return self.history().summary

    def overview(self) -> Overview:
        """Return the run's row in a table of runs: state, corpus, model, size and best results."""
        is_running, model = owner_of(self.path) is not None, self.settings().model
        return overview_of(self.name, model, self.environment(), self.history(), is_running=is_running)

    def last_written(self) -> int:
        """Return when the newest checkpoint was saved, or else the configuration, in nanoseconds."""
        return (self.checkpoint_paths() or [self.path / CONFIG])[-1].stat().st_mtime_ns

    def checkpoint_paths(self) -> list[Path]:
        """Return the folders of all finished checkpoints, oldest first.

        Raises:
            RunError: if they are in another folder, which may have another owner.
        """
        if self.checkpoints_folder.is_symlink():
            raise RunError(f"{self.checkpoints_folder} is a link, but a run's checkpoints must be in its own folder")
        if not self.checkpoints_folder.is_dir():
            return []
        found = ((CHECKPOINT_NAME.fullmatch(path.name), path) for path in self.checkpoints_folder.iterdir())
        return [path for *_, path in sorted((int(name[1]), name[2] is None, path) for name, path in found if name)]


def is_run(path: Path) -> bool:
    """Say whether a folder is a run: it has a configuration, and nobody has begun to remove it."""
    return (path / CONFIG).is_file() and not REMOVED_NAME.fullmatch(path.name)


def is_sweep(path: Path) -> bool:
    """Say whether a folder is that of a sweep, and nobody has begun to remove it."""
    return (path / SWEEP_DEFINITION).is_file() and not is_run(path) and not REMOVED_NAME.fullmatch(path.name)


def runs_folder(given: str | Path | None = None) -> Path:
    """Return the folder of runs: the given one, else CHARLM_RUNS_DIR, else ./runs."""
    return Path(given or os.environ.get("CHARLM_RUNS_DIR") or "runs")


def find_run(name: str | None, *, folder: Path) -> Run:
    """Return the run with a name or path, or without one the newest run that has a checkpoint or is an ensemble.

    Raises:
        RunError: if there is none.
    """
    if name is None:
        runs = [run for run in list_runs(folder) if _has_checkpoint(run)]
        if not runs:
            raise RunError(f"there is no run with a checkpoint in {folder}: `charlm train` makes one")
        return max(runs, key=Run.last_written)
    for path in (folder / name, Path(name)):
        if is_run(path):
            return Run(path)
    if dangling := dangling_link(folder / name) or dangling_link(Path(name)):
        raise RunError(f"there is no run {printable(name, MAX_NAME)}: {dangling}")
    if Path(name).is_file():
        raise RunError(f"{printable(name, MAX_NAME)} is a file and not the folder of a run, which this command needs")
    names = [run.name for run in list_runs(folder)]
    newest = f"; the newest there: {', '.join(names[-5:])}" if names else ""
    missing = f"there is no run {printable(name, MAX_NAME)} in {printable(str(folder), MAX_NAME)}"
    raise RunError(f"{missing}{did_you_mean(nearest_name(name, reversed(names))) or newest}")


def list_runs(folder: Path) -> list[Run]:
    """Return the runs in a folder, ordered by the age of their configurations.

    Raises:
        RunError: if the folder is a link to something that does not exist.
    """
    if dangling := dangling_link(folder):
        raise RunError(f"there are no runs: {dangling}")
    if not folder.is_dir():
        return []
    runs: list[tuple[int, str, Run]] = []
    for path in folder.iterdir():
        # Another process may be removing it.
        with suppress(FileNotFoundError):
            if is_run(path):
                runs.append(((path / CONFIG).stat().st_mtime_ns, path.name, Run(path)))
    return [run for *_, run in sorted(runs, key=lambda row: row[:2])]


def find_unfinished(folder: Path) -> Run:
    """Return the newest run that has not ended by itself.

    Raises:
        RunError: if there is none.
    """
    unfinished = [run for run in list_runs(folder) if _is_unfinished(run)]
    if not unfinished:
        raise RunError(f"there is no unfinished run in {folder}: name one with --run, or start one without --resume")
    return max(unfinished, key=Run.last_written)


def _has_checkpoint(run: Run) -> bool:
    with suppress(RunError):
        return bool(run.checkpoint_paths()) or (run.path / ENSEMBLE).is_file()
    return False


def _is_unfinished(run: Run) -> bool:
    """Say whether a run has not ended; an unreadable run does not count, so that it hides no other."""
    with suppress(RunError):
        run.checkpoint_paths()
        return run.summary() is None
    return False
