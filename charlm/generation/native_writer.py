"""Generate text through the kernels: many characters per call, and the same characters as the plain loop."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from charlm.generation.filters import Filters
from charlm.networks.native_predictor import ArrayState, NativePredictor

CHARS_AT_ONCE = 256


def write(
    network: NativePredictor, state: ArrayState, draws: npt.NDArray[np.float64], filters: Filters, *, threads: int
) -> tuple[npt.NDArray[np.int64], ArrayState]:
    """Continue texts from a state.

    Args:
        network: the model.
        state: the state after the last character that was read, each (L, texts, H).
        draws: uniform random numbers in [0, 1), (characters, texts).
        filters: applied to each distribution before drawing from it.
        threads: the most threads to use; their number does not change any character.
    Returns:
        The ids, in the shape of `draws`, and the state after them.
    """
    draws = np.ascontiguousarray(draws)
    ids = np.empty(draws.shape, dtype=np.int64)
    after = network.run(
        state,
        ids,
        threads,
        draws=draws.ctypes.data,
        temperature=filters.temperature,
        top_k=filters.top_k or 0,
        top_p=1.0 if filters.top_p is None else filters.top_p,
        min_p=filters.min_p or 0.0,
    )
    return ids, after


def write_pieces(
    network: NativePredictor, state: ArrayState, generators: list[np.random.Generator], *, length: int, filters: Filters
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield texts in pieces, (characters, texts), until each text has `length` characters.

    Args:
        network: the model.
        state: the state after the prefix, each (L, texts, H).
        generators: a random generator for each text.
        length: number of characters of each text.
        filters: applied to each distribution before drawing from it.
    """
    pace = _Pace(network.kernels.num_threads)
    for start in range(0, length, CHARS_AT_ONCE):
        num_chars = min(CHARS_AT_ONCE, length - start)
        draws = np.stack([generator.random(num_chars) for generator in generators], axis=1)
        threads, began = pace.threads, time.perf_counter()
        ids, state = write(network, state, draws, filters, threads=threads)
        pace.record(threads, (time.perf_counter() - began) / num_chars)
        yield ids


class _Pace:
    """Find out, while writing, how many threads are fastest.

    Threads that write one text wait for each other after every layer, so a single thread is faster if another process
    occupies one of their cores. Both choices are therefore timed at the beginning, and again from time to time.
    """

    NUM_TRIALS = 2
    TRIAL_EVERY = 64

    def __init__(self, threads: int) -> None:
        self._choices = (threads, 1)
        self._calls = 0
        self._seconds = {threads: float("inf"), 1: float("inf")}

    @property
    def threads(self) -> int:
        """The number of threads to use for the next call."""
        trial = self._calls % self.TRIAL_EVERY
        if trial < len(self._choices) * self.NUM_TRIALS:
            return self._choices[trial // self.NUM_TRIALS]
        return min(self._choices, key=self._seconds.__getitem__)

    def record(self, threads: int, seconds: float) -> None:
        """Record the time per character; the fastest trial of a round counts, because it was disturbed least."""
        trial = self._calls % self.TRIAL_EVERY
        if trial < len(self._choices) * self.NUM_TRIALS:
            is_first = trial % self.NUM_TRIALS == 0
            self._seconds[threads] = seconds if is_first else min(self._seconds[threads], seconds)
        self._calls += 1
