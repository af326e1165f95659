"""The number of CPU threads of a run: it is measured once, when the run is created, and stored with it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import TypeVar

import torch

from charlm.errors import ConfigError
from charlm.runs.facts import num_cores
from charlm.settings.schema import Settings
from charlm.training.speed import trial_steps

# Fewer threads are chosen only if clearly faster: a near tie must not decide it, because the bits of torch's own
# operations depend on the number.
ADVANTAGE = 0.9
SECONDS = 0.4
MAX_ROUNDS = 5
# Somewhat more threads than cores are allowed: they give the bits of a larger machine, slowly.
THREADS_A_CORE = 16
Trial = TypeVar("Trial")


def choose_threads(settings: Settings, vocab_size: int, device: torch.device) -> int:
    """Return the number of threads that a run computes with: the one given, or the fastest on this machine.

    On a CPU, a few training steps with fresh weights and random characters are timed, with every power of two up to
    all cores in turn; this does not affect the run.

    Raises:
        ConfigError: if that many threads would bring the machine to a halt.
    """
    if (asked := settings.train.threads) is not None:
        if asked > most_threads():
            raise ConfigError(
                f"train.threads is {asked:,}, and with {num_cores()} cores it must be {most_threads()} at most, or "
                "nothing would progress: lower it, or use --set train.threads=null, which measures what is fastest"
            )
        return asked
    counts = thread_counts() if device.type == "cpu" else [torch.get_num_threads()]
    return _fastest(settings, vocab_size, counts) if len(counts) > 1 else counts[0]


def most_threads() -> int:
    """Return how many threads a run may use on this machine; more would only wait for each other."""
    return THREADS_A_CORE * num_cores()


def thread_counts() -> list[int]:
    """Return the numbers worth trying: all cores this process may use, then each smaller power of two."""
    # torch counts the machine's cores, but the process may be restricted to fewer.
    cores = min(torch.get_num_threads(), num_cores())
    return [cores, *(2**power for power in reversed(range(cores.bit_length())) if 2**power < cores)]


def _fastest(settings: Settings, vocab_size: int, counts: list[int]) -> int:
    steps = trial_steps(settings, vocab_size)
    return best_count(time_in_turn({count: (steps, count) for count in counts}))


def time_in_turn(trials: Mapping[Trial, tuple[Iterator[float], int]]) -> dict[Trial, float]:
    """Return the seconds of a step of each trial, which are its trial steps and the number of threads for them.

    They take turns for a few rounds; the fastest time of each is the least disturbed one.
    """
    seconds = dict.fromkeys(trials, float("inf"))
    began = time.perf_counter()
    for turn in range(MAX_ROUNDS + 1):
        for trial, (steps, count) in trials.items():
            torch.set_num_threads(count)
            elapsed = next(steps)
            if turn > 0:  # the first round allocates and wakes threads
                seconds[trial] = min(seconds[trial], elapsed)
        if turn > 0 and time.perf_counter() - began > SECONDS:
            break
    return seconds


def best_count(seconds: Mapping[int, float]) -> int:
    """Return the number of threads to take by the seconds of a step with each: the first, or a clearly faster one."""
    first, best = next(iter(seconds)), min(seconds, key=seconds.__getitem__)
    return best if seconds[best] < ADVANTAGE * seconds[first] else first
