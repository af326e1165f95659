"""Positions drawn from a text, and means over them with the interval of a bootstrap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.floating[Any]]
BLOCK_CHARS = 512
MIN_BLOCKS = 20
NUM_RESAMPLES = 2_000
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over the positions, and its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Sample:
    """Positions drawn at random from a text, without replacement.

    Args:
        places: the positions, in ascending order.
        num_chars: N, the length of the text.
    """

    places: tuple[int, ...]
    num_chars: int

    @property
    def block_chars(self) -> int:
        """How many characters of the text the bootstrap draws together: 512, or a twentieth of a shorter text."""
        return max(1, min(BLOCK_CHARS, self.num_chars // MIN_BLOCKS))

    def pick(self, costs: Values) -> Values:
        """Return the costs at the positions, (P,), of those of all characters after the first, (N - 1,)."""
        return costs[np.array(self.places) - 1]

    def estimate(self, values: Values, *, seed: int = 0) -> Estimate:
        """Return the mean of values at the positions, (P,), with its interval.

        The interval is for other texts of the same kind. What neighbouring characters cost is correlated, and in a
        short text the positions are neighbours, so all positions in a block of the text are resampled together
        (Carlstein 1986); in a long text, where few blocks have two, this is the ordinary bootstrap of single positions.
        The same blocks are drawn for the same seed: estimates of one sample are paired.
        """
        _, blocks = np.unique(np.array(self.places) // self.block_chars, return_inverse=True)
        sums = np.bincount(blocks, weights=values)
        sizes = np.bincount(blocks)
        times = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), NUM_RESAMPLES)
        low, high = np.quantile((times @ sums) / (times @ sizes), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Estimate(float(values.mean(dtype=np.float64)), float(low), float(high))
