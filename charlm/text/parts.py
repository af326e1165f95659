"""Whether the parts of a corpus serve: long enough to measure with, and drawn from one kind of text."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from charlm.text.notices import Notice, times
from charlm.text.splits import Split
from charlm.text.vocabulary import Ids, Vocabulary

# What fewer characters say of a model is mostly chance: their mean is uncertain by a tenth and more.
FEW_CHARS = 100
# Of the training part, and of the text after it, so many characters are compared, and lines; from so many on.
FEWEST_CHARS, FEWEST_LINES = 500, 20
COMPARED_CHARS = 1 << 19
RARE = 20
# Bits per character that a difference costs which is worth a warning.
VISIBLE_BITS = 0.3

Counts = npt.NDArray[np.int64]


def part_notices(split: Split, vocabulary: Vocabulary, *, is_known: bool, has_choice: bool = True) -> Iterator[Notice]:
    """Yield what a person should know of a corpus' parts, in the order of the text.

    Args:
        split: the parts.
        vocabulary: their symbols.
        has_choice: whether validation is long enough to choose a checkpoint; where it is not, that says more.
        is_known: whether the corpus comes with its standard split, as public ones do: those are as they are.
    """
    if has_choice and split.val is not None and len(split.val.ids) < FEW_CHARS:
        yield Notice(
            f"the validation part has {times(len(split.val.ids), 'character')}, too few for results that mean much: "
            "give more text, or train on all of it with --set corpus.split=none",
            is_warning=True,
        )
    held_out = [part.ids[:COMPARED_CHARS] for part in (split.val, split.test) if part is not None]
    if is_known or not held_out:
        return
    if (bits := head_and_tail_bits(split.train.ids, np.concatenate(held_out), vocabulary)) > VISIBLE_BITS:
        yield Notice(
            "the end of the text, where validation and test are taken from, differs visibly from its beginning (by "
            f"{bits:.1f} bits per character), as in a sorted list: their results will say little of the model. Where "
            "each line stands for itself, shuffle the lines first: shuf a.txt > b.txt; else put some of each kind of "
            "text last",
            is_warning=True,
        )


def head_and_tail_bits(train: Ids, held_out: Ids, vocabulary: Vocabulary) -> float:
    """Return what it costs to take the text after the training part for more of it, in bits per character.

    The larger of two costs: the relative entropy of the characters, and that of the lines' first characters, divided by
    the length of a line; each less what chance makes of it where both are drawn alike (Miller 1955).

    Args:
        train: (N,), in the order of the text.
        held_out: what follows it, (M,).
        vocabulary: of both.
    """
    if len(held_out) < FEWEST_CHARS:
        return 0.0
    size = len(vocabulary)
    train, held_out = train[-COMPARED_CHARS:], held_out[:COMPARED_CHARS]
    costs = [_excess_bits(np.bincount(train, minlength=size), np.bincount(held_out, minlength=size))]
    newline = vocabulary.characters.find("\n")
    if newline >= 0:
        heads = [np.bincount(_line_starts(ids, newline), minlength=size) for ids in (train, held_out)]
        if (num_lines := int(heads[1].sum())) >= FEWEST_LINES:
            costs.append(_excess_bits(*heads) * num_lines / len(held_out))
    return max(costs)


def _line_starts(ids: Ids, newline: int) -> Ids:
    """Return the first character of each line but the one that may have begun before; none of empty lines."""
    starts = np.flatnonzero(ids[:-1] == newline) + 1
    return ids[starts][ids[starts] != newline]


def _excess_bits(head: Counts, tail: Counts) -> float:
    """Return the relative entropy in bits of the tail's frequencies to the head's, less its expectation by chance."""
    both = head + tail
    # What is rare is counted as one: its frequencies are chance.
    rare = both < RARE
    merged = [np.append(counts[~rare], counts[rare].sum()) + 0.5 for counts in (head, tail)]
    q, p = (counts / counts.sum() for counts in merged)
    by_chance = (len(p) - 1) / (2 * math.log(2)) * sum(1 / counts.sum() for counts in merged)
    return float((p * np.log2(p / q)).sum()) - by_chance
