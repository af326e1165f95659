"""Estimate how uncertain a mean over a text is, by the block bootstrap.

The costs of neighbouring characters are correlated, so resampling single characters would give intervals that are too
narrow. Instead, whole non-overlapping blocks of the text are resampled (Carlstein 1986), which keeps that correlation.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

BLOCK_CHARS = 512
NUM_RESAMPLES = 2_000
LEVEL = 0.95


class BlockSums:
    """Add up a text's costs block by block as they arrive; memory is one number per 512 characters."""

    def __init__(self, block_chars: int = BLOCK_CHARS) -> None:
        self.block_chars = block_chars
        self._sums: list[float] = []
        self._sizes: list[int] = []

    def add(self, costs: npt.NDArray[np.floating]) -> None:
        """Add the costs of the next characters in nats, (n,)."""
        while len(costs):
            if not self._sizes or self._sizes[-1] == self.block_chars:
                self._sums.append(0.0)
                self._sizes.append(0)
            taken = costs[: self.block_chars - self._sizes[-1]]
            self._sums[-1] += float(taken.sum(dtype=np.float64))
            self._sizes[-1] += len(taken)
            costs = costs[len(taken) :]

    def interval(self, *, seed: int = 0) -> tuple[float, float] | None:
        """Return the 95 % interval of resampled texts in nats per character; None for fewer than ten blocks."""
        if len(self._sums) < 10:
            return None
        sums, sizes = np.array(self._sums), np.array(self._sizes)
        generator = np.random.default_rng(seed)
        means = np.empty(NUM_RESAMPLES)
        for number in range(NUM_RESAMPLES):
            chosen = generator.integers(len(sums), size=len(sums))
            means[number] = sums[chosen].sum() / sizes[chosen].sum()
        low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)


def in_bits(interval: tuple[float, float] | None) -> list[float] | None:
    """Convert an interval from nats to bits per character."""
    return interval and [nats / math.log(2) for nats in interval]
