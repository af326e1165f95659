"""What a memory task found out about each cell, for those who print and draw it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from charlm.settings.model import Cell

# The share of right answers from which on a network counts as remembering.
REMEMBERED = 0.9
NORMAL_95 = 1.959964


@dataclass(frozen=True)
class LagAccuracy:
    """How well a network answers at one lag.

    Args:
        lag: the number of characters between what has to be remembered and the question.
        accuracy: the share of answers that are right.
        interval: the 95 % interval of that share over test sequences.
        num_sequences: the number of test sequences.
    """

    lag: int
    accuracy: float
    interval: tuple[float, float]
    num_sequences: int


@dataclass(frozen=True)
class RateTrial:
    """A training at one learning rate.

    Args:
        learning_rate: the rate.
        loss: the mean loss over the lags on sequences that only choose the rate, in nats for each answer; None if it is
            not a number.
    """

    learning_rate: float
    loss: float | None


@dataclass(frozen=True)
class CellMemory:
    """How far a cell remembers, after the training whose learning rate was best for it.

    Args:
        cell: rnn, gru or lstm.
        hidden_size: H, with which the cells have about equally many parameters.
        num_parameters: the number of all parameters.
        learning_rate: the best of the rates that were tried.
        trials: all of them.
        lags: the results, from the shortest lag to the longest.
        reach: the longest lag up to which nine of ten answers are right; None if they are at no lag.
    """

    cell: Cell
    hidden_size: int
    num_parameters: int
    learning_rate: float
    trials: tuple[RateTrial, ...]
    lags: tuple[LagAccuracy, ...]
    reach: int | None


@dataclass(frozen=True)
class MemoryFindings:
    """How far each cell remembers in a task.

    Args:
        task: copy, adding or brackets.
        question: what had to be done, as a sentence.
        chance: the share of right answers of the best guess that remembers nothing.
        guess: that guess in words.
        num_steps: the number of steps of each training.
        batch_size: the number of sequences that each step learned from.
        longest_trained: the longest lag in the training; results at longer ones show what carries over.
        seed: the random seed.
        cells: the results of each cell.
    """

    task: str
    question: str
    chance: float
    guess: str
    num_steps: int
    batch_size: int
    longest_trained: int
    seed: int
    cells: tuple[CellMemory, ...]

    @property
    def verdict(self) -> str:
        """What the results say about how far each cell remembers, and whether gates help at all."""
        reaches = {each.cell: each.reach or 0 for each in self.cells}
        longest = max(each.lags[-1].lag for each in self.cells)
        texts = (f"{cell.upper()} {reach or 'none'}" for cell, reach in reaches.items())
        sentence = f"Nine of ten answers are right up to these lags ({longest} is the longest): {', '.join(texts)}."
        if not any(reaches.values()):
            return f"{sentence} No cell has learned this task: train longer."
        is_level = reaches["rnn"] == max(reaches.values())
        return f"{sentence} Here the RNN reaches as far as the cells with gates." if is_level else sentence


def reach_of(lags: Sequence[LagAccuracy]) -> int | None:
    """Return the longest lag up to which nine of ten answers are right; None if they are at no lag."""
    remembered = takewhile(lambda each: each.accuracy >= REMEMBERED, lags)
    return max((each.lag for each in remembered), default=None)


def share_interval(share: float, number: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of independent answers (Wilson 1927), which has a width even at 0 and 1.

    Where a sequence has several answers, which need not be independent, `number` should be that of the sequences.

    >>> low, high = share_interval(1.0, 500)
    >>> round(low, 4), high
    (0.9924, 1.0)
    """
    weight = NORMAL_95**2 / number
    middle = (share + weight / 2) / (1 + weight)
    half = math.sqrt(weight * (share * (1 - share) + weight / 4)) / (1 + weight)
    return max(middle - half, 0.0), min(middle + half, 1.0)
