"""The page reads texts as the command line does: cleaned in the same way, as the same ids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from charlm.settings.corpus import Clean
from charlm.text.cleaning import clean_prefix, clean_text
from charlm.text.forms import match_form
from charlm.text.vocabulary import Vocabulary

TEXTS = (
    "",
    "The  end.\r\nΟΔΟΣ\rÉe\u0301 \u1e9b\u0323\n\n",
    "  42 lines, \n or so: İstanbul ﬁ 😀\u200d😀\u202eabc\x00\t",
)
CLEAN = (
    {},
    {"newline": "keep"},
    {"unicode": "nfc"},
    {"lowercase": True},
    {"lowercase": True, "unicode": "nfc"},
    {"letters": True},
)


@pytest.mark.parametrize("is_prefix", [True, False])
@pytest.mark.parametrize("clean", CLEAN, ids=str)
@pytest.mark.parametrize("text", TEXTS)
def test_texts_are_cleaned_as_the_corpus_was(
    engine: Callable[..., Any], text: str, clean: dict[str, Any], is_prefix: bool
) -> None:
    settings = Clean(**clean)
    found = engine("(t, [text, clean, p]) => t.cleaned(text, clean, p)", [text, settings.model_dump(), is_prefix])
    assert found == (clean_prefix(text, settings) if is_prefix else "".join(clean_text(iter([text]), settings)))


def marked(engine: Callable[..., Any], function: str, text: str, **model: Any) -> list[dict[str, Any]]:
    """Return what `mark` or `markedText` returns for a vocabulary of these fields."""
    known = {"has_unknown": False, "boundary": None, "items": None, "separator": None, "unknown": "error"}
    data = {**known, "clean": Clean().model_dump(), **model}
    data["characters"] = [ord(each) for each in data["characters"]]
    code = {
        "mark": "(t, [data, text]) => new t.Vocabulary(data).mark(text, { isPrefix: true })",
        "markedText": "(t, [data, text]) => t.markedText(text, new t.Vocabulary(data))",
    }[function]
    return engine(code, [data, text])


@pytest.mark.parametrize("known", ["e\u0301", "\xe9", "e", "😀"])
@pytest.mark.parametrize("text", ["\xe9", "e\u0301e", "😀e"])
def test_characters_are_code_points_in_the_form_of_the_corpus(
    engine: Callable[..., Any], known: str, text: str
) -> None:
    vocabulary = Vocabulary("".join(sorted(known)))
    found = marked(engine, "mark", text, characters=vocabulary.characters)
    expected = match_form(text, vocabulary).text
    assert "".join(chr(each["code"]) for each in found) == expected
    ids = [None if symbol == len(known) else symbol for symbol in vocabulary.mark(expected).tolist()]
    assert [each["id"] for each in found] == ids


@pytest.mark.parametrize(
    ("unknown", "has_unknown", "ids"),
    [("error", False, [0, None]), ("skip", True, [0, None]), ("replace", True, [0, 2]), ("replace", False, [0, None])],
)
def test_unknown_characters_are_marked(
    engine: Callable[..., Any], unknown: str, has_unknown: bool, ids: list[int | None]
) -> None:
    found = marked(engine, "mark", "a?", characters="ab", unknown=unknown, has_unknown=has_unknown)
    assert [each["id"] for each in found] == ids
    assert [each["isKnown"] for each in found] == [True, False]


@pytest.mark.parametrize(
    ("items", "separator", "text"),
    [("lines", None, "\nab\n \nba\n"), ("files", None, "\nab\nba\n"), ("separated", "<|>", "ab\n<|>\n<|>ba\n")],
)
def test_items_have_their_beginnings_and_ends(
    engine: Callable[..., Any], items: str, separator: str | None, text: str
) -> None:
    end = "\n" if items == "lines" else "\uffff"
    characters = "".join(sorted({"\n", "a", "b", end}))
    fields = {"characters": characters, "boundary": characters.index(end), "items": items, "separator": separator}
    found = marked(engine, "markedText", text, **fields)
    expected = {"lines": "\nab\nba\n", "files": "\uffffab\nba\uffff", "separated": "\uffffab\uffffba\uffff"}[items]
    assert "".join(characters[each["id"]] for each in found) == expected


@pytest.mark.parametrize(
    ("character", "sign", "name"),
    [
        ("a", None, "a"),
        (" ", None, "space"),
        ("\n", "↵", "line end"),
        ("\x00", "U+0000", "U+0000"),
        ("\u202e", "U+202E", "U+202E"),
        ("\u200d", None, "\u200d"),
        ("😀", None, "😀"),
        ("\ud800", "U+D800", "U+D800"),
    ],
)
def test_what_nobody_sees_has_a_sign(engine: Callable[..., Any], character: str, sign: str | None, name: str) -> None:
    assert engine("(t, code) => t.glyphOf(code).sign", ord(character)) == sign
    assert engine("(t, code) => t.nameOf(code)", ord(character)) == name
