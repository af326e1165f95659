"""What each step of a run reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import TypeVar

from charlm.text.windows import Window, read_windows
from charlm.training.experiment import Experiment
from charlm.training.progress import Progress

Item = TypeVar("Item")


@dataclass(frozen=True)
class Batch:
    """What one step reads: its epoch (from 0), its place in that epoch, and its windows."""

    epoch: int
    epoch_step: int
    windows: list[Window]


def read_batches(experiment: Experiment, progress: Progress) -> Iterator[Batch]:
    """Yield batches without end, starting at a run's current step; they are a pure function of (seed, epoch, step)."""
    settings, ids = experiment.settings, experiment.split.train.ids
    accumulation, skipped = settings.optimizer.accumulation, progress.epoch_step
    for epoch in count(progress.epoch):
        windows = read_windows(
            ids,
            settings.sampling,
            seed=settings.train.seed,
            epoch=epoch,
            lookahead=settings.model.lookahead,
            start=skipped * accumulation,
        )
        for epoch_step, group in enumerate(_grouped(windows, accumulation), start=skipped):
            yield Batch(epoch, epoch_step, group)
        skipped = 0


def _grouped(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group
