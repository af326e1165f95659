"""Symbols and ids are compared with dictionaries and loops."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from charlm.errors import TextError
from charlm.settings.corpus import UnknownPolicy
from charlm.text.encoding import Source, count_characters, encode_text, encoded_chunks, hash_ids
from charlm.text.vocabulary import Vocabulary, build_vocabulary

relaxed = hypothesis_settings(deadline=None)
LATIN = Vocabulary("abc")
CHINESE = Vocabulary("abc开分")


def cut(text: str, places: list[int]) -> list[str]:
    """Cut a text at the given places; chunks may be empty."""
    edges = [0, *sorted(min(place, len(text)) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


def first_characters(number: int) -> str:
    """Return this many characters in code-point order."""
    return "".join(chr(code) for code in range(number))


@given(text=st.text(min_size=1), places=st.lists(st.integers(0, 30)))
@relaxed
def test_characters_are_counted_as_if_one_by_one(text: str, places: list[int]) -> None:
    assert count_characters(cut(text, places)) == Counter(text)


@given(st.text())
@relaxed
def test_symbols_are_the_distinct_characters_in_code_point_order(text: str) -> None:
    vocabulary = build_vocabulary(Counter(text))
    assert vocabulary == Vocabulary("".join(sorted(set(text), key=ord)), has_unknown=False)
    assert len(vocabulary) == len(set(text))


@given(text=st.text(), places=st.lists(st.integers(0, 30)))
@relaxed
def test_encoding_in_chunks_then_decoding_gives_the_text_back(text: str, places: list[int]) -> None:
    vocabulary = build_vocabulary(Counter(text))
    ids = encode_text([Source(None, cut(text, places))], vocabulary, unknown="error").ids
    assert ids.tolist() == [vocabulary.characters.index(character) for character in text]
    assert ids.dtype == vocabulary.dtype
    assert vocabulary.decode(ids) == vocabulary.decode(ids.tolist()) == text


@pytest.mark.parametrize(
    ("size", "dtype"),
    [(2, np.uint8), (255, np.uint8), (256, np.uint8), (257, np.uint16), (65536, np.uint16), (65537, np.uint32)],
)
@pytest.mark.parametrize("has_unknown", [False, True])
def test_ids_have_the_smallest_type_that_holds_them(size: int, dtype: type, has_unknown: bool) -> None:
    vocabulary = Vocabulary(first_characters(size - has_unknown), has_unknown=has_unknown)
    assert len(vocabulary) == size
    last, unknown = vocabulary.characters[-1], "\U0010fffd"
    for text in (vocabulary.characters[:300], last + "\x00" + last, unknown if has_unknown else last):
        ids = vocabulary.encode(text, unknown="replace")
        assert ids.dtype == dtype
        assert ids.tolist() == [ord(char) if char in vocabulary.characters else size - 1 for char in text]
        assert vocabulary.decode(ids) == text.replace(unknown, "\ufffd")


@pytest.mark.parametrize(
    ("min_count", "max_size", "characters", "has_unknown"),
    [
        (1, None, "abcde", False),
        (2, None, "abc", True),
        (3, None, "ab", True),
        (4, None, "b", True),
        (6, None, "", True),
        (1, 5, "abcde", False),
        (1, 4, "abc", True),
        # a and c are equally frequent: the lower code point stays.
        (1, 3, "ab", True),
        (1, 2, "b", True),
        (2, 4, "abc", True),
        (2, 3, "ab", True),
        (3, 4, "ab", True),
    ],
)
def test_rare_characters_become_the_unknown_symbol(
    min_count: int, max_size: int | None, characters: str, has_unknown: bool
) -> None:
    counts = {"e": 1, "d": 1, "c": 2, "b": 5, "a": 3}
    vocabulary = build_vocabulary(counts, min_count=min_count, max_size=max_size)
    assert vocabulary == Vocabulary(characters, has_unknown=has_unknown)
    assert len(vocabulary) <= (max_size or 5)


def test_ties_go_to_the_lower_code_point_whatever_the_order_of_the_counts() -> None:
    for order in ("zyx", "xyz", "yzx"):
        assert build_vocabulary(dict.fromkeys(order, 4), max_size=2).characters == "x"


@given(counts=st.dictionaries(st.characters(), st.integers(1, 5), min_size=1), size=st.integers(2, 10))
@relaxed
def test_the_most_frequent_characters_fill_a_bounded_vocabulary(counts: dict[str, int], size: int) -> None:
    vocabulary = build_vocabulary(counts, max_size=size)
    dropped = [counts[character] for character in set(counts) - set(vocabulary.characters)]
    kept = [counts[character] for character in vocabulary.characters]
    assert len(vocabulary) == min(size, len(counts))
    assert max(dropped, default=0) <= min(kept, default=5)
    assert vocabulary.has_unknown == bool(dropped)


@pytest.mark.parametrize(
    ("policy", "has_unknown", "ids"),
    [("replace", True, [3, 0, 3, 2]), ("skip", True, [0, 2]), ("skip", False, [0, 2])],
)
@pytest.mark.parametrize("stranger", ["d", "é", "分", "\U0001f600"])
def test_unknown_characters_are_skipped_or_replaced(
    policy: UnknownPolicy, has_unknown: bool, ids: list[int], stranger: str
) -> None:
    vocabulary = Vocabulary("abc", has_unknown=has_unknown)
    assert vocabulary.encode(f"{stranger}a{stranger}c", unknown=policy).tolist() == ids


def test_the_unknown_symbol_is_shown_as_the_replacement_character() -> None:
    assert Vocabulary("abc", has_unknown=True).decode([0, 3, 2]) == "a\N{REPLACEMENT CHARACTER}c"


@pytest.mark.parametrize("vocabulary", [LATIN, CHINESE])
def test_an_error_names_each_unknown_character_with_code_point_and_position(vocabulary: Vocabulary) -> None:
    with pytest.raises(TextError) as caught:
        vocabulary.encode("aéb€é", what="the prefix")
    assert str(caught.value) == (
        "the prefix has 2 characters this model has never seen: 'é' (U+00E9) at position 1, '€' (U+20AC) at position 3"
    )
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("size", [254, 255, 256, 257])
def test_an_unknown_latin_character_never_becomes_the_first_symbol(size: int) -> None:
    vocabulary = Vocabulary("".join(sorted(set(first_characters(size + 1)) - {"é"})))
    with pytest.raises(TextError, match="'é'"):
        vocabulary.encode("é")
    assert vocabulary.encode("aéa", unknown="skip").tolist() == [97, 97]


@pytest.mark.parametrize(
    ("character", "shown"),
    [
        ("\n", "'a control character' (U+000A)"),
        ("\xa0", "'NO-BREAK SPACE' (U+00A0)"),
        ("\u200b", "'ZERO WIDTH SPACE' (U+200B)"),
        ("\ud800", "'a control character' (U+D800)"),
        ("'", '"\'" (U+0027)'),
        ("\U0001f600", "'😀' (U+1F600)"),
    ],
)
def test_an_unprintable_unknown_character_is_named_in_words(character: str, shown: str) -> None:
    with pytest.raises(TextError) as caught:
        LATIN.encode(character)
    assert str(caught.value) == f"the text has 1 character this model has never seen: {shown} at position 0"


def test_an_error_shows_ten_unknown_characters_and_counts_the_rest() -> None:
    with pytest.raises(TextError, match=r"has 1,011 characters this .*'é' .* and 1,001 more$") as caught:
        LATIN.encode("é" + first_characters(1114)[103:])
    assert str(caught.value).count("at position") == 10


def test_replacing_without_an_unknown_symbol_is_an_error() -> None:
    with pytest.raises(
        TextError, match=r"'d' \(U\+0064\) at position 1; they cannot be replaced: the model was trained"
    ):
        LATIN.encode("ad", unknown="replace")


@pytest.mark.parametrize("places", [[], [4], [2, 5], [1, 2, 3, 4, 5, 6]])
def test_positions_count_from_the_start_of_the_text_however_it_is_cut(places: list[int]) -> None:
    chunks = encoded_chunks(cut("abc分abc", places), LATIN, unknown="error", what="the corpus")
    with pytest.raises(TextError, match=r"^the corpus has 1 character .* at position 3$"):
        list(chunks)


@pytest.mark.parametrize("vocabulary", [LATIN, CHINESE, Vocabulary(first_characters(300))])
def test_an_empty_text_has_no_ids(vocabulary: Vocabulary) -> None:
    assert vocabulary.encode("").tolist() == []
    assert encode_text([], vocabulary, unknown="error").ids.dtype == vocabulary.dtype
    assert vocabulary.decode([]) == ""


def test_the_hash_of_ids_equals_the_hash_of_their_text() -> None:
    vocabulary = Vocabulary("a分", has_unknown=True)
    # This is longer than the block that is hashed at once.
    text = "a分b" * 400_000
    ids = vocabulary.encode(text, unknown="replace")
    assert hash_ids(ids, vocabulary) == sha256(text.replace("b", "\ufffd").encode()).hexdigest()
