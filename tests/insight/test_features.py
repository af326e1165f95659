"""Each feature has the values that a reader would give it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.insight.enclosures import inside_brackets, inside_quotes
from charlm.insight.features import in_reading_order, text_features
from charlm.text.items import NONCHARACTER


def values_of(text: str, name: str, boundary: str | None = None) -> list[int]:
    (found,) = (feature for feature in text_features(text, boundary=boundary) if feature.name == name)
    return found.values.astype(int).tolist()


def marked(text: str, name: str, boundary: str | None = None) -> str:
    """Return the characters at which a binary feature is 1, and dots elsewhere."""
    shown = (each if value else "." for each, value in zip(text, values_of(text, name, boundary), strict=True))
    return "".join(shown)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("place in the line", "ab\n\ncde", [1, 2, 0, 0, 1, 2, 3]),
        ("characters to the end of the line", "ab\n\ncde", [2, 1, 0, 0, 3, 2, 1]),
        ("indentation of the line", "a b\n  c d\n\te", [0, 0, 0, 0, 1, 2, 2, 2, 2, 0, 1, 1]),
        ("place in the word", "to it's 'no'", [1, 2, 0, 1, 2, 3, 4, 0, 0, 1, 2, 0]),
        ("place in the sentence", "A b. C!", [1, 2, 3, 0, 1, 2, 0]),
        ("depth of brackets", "a(b[c]d)e", [0, 1, 1, 2, 2, 1, 1, 0, 0]),
    ],
)
def test_places_are_counted(name: str, text: str, expected: list[int]) -> None:
    assert values_of(text, name) == expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("part of a word", "It's a1, नमस्ते 好", "It's.a1..नमस्ते.."),
        ("last letter of a word", "It's a b2", "...s.a..2"),
        ("after a capital in the word", "Ann McIvor X y", ".nn..cIvor...."),
        ("capital", "Ann ÉB", "A...ÉB"),
        ("vowel", "Élan ёй ай αβ", "É.a..ё..а..α."),
        ("digit", "a1 2", ".1.2"),
        ("punctuation", "a, (b)!", ".,.(.)!"),
        ("same character as before", "aab  b", ".a.. ."),
        ("inside quotation marks", '"Yes," he said', '"Yes,.........'),
        ("inside brackets", "f(x) }", ".(x..."),
    ],
)
def test_kinds_are_marked(name: str, text: str, expected: str) -> None:
    assert marked(text, name) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("“Yes,” he said", "“Yes,........."),
        ("„Ja“, sagte er", "„Ja..........."),
        ("«Oui» »Ja« 「好」", "«Oui..»Ja..「好."),
        ("don't 'tis the dogs' 'em", "." * 24),
        ("he said 'yes, don't' to it", "........'yes, don't......."),
        ("‘It’s so,’ he said", "‘It’s so,........."),
        ("\"He said 'no',\" I", "\"He said 'no',..."),
        ("“He said ‘no’,” I", "“He said ‘no’,..."),
        # The next paragraph opens its marks again.
        ('"One\n\n"two" x', '"One.."two...'),
        ("5' 6'", "....."),
    ],
)
def test_quotations_are_found(text: str, expected: str) -> None:
    shown = "".join(each if is_inside else "." for each, is_inside in zip(text, inside_quotes(text), strict=True))
    assert shown == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a)b(c", "00011"),
        ("(a [b) c", "11122000"),
        ("(a\n\nb", "11000"),
        ("{a\n\nb}c", "1111100"),
    ],
)
def test_brackets_are_counted(text: str, expected: str) -> None:
    assert "".join(map(str, inside_brackets(text))) == expected


@pytest.mark.parametrize("boundary", ["\n", NONCHARACTER])
def test_items_have_places_and_nothing_reaches_into_the_next(boundary: str) -> None:
    text = boundary + boundary.join(['ab"', "c{d", "e"]) + boundary
    assert values_of(text, "place in the item", boundary) == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 0]
    assert values_of(text, "characters to the end of the item", boundary) == [0, 3, 2, 1, 0, 3, 2, 1, 0, 1, 0]
    assert marked(text, "inside quotation marks", boundary) == '...".......'
    assert marked(text, "inside brackets", boundary) == "......{d..."
    assert not any(
        "line" in feature.name and feature.name != "end of a line" for feature in text_features(text, boundary=boundary)
    )


def test_what_never_changes_is_left_out() -> None:
    assert [feature.name for feature in text_features("aaaa")] == [
        "place in the sentence",
        "place in the word",
        "last letter of a word",
        "same character as before",
    ]
    assert text_features("") == []


def test_a_script_without_spaces_has_no_words_and_no_vowels() -> None:
    names = {feature.name for feature in text_features("春眠不覺曉,處處聞啼鳥。\n夜來風雨聲")}
    assert not any("word" in name or name in ("vowel", "capital") for name in names)
    assert {"place in the line", "punctuation", "place in the sentence"} <= names


def test_features_are_turned_for_a_model_that_reads_backwards() -> None:
    features = text_features("Ab c\nd")
    for kept, turned in zip(features, in_reading_order(features, "backward"), strict=True):
        assert turned.name == kept.name
        assert turned.values.tolist() == kept.values.tolist()[::-1]
    assert [each.values.tolist() for each in in_reading_order(features, "forward")] == [
        each.values.tolist() for each in features
    ]


@given(
    st.text(alphabet="aB1 \n\t'\"‘’“”«»„()[]{}.é好" + NONCHARACTER, max_size=60),
    st.sampled_from([None, "\n", NONCHARACTER]),
)
def test_any_text_has_features_of_its_length(text: str, boundary: str | None) -> None:
    features = text_features(text, boundary=boundary)
    assert len({feature.name for feature in features}) == len(features)
    for feature in features:
        assert feature.values.shape == (len(text),)
        assert np.isfinite(feature.values).all()
        assert np.ptp(feature.values) > 0
        assert not feature.is_binary or set(feature.values.tolist()) == {0, 1}
