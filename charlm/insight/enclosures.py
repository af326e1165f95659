"""Which characters of a text stand inside quotation marks or brackets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

Depths = npt.NDArray[np.int64]
# What closes each mark; German opens with „ or », and closes with “ or «.
CLOSING = {"“": "”", "„": "“", "«": "»", "»": "«", "‹": "›", "›": "‹", "「": "」", "『": "』", '"': '"'}
SINGLE = {"'": "'", "‘": "’", "‚": "‘"}
BRACKETS = {"(": ")", "[": "]", "（": "）", "［": "］", "【": "】", "〈": "〉", "《": "》"}
BRACES = {"{": "}"}
# Words whose first letters an apostrophe stands for.
ELISIONS = re.compile(r"(?:t(?:is|was|were|will|would|il|ill)|em|cause|bout|round|gainst|neath|s|d|ll|re|ve|m)\b", re.I)
PARAGRAPH = re.compile(r"\n[ \t]*\n")


def inside_quotes(text: str, boundary: str | None = None) -> npt.NDArray[np.bool_]:
    """Return which characters stand inside quotation marks: from the opening one to the last before the closing one.

    Marks that a paragraph leaves open end with it, as they do in novels, where the next paragraph opens them again.
    A single mark between letters is an apostrophe; at the begin of a word it opens only if one that can close it
    follows in the paragraph, and the word is none that often begins with an apostrophe ('tis, 'em).

    Args:
        text: the text.
        boundary: the character between items, which ends a paragraph; None for a running text.
    """
    depths = np.zeros(len(text), np.int64)
    for start, end in _parts(text, boundary, PARAGRAPH):
        paragraph = text[start:end]
        depths[start:end] = _depths_of_quotes(paragraph) if _has(paragraph, CLOSING | SINGLE) else 0
    return depths > 0


def inside_brackets(text: str, boundary: str | None = None) -> Depths:
    """Return how many brackets are open after each character, (N,).

    Round and square ones that a paragraph leaves open end with it. Braces hold whole parts of programs, so they go on,
    but not beyond the end of an item.

    Args:
        text: the text.
        boundary: the character between items; None for a running text.
    """
    depths = np.zeros(len(text), np.int64)
    for pairs, separator in ((BRACKETS, PARAGRAPH), (BRACES, None)):
        for start, end in _parts(text, boundary, separator):
            if _has(part := text[start:end], pairs):
                depths[start:end] += _depths(part, pairs)
    return depths


def _parts(text: str, boundary: str | None, separator: re.Pattern[str] | None) -> Iterator[tuple[int, int]]:
    """Yield the begin and end of the parts between separators."""
    either = [*([] if boundary is None else [re.escape(boundary)]), *([] if separator is None else [separator.pattern])]
    start = 0
    for found in re.finditer("|".join(either), text) if either else ():
        yield start, found.start()
        start = found.end()
    yield start, len(text)


def _has(text: str, pairs: Mapping[str, str]) -> bool:
    return any(opening in text for opening in pairs)


def _depths(text: str, pairs: Mapping[str, str]) -> Depths:
    """Return how many brackets are open after each character; a closing one without an opening one is passed over."""
    opened: list[str] = []
    depths = np.zeros(len(text), np.int64)
    for at, character in enumerate(text):
        if character in pairs:
            opened.append(pairs[character])
        elif character in opened:
            _close(opened, character)
        depths[at] = len(opened)
    return depths


def _depths_of_quotes(text: str) -> Depths:
    """Return how many quotation marks are open after each character of a paragraph."""
    last = {mark: _last_closing(text, mark) for mark in SINGLE.values()}
    opened: list[str] = []
    depths = np.zeros(len(text), np.int64)
    for at, character in enumerate(text):
        if character in opened and (character not in SINGLE.values() or _can_close(text, at)):
            _close(opened, character)
        elif character in CLOSING:
            opened.append(CLOSING[character])
        elif character in SINGLE and at < last[SINGLE[character]] and _can_open(text, at):
            opened.append(SINGLE[character])
        depths[at] = len(opened)
    return depths


def _close(opened: list[str], character: str) -> None:
    """Close what a mark closes, and all that was opened inside of it."""
    while opened.pop() != character:
        pass


def _last_closing(text: str, mark: str) -> int:
    """Return the last place at which a single mark can close a quotation, or -1."""
    return next((at for at in range(len(text) - 1, 0, -1) if text[at] == mark and _can_close(text, at)), -1)


def _can_open(text: str, at: int) -> bool:
    """Return whether a single mark may begin a quotation: a word follows, and no letter precedes."""
    before, after = text[at - 1 : at] if at else "", text[at + 1 : at + 2]
    return not (before.isalnum() or not after or after.isspace() or ELISIONS.match(text, at + 1))


def _can_close(text: str, at: int) -> bool:
    """Return whether a single mark ends a quotation: something stands before it, and no letter follows."""
    return at > 0 and not text[at - 1].isspace() and not text[at + 1 : at + 2].isalnum()
