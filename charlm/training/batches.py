"""What each step of a run reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, islice
from typing import TypeVar

from charlm.text.item_windows import read_item_batches
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
    accumulation, skipped = experiment.settings.optimizer.accumulation, progress.epoch_step
    for epoch in count(progress.epoch):
        pieces = _read_pieces(experiment, epoch, start=skipped * accumulation)
        for epoch_step, group in enumerate(_grouped(pieces, accumulation), start=skipped):
            yield Batch(epoch, epoch_step, list(chain.from_iterable(group)))
        skipped = 0


def _read_pieces(experiment: Experiment, epoch: int, *, start: int) -> Iterator[Sequence[Window]]:
    """Yield what `optimizer.accumulation` counts: single windows of a running text, or batches of items."""
    settings, part = experiment.settings, experiment.split.train
    order = {"seed": settings.train.seed, "epoch": epoch, "start": start}
    if part.boundary is not None:
        yield from read_item_batches(part.ids, part.boundary, settings.sampling, **order)
        return
    for window in read_windows(part.ids, settings.sampling, lookahead=settings.model.lookahead, **order):
        yield (window,)


def _grouped(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group
