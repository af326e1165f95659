"""Features of each character of a text that need no labels: where it stands, and what it is inside of.

They are rules of thumb for what a unit may follow; each has the value that is known once the character has been read,
except those that look ahead, such as the distance to the end of the line.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from charlm.insight.enclosures import inside_brackets, inside_quotes
from charlm.settings.model import Direction
from charlm.text.vocabulary import code_points

Floats = npt.NDArray[np.float32]
Marks = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]
# Letters of scripts that are written in vowels and consonants: Latin, Greek, Cyrillic.
VOWELS = frozenset("aeiouαεηιουωаеиоуыэюяіє")
# Their mark makes another letter of a vowel.
CONSONANTS = frozenset("йў")
SENTENCE_ENDS = frozenset(".!?…。！？")
APOSTROPHES = frozenset("'’")
# Scripts without spaces between words: Thai and Lao, Myanmar, Khmer, kana, ideographs.
SCRIPTS = ((0x0E00, 0x0F00), (0x1000, 0x10A0), (0x1780, 0x1800), (0x3040, 0x3100), (0x3400, 0xA000), (0x20000, 0x40000))
UNSPACED = tuple(range(*ends) for ends in SCRIPTS)


@dataclass(frozen=True, eq=False)
class Feature:
    """A feature of every character of a text.

    Args:
        name: what it is, in a few words.
        values: its value at each character, (N,).
        is_binary: whether it is either 0 or 1.
    """

    name: str
    values: Floats
    is_binary: bool


def text_features(text: str, *, boundary: str | None = None) -> list[Feature]:
    """Return the features of a text, in its own order, without those that are the same at every character.

    Args:
        text: the text, N characters.
        boundary: the character with which each item begins and ends; None for a running text.
    """
    found = (*_places(text, boundary), *_words(text), *_kinds(text), *_enclosures(text, boundary))
    features = (Feature(name, values.astype(np.float32), values.dtype == np.bool_) for name, values in found)
    return [feature for feature in features if text and np.ptp(feature.values) > 0]


def in_reading_order(features: Sequence[Feature], direction: Direction) -> list[Feature]:
    """Return features in the order in which a model of that direction reads the text."""
    step = -1 if direction == "backward" else 1
    return [replace(feature, values=feature.values[::step]) for feature in features]


Named = Iterator[tuple[str, npt.NDArray[np.bool_ | np.int64]]]


def _places(text: str, boundary: str | None) -> Named:
    """Yield where characters stand in their line and item."""
    newline, edge = _are(text, "\n".__eq__), _are(text, lambda each: each == boundary)
    if boundary is not None:
        yield "place in the item", _since(edge)
        yield "characters to the end of the item", _until(edge)
    if boundary != "\n" and newline.any():
        ends = newline | edge
        place, blank = _since(ends), _are(text, " \t".__contains__)
        yield "place in the line", place
        yield "characters to the end of the line", _until(ends)
        # The last place at which the line had nothing but blanks.
        leading = ends | (blank & (_run(blank) == place))
        last = _last(leading)
        yield "indentation of the line", np.where(last >= 0, place[last], 0)
    yield "place in the sentence", _since(_are(text, SENTENCE_ENDS.__contains__) | edge)


def _words(text: str) -> Named:
    """Yield where characters stand in their word; scripts that do not separate words have none."""
    word = _are(text, _is_of_a_word)
    between = np.append(False, word[:-1]) & np.append(word[1:], False)
    word |= _are(text, APOSTROPHES.__contains__) & between
    capital = _are(text, str.isupper)
    yield "part of a word", word
    yield "place in the word", _run(word)
    yield "last letter of a word", word & ~np.append(word[1:], False)
    earlier = np.append(-1, _last(capital)[:-1])
    yield "after a capital in the word", word & (earlier > _last(~word))
    yield "capital", capital


def _kinds(text: str) -> Named:
    """Yield what kind of character each is."""
    yield "vowel", _are(text, _is_vowel)
    yield "digit", _are(text, str.isdigit)
    yield "space", _are(text, " ".__eq__)
    yield "end of a line", _are(text, "\n".__eq__)
    yield "punctuation", _are(text, lambda each: unicodedata.category(each).startswith("P"))
    codes = code_points(text)
    yield "same character as before", np.append(False, codes[1:] == codes[:-1])


def _enclosures(text: str, boundary: str | None) -> Named:
    """Yield which marks and brackets have been opened and not closed."""
    yield "inside quotation marks", inside_quotes(text, boundary)
    depth = inside_brackets(text, boundary)
    yield "inside brackets", depth > 0
    if depth.size and depth.max() > 1:
        yield "depth of brackets", depth


def _are(text: str, is_one: Callable[[str], bool]) -> Marks:
    """Return which characters of a text are of some kind, (N,)."""
    codes, which = np.unique(code_points(text), return_inverse=True)
    return np.array([is_one(chr(code)) for code in codes], np.bool_)[which]


def _last(marks: Marks) -> Counts:
    """Return the last marked place up to each character, itself included; -1 before the first."""
    return np.maximum.accumulate(np.where(marks, np.arange(len(marks)), -1))


def _since(marks: Marks) -> Counts:
    """Return how many characters have come since the last marked one, which has 0; before the first, since the begin.

    The first character of a text is its first since the begin, and has 1.
    """
    return np.arange(len(marks)) - _last(marks)


def _until(marks: Marks) -> Counts:
    """Return how many characters come until the next marked one, which has 0, or until the end of the text."""
    return _since(marks[::-1])[::-1]


def _run(marks: Marks) -> Counts:
    """Return how many marked characters stand in a row up to each, itself included; 0 for unmarked ones."""
    return _since(~marks)


def _is_of_a_word(character: str) -> bool:
    """Return whether a letter, a digit, or a sign that is added to a letter belongs to a script with words."""
    is_unspaced = any(ord(character) in script for script in UNSPACED)
    return not is_unspaced and (character.isalnum() or unicodedata.category(character).startswith("M"))


def _is_vowel(character: str) -> bool:
    small = character.lower()
    return small not in CONSONANTS and unicodedata.normalize("NFD", small)[0] in VOWELS
