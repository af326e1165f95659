"""Recognise a text that is a list of items, one a line, and not prose, verse, code or a table.

A list has short lines without blank ones between them, hardly any line twice, none indented, and few that end in
punctuation. Prose that is wrapped at a column has lines of about one length; verse has whole clauses on a line; a table
has the same delimiter on each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from statistics import fmean, median

import numpy as np

from charlm.text.items import LINE_END
from charlm.text.notices import Notice
from charlm.text.vocabulary import Ids, Vocabulary

# The fewest lines that show what they are, and the most that are looked at.
FEWEST_LINES, MOST_LINES = 20, 5_000
LOOKED_AT = 1 << 18
LONG_LINE, LONG_WORD = 60, 4
# Shares of the lines.
HARDLY, FEW, MOST = 0.01, 0.1, 0.75
# Longer items are taken for clauses, unless they are written as titles are, or sorted.
WORDS_OF_NAMES = 3.0
ENDS = tuple(".,;:!?…)({}[\"'”’»。，、；：！？—-\\")
DELIMITER = re.compile(r"\t|[,;|:].*[,;|:]")
LETTER = re.compile(r"[^\W\d_]")
# Scripts that put no spaces between words, of which a word has about two characters.
UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff]")


def list_notices(ids: Ids, vocabulary: Vocabulary) -> Iterator[Notice]:
    """Yield a notice that offers --lines if a running text looks like a list of lines.

    Args:
        ids: the text, (N,).
        vocabulary: its symbols.
    """
    newline = vocabulary.characters.find(LINE_END)
    if newline < 0:
        return
    lines = vocabulary.decode(ids[:LOOKED_AT]).split(LINE_END)
    # The last line may be cut off, or is what follows the last line end.
    if looks_like_list(lines[:-1] if len(ids) > LOOKED_AT or not lines[-1] else lines):
        number = int(np.count_nonzero(ids == newline)) + (ids[-1] != newline)
        yield Notice(f"this looks like a list of {number:,} lines: --lines trains on it as such")


def looks_like_list(lines: Sequence[str]) -> bool:
    """Say whether lines look like items of a list.

    Args:
        lines: the first lines of a text, without their line ends.
    """
    lines = lines[:MOST_LINES]
    if len(lines) < FEWEST_LINES or _share(lines, lambda line: not line.strip()) > HARDLY:
        return False
    if len(set(lines)) < (1 - FEW) * len(lines) or _share(lines, lambda line: line[:1].isspace()) > HARDLY:
        return False
    if _share(lines, lambda line: line.rstrip().endswith(ENDS)) > FEW:
        return False
    if _share(lines, lambda line: DELIMITER.search(line) is not None) > FEW:
        return False
    if _share(lines, lambda line: LETTER.search(line) is None) > 1 - MOST:
        return False
    if median(map(len, lines)) > LONG_LINE:
        return False
    if _is_sorted(lines):
        return True
    return not _is_wrapped(lines) and (fmean(map(_num_words, lines)) <= WORDS_OF_NAMES or _has_titles(lines))


def _share(lines: Sequence[str], has: Callable[[str], bool]) -> float:
    return sum(map(has, lines)) / len(lines)


def _num_words(line: str) -> float:
    return len(line.split()) + len(UNSPACED.findall(line)) / 2


def _is_wrapped(lines: Sequence[str]) -> bool:
    """Say whether the lines of several words, or long ones, are of about one length."""
    lengths = sorted(map(len, lines))
    full = lengths[int(0.95 * len(lengths))]
    is_text = fmean(map(_num_words, lines)) > WORDS_OF_NAMES or full >= LONG_LINE / 2
    return is_text and _share(lines, lambda line: len(line) >= MOST * full) > MOST


def _is_sorted(lines: Sequence[str]) -> bool:
    folded = [line.casefold() for line in lines]
    return sum(first <= second for first, second in pairwise(folded)) > (1 - FEW) * (len(folded) - 1)


def _has_titles(lines: Sequence[str]) -> bool:
    """Say whether most long words after the first begin with a capital, as in English titles."""
    words = [word for line in lines for word in line.split()[1:] if len(word) >= LONG_WORD]
    return len(words) >= len(lines) and sum(word[0].isupper() for word in words) > MOST * len(words)
