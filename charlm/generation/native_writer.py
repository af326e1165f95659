"""Generate text through the kernels: many characters per call, and the same characters as the plain loop."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from charlm.generation.filters import Filters
from charlm.networks.native_predictor import ArrayState, NativePredictor

CHARS_AT_ONCE = 256


def write(
    predictor: NativePredictor, state: ArrayState, draws: npt.NDArray[np.float64], filters: Filters, *, threads: int
) -> tuple[npt.NDArray[np.int64], ArrayState]:
    """Continue texts from a state.

    Args:
        predictor: the model.
        state: the state after the last character that was read, each (L, texts, H).
        draws: uniform random numbers in [0, 1), (characters, texts).
        filters: applied to each distribution before drawing from it.
        threads: the most threads to use; their number does not change any character.
    Returns:
        The ids, in the shape of `draws`, and the state after them.
    """
    draws = np.ascontiguousarray(draws)
    ids = np.empty(draws.shape, dtype=np.int64)
    after = predictor.run(
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


class Pace:
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

    @contextmanager
    def timed(self, num_chars: int) -> Generator[int]:
        """Yield the number of threads for a call that writes this many characters, and measure how long it takes."""
        trial = self._calls % self.TRIAL_EVERY
        if trial < len(self._choices) * self.NUM_TRIALS:
            threads = self._choices[trial // self.NUM_TRIALS]
        else:
            threads = min(self._choices, key=self._seconds.__getitem__)
        began = time.perf_counter()
        yield threads
        self._record(threads, (time.perf_counter() - began) / num_chars)

    def _record(self, threads: int, seconds: float) -> None:
        """Record the time per character; the fastest trial of a round counts, because it was disturbed least."""
        trial = self._calls % self.TRIAL_EVERY
        if trial < len(self._choices) * self.NUM_TRIALS:
            is_first = trial % self.NUM_TRIALS == 0
            self._seconds[threads] = seconds if is_first else min(self._seconds[threads], seconds)
        self._calls += 1
