"""Show how far back each cell remembers, on a classic memory task."""

from __future__ import annotations

from collections.abc import Callable

from charlm.errors import ConfigError
from charlm.insight.memory_records import MemoryFindings
from charlm.insight.memory_tasks import TASKS
from charlm.settings.values import MAX_SEED
from charlm.training.remembering import remember, steps_for

MAX_MINUTES = 1_000


def memory_task(
    task: str,
    *,
    minutes: float = 1.0,
    seed: int = 0,
    report: Callable[[str, int, int], None] | None = None,
) -> MemoryFindings:
    """Train RNN, GRU and LSTM of equal size on a memory task, and test how far back each of them remembers.

    The lag is the number of characters between what has to be remembered and the question. Each cell is trained once at
    each of three learning rates, on lags of up to 64, and the best network is tested on these and on longer ones. No
    run is read or written.

    Args:
        task: copy, write the symbols that were read before the blanks; adding, add two marked digits; or brackets,
            close nested brackets.
        minutes: about how long everything takes on a free core of a present server. They decide the number of steps,
            and nothing is timed: a slower machine takes longer and finds the same.
        seed: the random seed of weights and sequences.
        report: called with what is trained, how many steps are done and their total.
    Returns:
        The share of right answers at each lag for each cell, and chance.
    Raises:
        ConfigError: for another task, and for minutes or a seed that make no sense.

    Example:
        >>> found = charlm.memory_task("copy", minutes=0.001)
        >>> found.chance, [(each.cell, each.hidden_size) for each in found.cells]
        (0.125, [('rnn', 128), ('gru', 73), ('lstm', 62)])
        >>> found.cells[1].lags[0].lag, 0 <= found.cells[1].lags[0].accuracy <= 1
        (1, True)
    """
    check_task(task)
    if not 0 < minutes <= MAX_MINUTES:
        raise ConfigError(f"minutes must be above 0 and at most {MAX_MINUTES:,}, got {minutes:g}")
    if not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"the random seed must be a whole number from 0 to {MAX_SEED}, got {seed}")
    return remember(TASKS[task], num_steps=steps_for(minutes), seed=seed, report=report or _nothing)


def check_task(task: str) -> None:
    """Check that there is such a task.

    Raises:
        ConfigError: if there is none.
    """
    if task not in TASKS:
        raise ConfigError(f"there is no memory task {task!r}: it must be one of {', '.join(TASKS)}")


def _nothing(what: str, done: int, total: int) -> None:
    """Report nothing."""
