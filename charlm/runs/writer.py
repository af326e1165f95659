"""The only writer of a run folder.

Before each write it makes sure that it still owns the folder. It keeps lines that a full disk refuses and tries again
with the next checkpoint, so that a checkpoint never exists without the records that lead to it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from charlm.errors import CharlmWarning
from charlm.runs.checkpoints import Checkpoint, best_first, step_of, write_checkpoint
from charlm.runs.creation import create_run
from charlm.runs.durable import (
    append_lines,
    cut_file,
    remove_folder,
    replace_file,
    storage_error,
    sweep_drafts,
    sync_file,
)
from charlm.runs.facts import Environment
from charlm.runs.history import read_lines
from charlm.runs.json_records import from_json_or_none, json_line
from charlm.runs.ownership import FolderGoneError, Ownership
from charlm.runs.records import Diverged, EvaluationLine, Resume, SampleTable, Summary
from charlm.runs.run import CONFIG, METRICS, RESUMES, SAMPLES, Run
from charlm.settings.loading import dump_settings
from charlm.settings.schema import Settings
from charlm.settings.training import CheckpointSettings

# The ending of a folder that replaces a deleted one, and how many characters of the former name come before it.
RESCUED = "-rescued"
MAX_STEM = 80
# The records in each file of lines, up to a closing summary.
KINDS: Mapping[str, type[EvaluationLine | SampleTable]] = {METRICS: EvaluationLine, SAMPLES: SampleTable}


class RunWriter:
    """Write a run's records and checkpoints.

    Args:
        run: the run.
        ownership: the ownership of its folder, which `close` releases.
    """

    def __init__(self, run: Run, ownership: Ownership) -> None:
        self.run, self._ownership = run, ownership
        self._pending: dict[str, list[str]] = {name: [] for name in KINDS}
        self._sweep()

    def close(self) -> None:
        """Release the folder."""
        self._ownership.release()

    @property
    def is_there(self) -> bool:
        """Whether the run's folder still exists, here or wherever it was moved."""
        try:
            self._check()
        except FolderGoneError:
            return False
        return True

    def begin_anew(self, settings: Settings, environment: Environment) -> None:
        """Make a new folder next to the place of a deleted one, for everything that is written from now on.

        Args:
            settings: the run's resolved settings.
            environment: the content of environment.json.
        Raises:
            StorageError: if it cannot be written.
        """
        former = self.run.path
        stem = f"{former.name[:MAX_STEM]}{RESCUED}"
        run, ownership = create_run(settings, environment, folder=former.parent, stem=stem)
        self._ownership.release()
        self.run, self._ownership = run, ownership
        gone = f"the folder {former} was deleted while its run was training"
        warnings.warn(
            f"{gone}: training continues in {run.path} with everything learned so far", CharlmWarning, stacklevel=2
        )

    def record_metrics(self, record: EvaluationLine | Summary | Diverged) -> None:
        """Add a line to metrics.jsonl, which is written with the next checkpoint at the latest."""
        self._pending[METRICS].append(json_line(record))

    def record_samples(self, table: SampleTable) -> None:
        """Add a line to samples.jsonl, which is written with the next checkpoint at the latest."""
        self._pending[SAMPLES].append(json_line(table))

    def record_resume(self, resume: Resume) -> None:
        """Append a line to resumes.jsonl at once."""
        self._check()
        append_lines(self.run.path / RESUMES, [json_line(resume)])

    def flush(self) -> None:
        """Write the lines that are waiting.

        Raises:
            StorageError: if the disk does not accept them; they keep waiting.
            RunInUseError: if another process has taken the folder over.
        """
        self._check()
        for name, lines in self._pending.items():
            if lines:
                append_lines(self.run.path / name, lines)
                lines.clear()

    def save(self, checkpoint: Checkpoint, *, keep_every: int | None = None, eval_every: int = 1) -> None:
        """Write the lines that are waiting and a checkpoint, then remove checkpoints that need not be kept.

        Args:
            checkpoint: the checkpoint to save.
            keep_every: checkpoints whose step is a multiple of this are kept; None keeps no others.
            eval_every: the newest checkpoint whose step is a multiple of this is kept: a diverged run returns to it.
        Raises:
            StorageError: if the disk does not accept it; earlier checkpoints stay.
            RunInUseError: if another process has taken the folder over.
        """
        self.flush()
        # A disk that refused everything may also have kept drafts that could not be removed.
        self._sweep()
        for name in self._pending:
            sync_file(self.run.path / name)
        write_checkpoint(self.run, checkpoint)
        paths = self.run.checkpoint_paths()
        for path in removable(paths, checkpoint.settings.checkpoint, keep_every=keep_every, eval_every=eval_every):
            remove_folder(path)

    def remove_later(self, step: int) -> None:
        """Remove the checkpoints after a step, newest first, because the run has returned to that step.

        Raises:
            StorageError: if one cannot be removed.
            RunInUseError: if another process has taken the folder over.
        """
        self._check()
        for path in self.run.checkpoint_paths()[::-1]:
            if step_of(path) > step:
                remove_folder(path)

    def change_settings(self, settings: Settings) -> None:
        """Replace the run's configuration."""
        self._check()
        replace_file(self.run.path / CONFIG, dump_settings(settings).encode("utf-8"))

    def cut_records(self, until: int) -> None:
        """Remove the records after a step, and those outside the schedule of a closing run, so that none is doubled.

        Raises:
            StorageError: if a file cannot be cut.
        """
        self._check()
        for name, lines in self._pending.items():
            lines.clear()
            path, kept = self.run.path / name, 0
            for end, line in read_lines(path):
                record = from_json_or_none(KINDS[name], line)
                if record is None or record.is_closing or record.step > until:
                    break
                kept = end
            if path.exists() and path.stat().st_size > kept:
                cut_file(path, kept)

    def _check(self) -> None:
        """Make sure that this process still owns the folder, and follow the folder if it was moved."""
        self._ownership.check()
        former, found = self.run.path, self._ownership.folder
        if found != former:
            self.run = Run(found)
            moved = f"the folder {former} was moved to {found} while its run was training"
            warnings.warn(f"{moved}: training continues there", CharlmWarning, stacklevel=2)

    def _sweep(self) -> None:
        try:
            sweep_drafts(self.run.path)
            sweep_drafts(self.run.checkpoints_folder)
        except OSError as error:
            raise storage_error(self.run.path, error, "clear") from error


def removable(
    paths: Sequence[Path], kept: CheckpointSettings, *, keep_every: int | None, eval_every: int = 1
) -> list[Path]:
    """Return the checkpoints that are neither among the newest, nor the best, nor kept for their step."""
    replaced = [path for path, newer in pairwise(paths) if step_of(path) == step_of(newer)]
    paths = [path for path in paths if path not in replaced]
    scheduled = [path for path in paths if step_of(path) % eval_every == 0]
    keep = {*paths[-kept.keep_last :], *best_first(paths)[:1], *scheduled[-1:]}
    if keep_every is not None:
        keep |= {path for path in paths if step_of(path) > 0 and step_of(path) % keep_every == 0}
    return replaced + [path for path in paths if path not in keep]
