"""The statistics of a text are compared with a scalar count and closed forms."""

from __future__ import annotations

import bz2
import math
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charlm.errors import TextError
from charlm.text.statistics import LineEndings, describe_text


def scalar_entropies(text: str) -> tuple[float, float]:
    """Return H(x_t) and H(x_t | x_{t-1}), one character at a time."""
    unigrams, pairs, contexts = Counter(text), Counter(pairwise(text)), Counter(text[:-1])
    unigram = sum(-math.log2(unigrams[char] / len(text)) for char in text) / len(text)
    bits = sum(-math.log2(pairs[a, b] / contexts[a]) for a, b in pairwise(text))
    return unigram, bits / (len(text) - 1) if len(text) > 1 else 0.0


def cut(text: str, places: list[int]) -> list[str]:
    """Cut a text at the given places; chunks may be empty."""
    edges = [0, *sorted(min(place, len(text)) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


@given(text=st.text(min_size=1), places=st.lists(st.integers(0, 50)))
def test_cutting_a_text_into_chunks_changes_nothing(text: str, places: list[int]) -> None:
    assert describe_text(cut(text, places)) == describe_text([text])


@given(text=st.text(alphabet="ab\r\né字😀", min_size=1))
def test_counts_equal_a_scalar_computation(text: str) -> None:
    found = describe_text(cut(text, [1, 3]))
    unigram, bigram = scalar_entropies(text)
    crlf = text.count("\r\n")
    assert (found.num_chars, found.num_bytes, found.num_symbols) == (
        len(text),
        len(text.encode()),
        len(set(text)),
    )
    assert found.line_endings == LineEndings(lf=text.count("\n") - crlf, crlf=crlf, cr=text.count("\r") - crlf)
    assert found.unigram_bits_per_char == pytest.approx(unigram, abs=1e-12)
    assert found.bigram_bits_per_char == pytest.approx(bigram, abs=1e-12)
    assert found.bzip2_bits_per_char == 8 * len(bz2.compress(text.encode(), 9)) / len(text)


@pytest.mark.parametrize("num_symbols", [1, 2, 64, 1000])
def test_a_uniform_text_has_log2_of_its_symbols_as_entropy(num_symbols: int) -> None:
    symbols = "".join(chr(0x4E00 + index) for index in range(num_symbols))
    found = describe_text([symbols] * 10)
    assert found.unigram_bits_per_char == pytest.approx(math.log2(num_symbols), abs=1e-12)


def test_a_cycle_has_no_conditional_entropy() -> None:
    assert describe_text(["abcdefgh" * 100]).bigram_bits_per_char == 0.0


def test_a_text_with_every_pair_once_has_the_full_conditional_entropy() -> None:
    # A de Bruijn cycle over four symbols: each symbol is followed by each exactly once.
    assert describe_text(["aabacadbbcbdccdda"]).bigram_bits_per_char == pytest.approx(2.0)


def test_a_crlf_across_two_chunks_is_one_line_ending() -> None:
    assert describe_text(["a\r", "\nb\n\r"]).line_endings == LineEndings(lf=1, crlf=1, cr=1)


def test_the_rarest_symbols_are_ordered_by_count_and_code_point() -> None:
    text = "".join(chr(ord("a") + index) * (index // 2 + 1) for index in range(20))
    expected = [(chr(ord("a") + index), index // 2 + 1) for index in range(10)]
    assert list(describe_text([text]).rarest) == expected


def test_a_single_character_has_no_pairs() -> None:
    found = describe_text(["x"])
    assert (found.num_chars, found.unigram_bits_per_char, found.bigram_bits_per_char) == (1, 0.0, 0.0)


@pytest.mark.parametrize("chunks", [[], ["", ""]])
def test_an_empty_text_is_refused(chunks: list[str]) -> None:
    with pytest.raises(TextError, match="empty"):
        describe_text(chunks)
