"""Classic tasks that ask how far back a network remembers: made-up sequences whose answers lie a known lag behind."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
# The target where nothing is asked.
NOT_ASKED = -1
NUM_SYMBOLS, NUM_COPIED = 8, 3
BLANK, GO = NUM_SYMBOLS, NUM_SYMBOLS + 1
NUM_DIGITS = 10
SUM = 2 * NUM_DIGITS
NUM_KINDS, MAX_DEPTH = 3, 4
# The last two are longer than any lag of the training.
LAGS = (2, 4, 8, 16, 32, 64, 128, 256)
LONGEST_TRAINED = 64


@dataclass(frozen=True)
class Sequences:
    """Some sequences of one lag.

    Args:
        inputs: the ids that are read, (T, B).
        targets: the id that is the right answer after each input, (T, B), or `NOT_ASKED`. A network learns from all.
        num_tested: the answers in this many of the last steps are those that the lag is about.
    """

    inputs: Ids
    targets: Ids
    num_tested: int


@dataclass(frozen=True)
class MemoryTask:
    """A task with the lag as its axis.

    Args:
        name: its word.
        question: what has to be done, as a sentence.
        vocab_size: the number of ids, of inputs and answers together.
        chance: the share of right answers of the best guess that remembers nothing.
        guess: that guess in words.
        lags: the lags that are tested.
        longest_trained: training draws from the whole range from the first of these lags to this one.
        make: makes sequences; takes a random generator, the lag and the number of sequences.
    """

    name: str
    question: str
    vocab_size: int
    chance: float
    guess: str
    lags: tuple[int, ...]
    longest_trained: int
    make: Callable[[np.random.Generator, int, int], Sequences]

    def draw_lag(self, generator: np.random.Generator) -> int:
        """Draw a lag for a training step; each doubling of the lag is equally likely.

        Short lags are learned first, and long ones then need only be held for longer.
        """
        low, high = self.lags[0], self.longest_trained
        lag = round(math.exp(generator.uniform(math.log(low), math.log(high))))
        # Within a pair of brackets the number of characters is even, and so are all lags of that task.
        return lag + lag % 2 if low % 2 == 0 else lag


def make_copy(generator: np.random.Generator, lag: int, number: int) -> Sequences:
    """Make sequences for copying: symbols, blanks, then a mark that asks for the symbols in their order.

    Three symbols of eight kinds (ids 0 to 7) are followed by `lag` blanks (8), the mark (9) and two more blanks; the
    answers after the mark and after each of these blanks are the three symbols. Guessing is right one time in eight.

    Args:
        generator: what everything is drawn from.
        lag: the number of blanks.
        number: B.
    Source: Hochreiter and Schmidhuber 1997; in this form, with ten symbols to copy, Arjovsky, Shah and Bengio 2016.
    """
    symbols = generator.integers(0, NUM_SYMBOLS, (NUM_COPIED, number))
    inputs = np.full((NUM_COPIED + lag + NUM_COPIED, number), BLANK)
    inputs[:NUM_COPIED] = symbols
    inputs[NUM_COPIED + lag] = GO
    targets = np.full_like(inputs, NOT_ASKED)
    targets[-NUM_COPIED:] = symbols
    return Sequences(inputs, targets, NUM_COPIED)


def make_adding(generator: np.random.Generator, lag: int, number: int) -> Sequences:
    """Make sequences for adding: digits of which two are marked, then a sign that asks for the sum of these two.

    The original feeds real numbers in [0, 1] with their marks, and always answering 1 has a mean squared error of
    0.167. Networks here read characters, so the numbers are ten digits (ids 0 to 9; 10 to 19 if they are marked) and
    the answer after the sign (20) is one of the sums 0 to 18. The best guess, 9, is right one time in ten.

    Args:
        generator: what everything is drawn from.
        lag: the number of digits after the first one, which is marked; the other mark is on any of these.
        number: B.
    Source: Hochreiter and Schmidhuber 1997, experiment 4.
    """
    digits = generator.integers(0, NUM_DIGITS, (lag + 1, number))
    columns, second = np.arange(number), generator.integers(1, lag + 1, number)
    inputs = np.concatenate([digits, np.full((1, number), SUM)])
    inputs[0] += NUM_DIGITS
    inputs[second, columns] += NUM_DIGITS
    targets = np.full_like(inputs, NOT_ASKED)
    targets[-1] = digits[0] + digits[second, columns]
    return Sequences(inputs, targets, 1)


def make_brackets(generator: np.random.Generator, lag: int, number: int) -> Sequences:
    """Make sequences of nested brackets (a Dyck language): each closing bracket must match the one that it closes.

    There are three kinds (ids 0 to 2 open, 3 to 5 close) and four levels at most. Whenever the next bracket closes one,
    which it is is asked; between the first bracket and the last answer lie `lag` others, which match among themselves.
    Guessing the kind is right one time in three.

    Args:
        generator: what everything is drawn from.
        lag: the number of brackets within the outermost pair, which is even.
        number: B.
    Source: Hewitt et al. 2020, who bound the depth too.
    """
    columns = np.arange(number)
    inputs, targets = (np.full((lag + 1, number), NOT_ASKED) for _ in range(2))
    open_kinds = np.zeros((MAX_DEPTH + 1, number), np.int64)
    open_kinds[0] = inputs[0] = generator.integers(0, NUM_KINDS, number)
    depth = np.ones(number, np.int64)
    for place in range(1, lag + 1):
        # All but the outermost one are closed in time, and that one never is.
        may_open = (depth < MAX_DEPTH) & (depth - 1 < lag + 1 - place)
        opens = may_open & ((depth == 1) | (generator.random(number) < 0.5))
        kinds = generator.integers(0, NUM_KINDS, number)
        closed = NUM_KINDS + open_kinds[depth - 1, columns]
        inputs[place] = np.where(opens, kinds, closed)
        targets[place - 1] = np.where(opens, NOT_ASKED, closed)
        open_kinds[depth, columns] = kinds
        depth += np.where(opens, 1, -1)
    targets[-1] = NUM_KINDS + open_kinds[0]
    return Sequences(inputs, targets, 1)


TASKS = {
    task.name: task
    for task in (
        MemoryTask(
            "copy",
            f"{NUM_COPIED} symbols of {NUM_SYMBOLS} kinds are read, then blanks, and must then be written in order.",
            NUM_SYMBOLS + 2,
            1 / NUM_SYMBOLS,
            "any symbol",
            (1, *LAGS),
            LONGEST_TRAINED,
            make_copy,
        ),
        MemoryTask(
            "adding",
            "Two of the digits that are read are marked, and their sum, 0 to 18, must be written at the end.",
            2 * NUM_DIGITS + 1,
            1 / NUM_DIGITS,
            "the sum 9",
            (1, *LAGS),
            LONGEST_TRAINED,
            make_adding,
        ),
        MemoryTask(
            "brackets",
            f"Brackets of {NUM_KINDS} kinds are nested up to {MAX_DEPTH} deep, and the last must match the first.",
            2 * NUM_KINDS,
            1 / NUM_KINDS,
            "any kind",
            LAGS,
            LONGEST_TRAINED,
            make_brackets,
        ),
    )
}
