"""Commands that are printed to be copied mean the same words when pasted into a shell."""

from __future__ import annotations

import os
import shlex
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.cli.quoting import prompt_words, shell_line
from charlm.text.escapes import unescape

# Whatever the system can pass as an argument: no NUL, and bytes that are not UTF-8 as Python represents them.
ODD = "\n\t\r\x1b\x07\x7f\x85\x9b'\"\\$`!*?~#&;|<> \u202e\u2028\u200d\u00a0é😀\udcff"
CHARACTERS = st.one_of(st.sampled_from(ODD), st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
WORDS = st.lists(st.text(CHARACTERS, max_size=12), min_size=1, max_size=12)


def read_by_bash(line: str) -> list[str]:
    """Return the words into which bash splits a line, also in a locale without UTF-8."""
    environment = os.environ | {"LC_ALL": "C"}
    command = ["bash", "-c", f"printf '%s\\0' {line}"]
    said = subprocess.run(command, capture_output=True, check=True, env=environment).stdout
    return [os.fsdecode(word) for word in said.split(b"\0")[:-1]]


@settings(max_examples=40)
@given(WORDS)
def test_bash_reads_the_words_that_were_quoted(words):
    line = shell_line(words)
    assert line.isprintable()
    assert read_by_bash(line) == words


def test_each_odd_character_survives_alone_and_before_digits():
    words = [*ODD, *(f"{each}1f" for each in ODD), "", "-n", "--", "a=b", "{a,b}", "[x]"]
    assert read_by_bash(shell_line(words)) == words


@pytest.mark.parametrize("words", [["a", "b c"], ["it's"], ["--run=é"], [""], ["$x"]])
def test_words_that_a_terminal_shows_are_quoted_as_usual(words):
    assert shell_line(words) == shlex.join(words)


@given(st.text())
def test_a_prompt_survives_its_shell_whatever_it_holds(text):
    *options, typed = prompt_words("--prefix", text)
    assert "\0" not in typed
    assert options in (["--prefix"], ["--escapes", "--prefix"])
    assert (unescape(typed, "the prefix") if "--escapes" in options else typed) == text
    assert shell_line([typed]).isprintable()
