"""Measure copying: which n-grams of a text occur in a model's training text, and the longest copied passage.

The answers are exact. Each distinct n-gram of the short text has a number, and an n-gram is identified by the numbers
of its first and its last m characters, where m is the power of two with m < n <= 2 m. The n-grams of the training text
are looked up in sorted tables, from single characters upwards. Unlike hashes, different n-grams are never confused.
For a text of S characters and a training text of N, the time is N log S for each requested size and for each power of
two below the longest passage. Memory is a few numbers for each of the S characters and each size, and for each
character of one piece of the training text.
Source: the doubling of Karp, Miller and Rosenberg 1972.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlm.text.unknown import ALL_KNOWN, UnknownCount
from charlm.text.vocabulary import Ids

Numbers = npt.NDArray[np.int64]
NONE = -1
PIECE_CHARS = 1 << 18


@dataclass(frozen=True)
class Copying:
    """How much of a text also occurs in another text.

    Args:
        num_chars: number of characters in the text.
        shares: for each n, the share of the text's n-grams that occur in the other, counting repetitions; None if the
            text has fewer than n characters.
        longest: number of characters in the longest passage that occurs in the other.
        position: where in the text that passage begins; of several of that length, the first one that was found.
    """

    num_chars: int
    shares: dict[int, float | None]
    longest: int
    position: int


@dataclass(frozen=True)
class Novelty:
    """How much of a sample, and of a held-out text that is no longer, is copied from the training split.

    Args:
        prefix: the text that the sample continues; for a backward model, the suffix that it leads up to.
        text: the sample, without the prefix.
        sample: how much of the sample occurs in the training split.
        held_out: how much of the held-out text does, which shows what is normal for this kind of text.
        longest: the longest passage of the sample that occurs there.
        held_out_longest: the longest passage of the held-out text that occurs there.
        unknown: how many characters of the held-out text the model does not know.
    """

    prefix: str
    text: str
    sample: Copying
    held_out: Copying
    longest: str
    held_out_longest: str
    unknown: UnknownCount = ALL_KNOWN

    def as_record(self) -> dict[str, object]:
        """Return JSON values; a share is null if its text has fewer characters than the n-gram."""
        shares = zip(self.sample.shares.items(), self.held_out.shares.values(), strict=True)
        return {
            "prefix": self.prefix,
            "sample_chars": self.sample.num_chars,
            "held_out_chars": self.held_out.num_chars,
            "ngrams": [{"n": n, "sample": share, "held_out": other} for (n, share), other in shares],
            "longest": {"chars": self.sample.longest, "text": self.longest},
            "held_out_longest": {"chars": self.held_out.longest, "text": self.held_out_longest},
            **self.unknown.as_record(),
        }


@dataclass(frozen=True)
class _Table:
    """The n-grams of the short text for one n: their sorted keys, and the number of the n-gram at each place."""

    keys: Numbers
    numbers: Numbers


def measure_copying(
    text: Ids, train: Ids, sizes: Sequence[int], *, report: Callable[[int], None] | None = None
) -> Copying:
    """Measure how much of a text occurs in a training text.

    Args:
        text: ids, (S,).
        train: ids of the same vocabulary, (N,).
        sizes: the values of n.
        report: called after each piece with the number of characters of the training text done.
    """
    ngrams = _Ngrams(text)
    tables = {n: ngrams.table(n) for n in sizes if n <= len(text)}
    is_seen = {n: np.zeros(len(table.keys), np.bool_) for n, table in tables.items()}
    longest = position = 0
    for start, piece in _pieces(train, len(text)):
        found = _Lookup(ngrams, piece)
        for n, table in tables.items():
            numbers = found.numbers(n, table)
            is_seen[n][numbers[numbers != NONE]] = True
        if (length := _longest(found, longest)) > longest:
            longest, position = length, found.first_place(length)
        if report:
            report(min(start + len(piece), len(train)))
    shares = {n: float(is_seen[n][tables[n].numbers].mean()) if n in tables else None for n in sizes}
    return Copying(len(text), shares, longest, position)


class _Ngrams:
    """The tables of a short text; those for powers of two are kept, because all others are made from them."""

    def __init__(self, text: Ids) -> None:
        self.length = len(text)
        keys, numbers = np.unique(text.astype(np.int64), return_inverse=True)
        self._kept = {1: _Table(keys, numbers)}

    def table(self, n: int) -> _Table:
        """Return the table for n, which is at most the length of the text."""
        if n in self._kept:
            return self._kept[n]
        half = _half(n)
        keys, numbers = np.unique(self.keys(self.table(half).numbers, n), return_inverse=True)
        table = _Table(keys, numbers)
        if n == 2 * half:
            self._kept[n] = table
        return table

    def keys(self, numbers: Numbers, n: int) -> Numbers:
        """Return the key of the n-gram at each place, made from the numbers of the n-grams of half its size."""
        places = len(numbers) + _half(n) - n
        firsts, lasts = numbers[:places], numbers[n - _half(n) :]
        return np.where((firsts != NONE) & (lasts != NONE), firsts * self.length + lasts, NONE)


class _Lookup:
    """A piece of the training text, whose n-grams are looked up among those of the short text."""

    def __init__(self, ngrams: _Ngrams, piece: Numbers) -> None:
        self.ngrams = ngrams
        self.piece = piece
        self._kept: dict[int, Numbers] = {}

    def numbers(self, n: int, table: _Table | None = None) -> Numbers:
        """Return the number of the n-gram at each place of the piece; NONE if it does not occur in the short text."""
        if n in self._kept:
            return self._kept[n]
        if n > min(len(self.piece), self.ngrams.length):
            return np.zeros(0, np.int64)
        keys = self.piece if n == 1 else self.ngrams.keys(self.numbers(_half(n)), n)
        numbers = _look_up(keys, (table or self.ngrams.table(n)).keys)
        if n & (n - 1) == 0:
            self._kept[n] = numbers
        return numbers

    def has(self, n: int) -> bool:
        """Return whether any n-gram of the short text occurs in the piece."""
        return bool((self.numbers(n) != NONE).any())

    def first_place(self, n: int) -> int:
        """Return the place of the first n-gram of the short text that occurs in the piece."""
        table = self.ngrams.table(n)
        is_found = np.zeros(len(table.keys), np.bool_)
        numbers = self.numbers(n, table)
        is_found[numbers[numbers != NONE]] = True
        return int(is_found[table.numbers].argmax())


def _half(n: int) -> int:
    """Return the power of two m with m < n <= 2 m, for n of at least 2."""
    return 1 << (n - 1).bit_length() - 1


def _look_up(keys: Numbers, known: Numbers) -> Numbers:
    """Return the place of each key among the known keys, which are sorted; NONE if it is not one of them."""
    numbers = np.full(len(keys), NONE, np.int64)
    asked = np.flatnonzero(keys != NONE)
    places = np.minimum(np.searchsorted(known, keys[asked]), len(known) - 1)
    is_known = known[places] == keys[asked]
    numbers[asked[is_known]] = places[is_known]
    return numbers


def _longest(found: _Lookup, least: int) -> int:
    """Return the largest n for which both texts share an n-gram, or `least` if no longer one is shared."""
    low, step = least, 1
    while found.has(low + step):
        low, step = low + step, 2 * step
    # If the texts share an n-gram, they share a shorter one too: halve the range that contains the largest n.
    while step > 1:
        step //= 2
        if found.has(low + step):
            low += step
    return low


def _pieces(train: Ids, overlap: int) -> Iterator[tuple[int, Numbers]]:
    """Yield where each piece begins, and its ids; every n-gram no longer than the overlap is complete in some piece."""
    step = max(PIECE_CHARS, overlap)
    for start in range(0, len(train), step):
        yield start, train[start : start + step + overlap - 1].astype(np.int64)
