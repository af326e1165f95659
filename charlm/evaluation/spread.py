"""Summarise independent runs of the same settings by the mean and standard deviation of a result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any


@dataclass(frozen=True)
class Spread:
    """The mean and spread of a result over independent runs.

    Args:
        mean: mean of their values.
        deviation: standard deviation with n - 1 in the denominator; None for a single run, which has none.
        num_runs: number of runs that have the value.
    """

    mean: float
    deviation: float | None
    num_runs: int

    def as_record(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return {"mean": self.mean, "deviation": self.deviation, "num_runs": self.num_runs}


def spread(values: Iterable[float]) -> Spread | None:
    """Return the mean and standard deviation (n - 1) of independent runs' values; None if there are no values."""
    values = tuple(values)
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None, len(values)) if values else None
