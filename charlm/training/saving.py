"""When a run's position is saved, and what happens if that fails."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from charlm.errors import OutOfMemoryError, RunError, StorageError
from charlm.runs.checkpoints import Checkpoint, load_checkpoint
from charlm.runs.writer import RunWriter
from charlm.training.events import Unsaved
from charlm.training.experiment import Experiment
from charlm.training.position import Position, to_checkpoint

RETRY_SECONDS = 30.0


class Saver:
    """Save positions through a run's writer, and remember when, which, and whether that succeeded.

    Args:
        experiment: the experiment whose weights and moments are saved.
        writer: writes to the run folder.
        saved: the position from which the run is resumed, if there is one.
        began: when the run began on the monotonic clock, moved back by the seconds of earlier processes.
    """

    def __init__(self, experiment: Experiment, writer: RunWriter, *, saved: Position | None, began: float) -> None:
        self.experiment, self.writer, self.began = experiment, writer, began
        self._saved = None if saved is None else _key(saved)
        self._tried_at = time.monotonic()
        self._failed = False

    @property
    def seconds(self) -> float:
        """Seconds since the run began, over all its processes."""
        return time.monotonic() - self.began

    def is_saved(self, position: Position) -> bool:
        """Return whether this position was the last one saved, in a folder that still exists."""
        return self._saved == _key(position) and self.writer.is_there

    def is_due(self, position: Position) -> bool:
        """Return whether it is time to save a position between evaluations, or to try again."""
        period = RETRY_SECONDS if self._failed else 60 * self.experiment.settings.checkpoint.minutes
        return time.monotonic() - self._tried_at >= period and not self.is_saved(position)

    def save(self, position: Position) -> None:
        """Save a position.

        Raises:
            StorageError: if the disk does not accept it; earlier checkpoints stay. A folder that was deleted is made
                anew.
        """
        self._tried_at, self._failed = time.monotonic(), True
        self._write(to_checkpoint(self.experiment, replace(position, seconds=self.seconds)))
        self._saved, self._failed = _key(position), False

    def try_to_save(self, position: Position) -> list[Unsaved]:
        """Save a position, or report why that failed; a later attempt may succeed."""
        try:
            self.save(position)
        except (StorageError, OutOfMemoryError) as error:
            return [Unsaved(position.progress.step, str(error))]
        return []

    def load_best(self, position: Position) -> Checkpoint:
        """Load the run's best checkpoint; save the last position first, unless it is already in a folder that exists.

        Raises:
            RunError: if no checkpoint is intact.
            StorageError: if the disk does not accept the position.
        """
        if not self.is_saved(position):
            self.save(position)
        return load_checkpoint(self.writer.run, "best")

    def finish(self, best: Checkpoint) -> None:
        """Write the lines that are waiting; if the folder has been deleted, write the best checkpoint with them.

        Raises:
            StorageError: if the disk does not accept them.
        """
        if self.writer.is_there:
            self.writer.flush()
        else:
            self._write(best)

    def _write(self, checkpoint: Checkpoint) -> None:
        resolved = self.experiment.resolved
        write = partial(self.writer.save, checkpoint, keep_every=resolved.keep_every, eval_every=resolved.eval_every)
        place = self._place()
        try:
            write()
        except (RunError, StorageError):
            # The folder may have been moved or deleted during the write.
            if self._place() == place:
                raise
            write()

    def _place(self) -> Path:
        """Return the run's folder; if it was deleted, make another one first."""
        if not self.writer.is_there:
            self.writer.begin_anew(self.experiment.timetable.recorded, self.experiment.facts)
        return self.writer.run.path


def _key(position: Position) -> tuple[int, int]:
    return position.progress.step, position.recorded_until
