"""Cleaning in chunks is compared with cleaning the whole text, with one line for each step."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from charlm.settings.corpus import Clean
from charlm.text.cleaning import clean_prefix, clean_text

# Line ends, the sigma that differs at the end of a word, combining accents, signs that lower-case to letters
# (the Kelvin sign, the dotted I), Korean letters that compose in threes, and ordinary letters.
TRICKY = "aZ \r\n\u2028\x85Σσ'·\u0301\u0327eÉ\u212aİﬁ\u1100\u1161\u11a8字😀."
TEXTS = st.one_of(st.text(TRICKY, max_size=40), st.text(max_size=40))
PLACES = st.lists(st.integers(0, 40), max_size=8)
CLEANINGS = st.builds(
    Clean,
    newline=st.sampled_from(["keep", "lf"]),
    unicode=st.sampled_from(["none", "nfc"]),
    lowercase=st.booleans(),
    letters=st.booleans(),
)


def cut(text: str, places: list[int]) -> list[str]:
    """Cut a text at the given places; chunks may be empty."""
    edges = [0, *sorted(min(place, len(text)) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


def cleaned(chunks: list[str], clean: Clean) -> str:
    """Clean a text given in chunks."""
    return "".join(clean_text(iter(chunks), clean))


def cleaned_whole(text: str, clean: Clean) -> str:
    """Clean a text at once, step by step."""
    if clean.newline == "lf" or clean.letters:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if clean.unicode == "nfc":
        text = unicodedata.normalize("NFC", text)
    if clean.lowercase:
        text = text.lower()
    if clean.letters:
        text = "".join(re.sub("[^A-Za-z]+", " ", line).strip().lower() for line in text.split("\n"))
    return text


@given(text=TEXTS, places=PLACES, clean=CLEANINGS)
@example(text="ΑΣ\n", places=[2], clean=Clean(lowercase=True))
@example(text="ΑΣ Β", places=[2, 3], clean=Clean(lowercase=True))
@example(text="e\u0301", places=[1], clean=Clean(unicode="nfc"))
@example(text="a\r\nb\r", places=[2, 2, 5], clean=Clean(newline="lf"))
def test_a_text_cleaned_in_chunks_equals_the_text_cleaned_whole(text: str, places: list[int], clean: Clean) -> None:
    assert cleaned(cut(text, places), clean) == cleaned_whole(text, clean)


@given(text=st.text("aB \n-é1'", max_size=60), places=PLACES)
def test_letters_equals_the_published_line_by_line_cleaning(text: str, places: list[int]) -> None:
    lines = [re.sub("[^A-Za-z]+", " ", line).strip().lower() for line in text.split("\n")]
    assert cleaned(cut(text, places), Clean(letters=True)) == "".join(lines)


@given(text=TEXTS, places=PLACES)
def test_only_line_ends_are_changed_by_default_and_nothing_by_none(text: str, places: list[int]) -> None:
    assert cleaned(cut(text, places), Clean()) == text.replace("\r\n", "\n").replace("\r", "\n")
    assert cleaned(cut(text, places), Clean.model_validate("none")) == text


@pytest.mark.parametrize(
    ("clean", "chunks", "expected"),
    [
        (Clean(newline="lf"), ["a\r", "\nb\rc\n", "\r"], "a\nb\nc\n\n"),
        (Clean(newline="lf"), ["a\r", "", "\n"], "a\n"),
        (Clean(newline="lf"), ["a\r", "\r\n"], "a\n\n"),
        (Clean(newline="keep"), ["a\r", "\nb\r"], "a\r\nb\r"),
        (Clean(), ["a\r", "\nb\rc"], "a\nb\nc"),
        (Clean(unicode="nfc"), ["cafe", "\u0301 e", "\u0301"], "café é"),
        (Clean(unicode="none"), ["cafe", "\u0301"], "cafe\u0301"),
        (Clean(lowercase=True), ["ΟΔΥΣΣΕΥ", "Σ ΣΑ", "Σ"], "οδυσσευς σας"),
        (Clean(lowercase=True), ["Σ", "α"], "σα"),
        (Clean(lowercase=True), ["ΑΣ", "Α"], "ασα"),
        (Clean(letters=True), ["The  Time-", "- Machine,", "\r", "\n\r\n  by H.", " G.\n", "Wells 1895\n"],
         "the time machineby h gwells"),
        (Clean(letters=True), ["1895\n", " -- \n"], ""),
        (Clean(letters=True), [], ""),
        (Clean(letters=True, lowercase=True, unicode="nfc"), ["Cafe", "\u0301s"], "caf s"),
    ],
)  # fmt: skip
def test_each_option_does_what_its_name_says(clean: Clean, chunks: list[str], expected: str) -> None:
    assert cleaned(chunks, clean) == expected


def test_chunks_without_a_safe_place_to_cut_are_held_back() -> None:
    chunks = iter(["ΑΣ", "ΑΣ Α", "\nΣ", ""])
    assert list(clean_text(chunks, Clean(lowercase=True))) == ["ασας", " α\n", "σ"]


@given(text=TEXTS, clean=CLEANINGS.filter(lambda clean: not clean.letters))
def test_a_prefix_is_cleaned_like_the_corpus(text: str, clean: Clean) -> None:
    assert clean_prefix(text, clean) == cleaned_whole(text, clean)


@given(text=TEXTS, clean=CLEANINGS.filter(lambda clean: clean.letters))
def test_letters_cleans_a_prefix_like_a_corpus_but_keeps_its_outer_spaces(text: str, clean: Clean) -> None:
    prefix = clean_prefix(text, clean)
    assert prefix.strip(" ") == cleaned_whole(text, clean)
    assert set(prefix) <= set("abcdefghijklmnopqrstuvwxyz ")


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("Time Traveller", "time traveller"),
        ("Traveller ", "traveller "),
        (" (for so it", " for so it"),
        ("the Time\r\nTraveller", "the timetraveller"),
        ("time traveller\n", "time traveller"),
        ("1895", " "),
        ("", ""),
    ],
)
def test_letters_treats_a_prefix_as_part_of_a_line(prefix: str, expected: str) -> None:
    assert clean_prefix(prefix, Clean(letters=True)) == expected
