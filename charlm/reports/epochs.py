"""Find out how many epochs of training came before each evaluation of a run, from its records."""

from __future__ import annotations

from collections.abc import Sequence

from charlm.runs.facts import Environment
from charlm.runs.records import EvaluationLine
from charlm.settings.schema import Settings


def epochs_before(
    evaluations: Sequence[EvaluationLine], environment: Environment, settings: Settings
) -> tuple[float, ...]:
    """Return how many epochs came before each evaluation; a fraction within an epoch, and a whole number at its end.

    Args:
        evaluations: the evaluations of a run, which count only the epochs that have begun.
        environment: the facts about the run.
        settings: its settings.
    """
    steps, chars = _steps_per_epoch(environment, settings), _chars_per_epoch(evaluations, environment)

    def epochs(each: EvaluationLine) -> float:
        passed = each.step / steps if steps else each.chars_seen / chars if chars else each.epoch
        # The records have the last word: a file that somebody has changed may have any text length.
        return float(min(max(passed, each.epoch - 1), each.epoch))

    return tuple(epochs(each) for each in evaluations)


def _steps_per_epoch(environment: Environment, settings: Settings) -> int | None:
    """Return how many windows an epoch has; None for items, whose windows vary in size, and where it is unknown."""
    split, dropped = environment.split, environment.dropped_chars
    if split is None or dropped is None or split.train.num_items:
        return None
    # The first character is not predicted.
    num_chars = split.train.chars - 1 - dropped
    steps, rest = divmod(num_chars, settings.sampling.batch_size * settings.sampling.seq_len)
    return steps if steps > 0 and rest == 0 else None


def _chars_per_epoch(evaluations: Sequence[EvaluationLine], environment: Environment) -> int:
    """Return how many characters an epoch predicts; where none is complete, how many its text has."""
    whole = [each.last_epoch.chars for each in evaluations if each.last_epoch]
    return max(whole, default=environment.split.train.chars if environment.split else 0)
