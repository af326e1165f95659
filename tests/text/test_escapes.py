r"""Escapes such as \n become characters, and characters become escapes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.errors import ConfigError
from charlm.text.escapes import escape, hint_of_escapes, unescape
from charlm.text.nearest_characters import nearest_known
from charlm.text.vocabulary import Vocabulary


@given(st.text())
def test_escaped_text_is_printable_and_unescapes_to_itself(text):
    escaped = escape(text)
    assert escaped.isprintable()
    assert unescape(escaped, "the prefix") == text


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (r"\n", "\n"),
        (r"a\tb\r", "a\tb\r"),
        (r"\\n", r"\n"),
        (r"\\\n", "\\\n"),
        (r"\x41\xe9f", "Aéf"),
        (r"\u00E9e", "ée"),
        (r"\ud83d\ude00!", "😀!"),
        (r"\U0001F600", "😀"),
        (r"\u005cn", r"\n"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_an_escape_stands_for_its_character(typed, meant):
    assert unescape(typed, "the prefix") == meant


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (r"a\q", r"--stop has a backslash that does not begin an escape at position 1: \q; --escapes knows \n, "),
        ("a\\", "does not begin an escape at position 1"),
        (r"\x4", r"does not begin an escape at position 0: \x"),
        (r"\u12g4", r"does not begin an escape at position 0: \u"),
        ("\\\x1b[2J", r"\x1b"),
        (r"\ud83d", r"has an escape that is not a character at position 0: \ud83d"),
        (r"\ude00\ud83d", r"not a character at position 0: \ude00"),
        (r"\U00110000", r"not a character at position 0: \U00110000"),
    ],
)
def test_a_wrong_escape_is_named_with_its_place(typed, sentence):
    with pytest.raises(ConfigError) as refused:
        unescape(typed, "--stop")
    assert sentence in str(refused.value)
    assert str(refused.value).isprintable()


def test_escapes_are_suggested_only_if_the_model_does_not_know_the_backslash():
    assert r"if \n was meant as an escape, add --escapes" in hint_of_escapes(r"a\nb", Vocabulary("ab"))
    assert hint_of_escapes(r"a\nb", Vocabulary("\\ab")) == ""
    assert hint_of_escapes(r"C:\Users", Vocabulary("ab")) == ""
    assert hint_of_escapes("a\n", Vocabulary("ab")) == ""


@pytest.mark.parametrize(
    ("character", "known", "nearest"),
    [
        ("é", "aeé", "é"),
        ("é", "ae", "e"),
        ("É", "ae", "e"),
        ("T", "t", "t"),
        ("t", "T", "T"),
        ("’", "'\"", "'"),
        ("'", "’", "’"),
        ("—", "-", "-"),
        ("…", ".", "..."),
        ("\u00a0", " ", " "),
        ("\t", " ", " "),
        ("\r", "\n", "\n"),
        ("ß", "s", "ss"),
        ("ﬁ", "fi", "fi"),
        ("ø", "o", "o"),
        ("e\u0301"[1], "e", None),
        ("€", "ae", None),
        ("中", "ae", None),
    ],
)
def test_the_nearest_known_character_is_what_people_would_type_instead(character, known, nearest):
    assert nearest_known(character, Vocabulary("".join(sorted(known)))) == nearest
