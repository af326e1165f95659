"""Splits are compared with slices of the text."""

from __future__ import annotations

from fractions import Fraction
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.errors import TextError
from charlm.settings.corpus import CorpusSettings
from charlm.text.corpus import Corpus
from charlm.text.splits import Split, split_corpus, split_sizes
from charlm.text.vocabulary import Vocabulary


def corpus_settings(split: Any, **options: Any) -> CorpusSettings:
    """Return corpus settings with a split."""
    return CorpusSettings.model_validate({"split": split, **options})


def split_text(text: str, split: Any, vocabulary: Vocabulary | None = None) -> Split:
    """Split a text."""
    symbols = vocabulary or Vocabulary("".join(sorted(set(text))))
    ids = symbols.encode(text, unknown="replace")
    return split_corpus(Corpus(ids, symbols, (), ""), corpus_settings(split))


@pytest.mark.parametrize(
    ("num_chars", "split", "sizes"),
    [
        (1_115_394, "nanogpt", (1_003_854, 111_540, 0)),
        (1_115_394, "torch-rnn", (892_315, 111_539, 111_540)),
        (1_115_394, "default", (1_003_854, 55_770, 55_770)),
        (1_115_394, "none", (1_115_394, 0, 0)),
        (1000, "default", (900, 50, 50)),
        (1001, "80/10/10", (800, 100, 101)),
        (1001, "90/10", (900, 101, 0)),
        (1000, "33/33/34", (330, 330, 340)),
        (1000, [0.7, 0.2, 0.1], (700, 200, 100)),
        # 0.7 + 0.1 as floats is just below 0.8, and 10 * 0.8 would be rounded down to 7.
        (10, [0.7, 0.1, 0.2], (7, 1, 2)),
        (1000, [0.5, 0.5], (500, 500, 0)),
        (1000, [1.0, 0.0, 0.0], (1000, 0, 0)),
        (1000, [600, 50, 40], (600, 50, 40)),
        (1000, [600, 400], (600, 400, 0)),
        (1000, [1000, 0], (1000, 0, 0)),
    ],
)
def test_sizes_follow_the_protocol(num_chars: int, split: Any, sizes: tuple[int, int, int]) -> None:
    assert split_sizes(num_chars, corpus_settings(split)) == sizes


@pytest.mark.parametrize(
    ("name", "num_chars", "sizes"),
    [
        ("timemachine", 170_580, (170_580, 0, 0)),
        ("tinyshakespeare", 1_115_394, (1_003_854, 111_540, 0)),
        ("text8", 100_000_000, (90_000_000, 5_000_000, 5_000_000)),
        ("enwik8", 100_000_000, (90_000_000, 5_000_000, 5_000_000)),
        ("stories", 1000, (900, 50, 50)),
    ],
)
def test_standard_means_the_protocol_of_the_known_corpus(
    name: str, num_chars: int, sizes: tuple[int, int, int]
) -> None:
    assert split_sizes(num_chars, corpus_settings("standard", name=name)) == sizes


@given(
    num_chars=st.integers(0, 10**9),
    percent=st.tuples(st.integers(1, 100), st.integers(0, 100)).filter(lambda pair: sum(pair) <= 100),
)
def test_splits_cover_the_text_and_each_boundary_is_rounded_down_once(num_chars: int, percent: tuple[int, int]) -> None:
    train, val = percent
    sizes = split_sizes(num_chars, corpus_settings(f"{train}/{val}/{100 - train - val}"))
    assert sum(sizes) == num_chars
    assert sizes[0] == int(num_chars * Fraction(train, 100))
    assert sizes[0] + sizes[1] == int(num_chars * Fraction(train + val, 100))
    assert min(sizes) >= 0


@given(st.text("ab分", min_size=60, max_size=120).filter(lambda text: len(set(text)) > 1))
def test_splits_are_contiguous_and_hashed_as_slices_of_the_text(text: str) -> None:
    split = split_text(text, "default")
    start = 0
    for name, size in zip(("train", "val", "test"), split_sizes(len(text), corpus_settings("default")), strict=True):
        part, slice_ = split.part(name), text[start : start + size]
        assert part is not None
        assert Vocabulary("".join(sorted(set(text)))).decode(part.ids) == slice_
        assert part.sha256 == sha256(slice_.encode()).hexdigest()
        start += size
    assert start == len(text)


def test_sizes_leave_out_the_end_of_the_text() -> None:
    split = split_text("abcabcabcabc", [4, 3, 2])
    assert [len(part.ids) for part in (split.train, split.val, split.test) if part] == [4, 3, 2]
    assert split.test
    assert split.test.sha256 == sha256(b"bc").hexdigest()


def test_the_unknown_symbol_is_hashed_as_the_replacement_character() -> None:
    split = split_text("abxab", "none", Vocabulary("ab", has_unknown=True))
    assert split.train.sha256 == sha256("ab\ufffdab".encode()).hexdigest()


@pytest.mark.parametrize(
    ("split", "missing"), [("none", ["val", "test"]), ("nanogpt", ["test"]), ([90, 0, 10], ["val"]), ("default", [])]
)
def test_a_split_of_size_zero_is_none(split: Any, missing: list[str]) -> None:
    found = split_text("ab" * 50, split)
    assert [name for name in ("train", "val", "test") if found.part(name) is None] == missing


@pytest.mark.parametrize(
    ("split", "sentence"),
    [
        ([90, 10, 1], "corpus.split asks for 101 characters, but the text has 100"),
        ([10**9, 5], "corpus.split asks for 1,000,000,005 characters, but the text has 100"),
        ([99, 1], "the validation split has 1 of the corpus's 100 characters, too few to predict one: give more text"),
        ("98/1/1", "the validation split has 1 of the corpus's 100 characters, too few to predict one: give more text"),
        (
            [0.97, 0.02, 0.01],
            "the test split has 1 of the corpus's 100 characters, too few to predict one: give more text",
        ),
        ("1/99", "the training split has 1 of the corpus's 100 characters, too few to predict one: give more text"),
        (
            [0.001, 0.999],
            "the training split has 0 of the corpus's 100 characters, too few to predict one: give more text",
        ),
    ],
)
def test_a_split_that_is_too_large_or_too_small_is_refused(split: Any, sentence: str) -> None:
    with pytest.raises(TextError) as caught:
        split_text("ab" * 50, split)
    assert str(caught.value) == sentence
    assert caught.value.exit_code == 3
