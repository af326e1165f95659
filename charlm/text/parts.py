"""Check whether the splits of a corpus are long enough to measure with and contain the same kind of text."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from charlm.text.notices import Notice, times
from charlm.text.splits import Split
from charlm.text.vocabulary import Ids, Vocabulary

# Results on fewer characters are mostly chance: their mean is uncertain by a tenth or more.
FEW_CHARS = 100
# A training split of fewer characters is learned by heart in seconds.
FEW_TO_LEARN = 1_000
# The fewest characters and lines for comparing the training split with the text after it, and the most characters.
FEWEST_CHARS, FEWEST_LINES = 500, 20
COMPARED_CHARS = 1 << 19
RARE = 20
# A difference that costs more bits per character than this is worth a warning.
VISIBLE_BITS = 0.3

Counts = npt.NDArray[np.int64]


def part_notices(split: Split, vocabulary: Vocabulary, *, is_known: bool, has_choice: bool = True) -> Iterator[Notice]:
    """Yield what a person should know about the splits of a corpus.

    Args:
        split: the splits.
        vocabulary: their symbols.
        is_known: whether the corpus is a public one with its standard split, which is not to be criticised.
        has_choice: whether validation is long enough to choose a checkpoint; if not, another warning says more.
    """
    if len(split.train.ids) < FEW_TO_LEARN:
        yield Notice(
            f"the training split has {times(len(split.train.ids), 'character')}, so that a network will learn it by "
            "heart: give more text",
            is_warning=True,
        )
    if has_choice and split.val is not None and len(split.val.ids) < FEW_CHARS:
        yield Notice(
            f"the validation split has {times(len(split.val.ids), 'character')}, too few for meaningful results: "
            "give more text, or train on all of it with --set corpus.split=none",
            is_warning=True,
        )
    held_out = [part.ids[:COMPARED_CHARS] for part in (split.val, split.test) if part is not None]
    if is_known or not held_out:
        return
    if (bits := head_and_tail_bits(split.train.ids, np.concatenate(held_out), vocabulary)) > VISIBLE_BITS:
        yield Notice(
            "the end of the text, which the validation and test splits are taken from, differs visibly from its "
            f"beginning (by {bits:.1f} bits per character), as in a sorted list: their results will say little about "
            "the model. If each line stands for itself, add --lines, which shuffles them; else put some of each kind "
            "of text last",
            is_warning=True,
        )


def head_and_tail_bits(train: Ids, held_out: Ids, vocabulary: Vocabulary) -> float:
    """Return the bits per character that it costs to take the text after the training split for more of the same.

    This is the larger of two costs: the relative entropy of the characters, and that of the lines' first characters
    divided by the length of a line. From each, the value expected by chance for equal distributions is subtracted
    (Miller 1955).

    Args:
        train: ids of the training split, (N,), in the order of the text.
        held_out: ids of the text that follows it, (M,).
        vocabulary: the symbols of both.
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
    """Return the first character of each line that begins here and is not empty."""
    starts = np.flatnonzero(ids[:-1] == newline) + 1
    return ids[starts][ids[starts] != newline]


def _excess_bits(head: Counts, tail: Counts) -> float:
    """Return the relative entropy in bits of the tail to the head, minus the value expected by chance."""
    both = head + tail
    # Rare symbols are merged into one, because their frequencies are chance.
    rare = both < RARE
    merged = [np.append(counts[~rare], counts[rare].sum()) + 0.5 for counts in (head, tail)]
    q, p = (counts / counts.sum() for counts in merged)
    by_chance = (len(p) - 1) / (2 * math.log(2)) * sum(1 / counts.sum() for counts in merged)
    return float((p * np.log2(p / q)).sum()) - by_chance
