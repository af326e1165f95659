"""Timing by turns, so that whatever else the machine does affects all subjects alike."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

import torch

from charlm.benchmarks.subjects import Work

SECONDS_A_TURN = 0.08
SECONDS_TO_WARM_UP = 0.05


@dataclass(frozen=True)
class MedianRange:
    """The median, the lowest and the highest value of some rounds."""

    median: float
    low: float
    high: float

    def as_record(self, name: str) -> dict[str, object]:
        """Return the median under a name, and the range under that name with `_range` added."""
        return {name: self.median, f"{name}_range": [self.low, self.high]}


def median_range(values: tuple[float, ...]) -> MedianRange:
    """Summarise one value for each round."""
    return MedianRange(median(values), min(values), max(values))


def measure_in_turn(works: Mapping[str, Work], *, rounds: int, device: torch.device) -> Mapping[str, tuple[float, ...]]:
    """Return how many seconds an item of each work took, one value for each round.

    In each round every work has a turn of about SECONDS_A_TURN or one item; the next round starts with another one.
    """
    counts = {name: _items_a_turn(work, device) for name, work in works.items()}
    seconds: dict[str, list[float]] = {name: [] for name in works}
    order = list(works)
    for _ in range(rounds):
        for name in order:
            seconds[name].append(_seconds(works[name], counts[name], device) / counts[name])
        order = [*order[1:], order[0]]
    return {name: tuple(values) for name, values in seconds.items()}


def _items_a_turn(work: Work, device: torch.device) -> int:
    """Warm up (allocate, wake threads, choose kernels), and then count how many items fill a turn."""
    _seconds(work, 1, device)
    seconds, num_items = _seconds(work, 1, device), 1
    while seconds < SECONDS_TO_WARM_UP:
        seconds, num_items = seconds + _seconds(work, 1, device), num_items + 1
    return max(1, round(SECONDS_A_TURN / seconds * num_items))


def _seconds(work: Work, num_items: int, device: torch.device) -> float:
    began = time.perf_counter()
    for _ in range(num_items):
        next(work)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
