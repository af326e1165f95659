"""When a run's position is saved, and what happens where it cannot be."""

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
    """Save positions through a run's writer, and remember when, which, and whether it went well.

    Args:
        experiment: whose weights and moments are saved.
        writer: of the run.
        saved: the position that the run goes on from, where it has been saved.
        began: when the run began, on the monotonic clock, its earlier processes' seconds taken off.
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
        """Say whether this position was the last one saved, in a folder that is still there."""
        return self._saved == _key(position) and self.writer.is_there

    def is_due(self, position: Position) -> bool:
        """Say whether it is time to save a position between evaluations, or to try again."""
        period = RETRY_SECONDS if self._failed else 60 * self.experiment.settings.checkpoint.minutes
        return time.monotonic() - self._tried_at >= period and not self.is_saved(position)

    def save(self, position: Position) -> None:
        """Save a position.

        Raises:
            StorageError: where the disk does not take it; what was saved before stays. In the place of a folder that
                was deleted another is made.
        """
        self._tried_at, self._failed = time.monotonic(), True
        self._write(to_checkpoint(self.experiment, replace(position, seconds=self.seconds)))
        self._saved, self._failed = _key(position), False

    def try_to_save(self, position: Position) -> list[Unsaved]:
        """Save a position, or tell why that did not go; a later attempt may."""
        try:
            self.save(position)
        except (StorageError, OutOfMemoryError) as error:
            return [Unsaved(position.progress.step, str(error))]
        return []

    def load_best(self, position: Position) -> Checkpoint:
        """Load the best checkpoint of a run whose last position has been saved; once more, if its folder was deleted.

        Raises:
            RunError: where there is no whole one.
            StorageError: where the disk does not take it.
        """
        if not self.is_saved(position):
            self.save(position)
        return load_checkpoint(self.writer.run, "best")

    def finish(self, best: Checkpoint) -> None:
        """Write the lines that wait, once all is saved; with them the best checkpoint, if the folder was deleted since.

        Raises:
            StorageError: where the disk does not take them.
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
            # It may have been moved or deleted in the middle.
            if self._place() == place:
                raise
            write()

    def _place(self) -> Path:
        """Return where the run's folder is, or another that is made for one that was deleted."""
        if not self.writer.is_there:
            self.writer.begin_anew(self.experiment.settings, self.experiment.facts)
        return self.writer.run.path


def _key(position: Position) -> tuple[int, int]:
    return position.progress.step, position.recorded_until
