"""When a run's position is saved, and what happens where it cannot be."""

from __future__ import annotations

import time
from dataclasses import replace

from charlm.errors import StorageError
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
        """Say whether this position was the last one saved."""
        return self._saved == _key(position)

    def is_due(self, position: Position) -> bool:
        """Say whether it is time to save a position between evaluations, or to try again."""
        period = RETRY_SECONDS if self._failed else 60 * self.experiment.settings.checkpoint.minutes
        return time.monotonic() - self._tried_at >= period and not self.is_saved(position)

    def save(self, position: Position) -> None:
        """Save a position.

        Raises:
            StorageError: where the disk does not take it; what was saved before stays.
        """
        self._tried_at, self._failed = time.monotonic(), True
        self.writer.save(
            to_checkpoint(self.experiment, replace(position, seconds=self.seconds)),
            keep_every=self.experiment.resolved.keep_every,
            eval_every=self.experiment.resolved.eval_every,
        )
        self._saved, self._failed = _key(position), False

    def try_to_save(self, position: Position) -> list[Unsaved]:
        """Save a position, or tell why that did not go; a later attempt may."""
        try:
            self.save(position)
        except StorageError as error:
            return [Unsaved(position.progress.step, str(error))]
        return []


def _key(position: Position) -> tuple[int, int]:
    return position.progress.step, position.recorded_until
