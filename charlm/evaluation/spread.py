"""What independent runs of the same settings came to: a mean and how far they lie apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any


@dataclass(frozen=True)
class Spread:
    """What some independent runs came to.

    Args:
        mean: of their values.
        deviation: of a single run, n - 1 in the denominator; None where there is one run, which shows none.
        num_runs: how many have the value.
    """

    mean: float
    deviation: float | None
    num_runs: int

    def as_record(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {"mean": self.mean, "deviation": self.deviation, "num_runs": self.num_runs}


def spread(values: Iterable[float]) -> Spread | None:
    """Return the mean of independent runs' values and their standard deviation, n - 1; None without a value."""
    values = tuple(values)
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None, len(values)) if values else None
