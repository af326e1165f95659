"""The n-gram model is modified Kneser-Ney: a distribution after any context, equal to the plain equations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import one_in

from charlm.evaluation.ngrams import count_ngrams, fit_ngrams, nats_by_order, ngram_distributions, ngram_nats
from charlm.text.known import corpus_file
from charlm.text.vocabulary import Ids

ORDERS = [1, 2, 3, 5, 12]
BOUNDARIES = [None, 0]
# (V, the characters that occur in training): few and many, some never seen; more than a byte and than 16 bits hold.
VOCABULARIES = [(2, 2), (3, 2), (7, 4), (65, 20), (300, 290), (1_000, 5)]


def as_ids(characters: Sequence[int]) -> Ids:
    return np.array(characters, np.uint32)


def draw_text(length: int, size: int, seed: int = 0) -> list[int]:
    """Return characters 0 .. size - 1, some of them much rarer than others, as in natural languages."""
    shares = 1 / np.arange(1, size + 1)
    return np.random.default_rng(seed).choice(size, length, p=shares / shares.sum()).tolist()


class SlowKneserNey:
    """Chen and Goodman 1998, section 4.1.7 and equations 24 to 27, with dictionaries and one loop for each sum."""

    def __init__(self, text: Sequence[int], vocab_size: int, order: int, boundary: int | None = None) -> None:
        self.vocab_size, self.boundary = vocab_size, boundary
        grams = [tuple(text[at : at + n]) for n in range(1, order + 1) for at in range(len(text) - n + 1)]
        # Between items, no n-gram goes on.
        grams = [gram for gram in grams if boundary not in gram[1:-1]]
        self.order = max(map(len, grams), default=0)
        before: dict[tuple[int, ...], set[int]] = {}
        for gram in grams:
            before.setdefault(gram[1:], set()).add(gram[0])
        self.counts: dict[tuple[int, ...], int] = dict(Counter(grams))
        # An n-gram that occurs only at the beginning has nothing before it, and keeps its count.
        self.counts |= {gram: len(before[gram]) for gram in grams if len(gram) < self.order and gram in before}
        self.discounts = [self.discounts_of(n) for n in range(1, self.order + 1)]

    def discounts_of(self, n: int) -> list[float]:
        """Return D1, D2 and D3+ of an order, kept between 0.05 and 0.05 less than the count."""
        found = Counter(count for gram, count in self.counts.items() if len(gram) == n)
        n1, n2, n3, n4 = (max(1, found[times]) for times in (1, 2, 3, 4))
        y = n1 / (n1 + 2 * n2)
        plain = [1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
        return [min(max(plain[k - 1], 0.05), k - 0.05) for k in (1, 2, 3)]

    def probability(self, context: Sequence[int], character: int, n: int | None = None) -> float:
        """Return p(character | context) of order n, by default the highest."""
        n = self.order if n is None else n
        if self.boundary in context:
            context = context[len(context) - 1 - context[::-1].index(self.boundary) :]
        if n == 0:
            return 1 / self.vocab_size
        lower = self.probability(context, character, n - 1)
        if len(context) < n - 1:
            return lower
        history = tuple(context[len(context) - n + 1 :])
        counts = [self.counts.get((*history, other), 0) for other in range(self.vocab_size)]
        if sum(counts) == 0:
            return lower
        taken = [self.discounts[n - 1][min(count, 3) - 1] if count else 0.0 for count in counts]
        return (counts[character] - taken[character] + sum(taken) * lower) / sum(counts)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("length", [2, 3, 6, 40, 200])
@pytest.mark.parametrize(("vocab_size", "num_seen"), [(2, 2), (5, 4), (9, 6)])
def test_every_characters_probability_equals_the_plain_equations(
    vocab_size: int, num_seen: int, length: int, order: int, boundary: int | None
) -> None:
    train, part = draw_text(length, num_seen), draw_text(60, vocab_size, seed=1)
    slow = SlowKneserNey(train, vocab_size, order, boundary)
    expected = [slow.probability(part[:at], part[at]) for at in range(1, len(part))]
    orders = fit_ngrams(as_ids(train), vocab_size, order, boundary=boundary)
    found = np.exp(-ngram_nats(orders, as_ids(part), vocab_size, boundary=boundary))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("length", [0, 1, 4, 9, 300, 3_000])
def test_counting_once_gives_the_model_of_every_order(length: int, boundary: int | None) -> None:
    train, part = as_ids(draw_text(length, 5)), as_ids(draw_text(200, 6, seed=1))
    counts = count_ngrams(train, 6, 12, boundary=boundary)
    found = nats_by_order(counts, part, range(1, 15))
    assert list(found) == list(range(1, 15))
    for order in range(1, 15):
        alone = fit_ngrams(train, 6, min(order, 12), boundary=boundary)
        for one, other in zip(alone, counts.model(order), strict=True):
            assert all(np.array_equal(getattr(one, field), getattr(other, field)) for field in vars(one))
        expected = ngram_nats(alone, part, 6, boundary=boundary)
        assert np.array_equal(found[order], expected)
        kept = counts.up_to(order)
        assert kept.longest == min(order, counts.longest)
        assert np.array_equal(nats_by_order(kept, part, [order])[order], expected)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("order", one_in(3, ORDERS))
@pytest.mark.parametrize(("vocab_size", "num_seen"), VOCABULARIES)
def test_the_probabilities_of_all_symbols_are_a_distribution_with_the_texts_own_among_them(
    vocab_size: int, num_seen: int, order: int, boundary: int | None
) -> None:
    train = draw_text(1_500, num_seen)
    part = as_ids([*train[700:900], *draw_text(150, vocab_size, seed=1)])
    orders = fit_ngrams(as_ids(train), vocab_size, order, boundary=boundary)
    expected = ngram_nats(orders, part, vocab_size, boundary=boundary)
    for chunk_chars in (1, 7, 100, 1_024):
        chunks = list(ngram_distributions(orders, part, vocab_size, boundary=boundary, chunk_chars=chunk_chars))
        assert all(len(chunk) <= chunk_chars for chunk in chunks)
        found = np.concatenate(chunks)
        assert found.shape == (len(part) - 1, vocab_size)
        assert (found > 0).all()
        np.testing.assert_allclose(found.sum(1), 1, rtol=0, atol=1e-12)
        assert np.array_equal(-np.log(found[np.arange(len(found)), part[1:]]), expected)
        if vocab_size > 100:
            break


@pytest.mark.parametrize("order", [2, 5])
def test_a_text_whose_counts_of_counts_need_no_bounds_has_the_papers_discounts(order: int) -> None:
    text = draw_text(5_000, 12)
    for found in fit_ngrams(as_ids(text), 12, order)[1:]:
        n1, n2, n3, n4 = (int((found.counts == times).sum()) for times in (1, 2, 3, 4))
        if min(n1, n2, n3, n4) > 50:
            y = n1 / (n1 + 2 * n2)
            expected = [0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
            assert found.discounts.tolist() == pytest.approx(expected, rel=1e-12)


@st.composite
def contexts(draw: st.DrawFn) -> tuple[int, list[int], list[int], int]:
    """Draw a vocabulary size, a training text, a context that may or may not occur in it, and an order."""
    vocab_size, num_seen = draw(st.sampled_from(VOCABULARIES))
    train = draw_text(draw(st.integers(1, 400)), num_seen, seed=draw(st.integers(0, 3)))
    at, length = draw(st.integers(0, len(train) - 1)), draw(st.integers(1, 8))
    of_anything = st.lists(st.integers(0, vocab_size - 1), min_size=1, max_size=8)
    context = draw(st.one_of(st.just(train[at : at + length]), st.just(train[-length:]), of_anything))
    return vocab_size, train, context, draw(st.sampled_from(ORDERS))


def test_there_are_no_distributions_of_a_single_character_or_none() -> None:
    orders = fit_ngrams(as_ids([0, 1, 0]), 2, 2)
    assert [list(ngram_distributions(orders, as_ids(ids), 2)) for ids in ([], [1])] == [[], []]
    uniform = list(ngram_distributions([], as_ids([0, 1]), 2))
    assert [chunk.tolist() for chunk in uniform] == [[[0.5, 0.5]]]


@settings(max_examples=80, deadline=None)
@given(contexts())
def test_the_probabilities_after_any_context_sum_to_one(drawn: tuple[int, list[int], list[int], int]) -> None:
    vocab_size, train, context, order = drawn
    orders = fit_ngrams(as_ids(train), vocab_size, order)
    texts = (as_ids([*context, character]) for character in range(vocab_size))
    nats = np.array([ngram_nats(orders, text, vocab_size)[-1] for text in texts])
    assert np.isfinite(nats).all()
    assert (nats > 0).all()
    # As many roundings as there are characters.
    assert np.exp(-nats).sum() == pytest.approx(1, abs=1e-12)


def test_a_unigram_model_converges_to_the_shares_of_the_characters() -> None:
    for times, tolerance in ((10, 0.05), (1_000, 5e-4), (100_000, 5e-6)):
        train = as_ids([0, 0, 0, 0, 1, 1, 2, 2] * times)
        found = np.exp(-ngram_nats(fit_ngrams(train, 4, 1), as_ids([0, 0, 1, 2, 3]), 4))
        assert found[:3].tolist() == pytest.approx([1 / 2, 1 / 4, 1 / 4], abs=tolerance)
        assert 0 < found[3] < tolerance


def test_a_unigram_model_does_not_look_at_what_comes_before() -> None:
    orders = fit_ngrams(as_ids(draw_text(500, 5)), 6, 1)
    nats = [ngram_nats(orders, as_ids([before, 3]), 6)[0] for before in range(6)]
    assert len(set(nats)) == 1


@pytest.mark.parametrize("order", ORDERS)
def test_a_text_of_one_repeated_character_is_expected_to_continue(order: int) -> None:
    orders = fit_ngrams(as_ids([1] * 1_000), 3, order)
    going_on, others = ngram_nats(orders, as_ids([1] * 50), 3), ngram_nats(orders, as_ids([1] * 10 + [2, 0, 0]), 3)
    assert (going_on > 0).all()
    # The highest order has seen it hundreds of times, the lower ones after one other character: a count of 1.
    assert going_on[order:].max() < 0.01
    assert np.isfinite(others).all()
    assert others[-3] > 3


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_a_text_shorter_than_the_order_has_the_orders_of_its_length(length: int) -> None:
    text = [0, 2, 0, 1][:length]
    part = as_ids([0, 2, 0, 1, 2, 0, 1])
    short, whole = (ngram_nats(fit_ngrams(as_ids(text), 3, order), part, 3) for order in (length, 6))
    assert np.array_equal(short, whole)
    assert np.isfinite(whole).all()


def test_with_no_text_to_learn_from_every_character_is_as_likely() -> None:
    nats = ngram_nats(fit_ngrams(as_ids([]), 7, 5), as_ids([0, 3, 6]), 7)
    assert nats.tolist() == pytest.approx([math.log(7)] * 2)


@pytest.mark.parametrize("order", [2, 3, 5, 6])
def test_the_first_characters_of_a_split_see_nothing_of_the_training_text(order: int) -> None:
    train, part = draw_text(3_000, 6), draw_text(200, 6, seed=1)
    orders = fit_ngrams(as_ids(train), 6, order)
    alone = ngram_nats(orders, as_ids(part), 6)
    behind = ngram_nats(orders, as_ids(train + part), 6)[len(train) :]
    assert len(alone) == len(behind) == len(part) - 1
    first_whole = order - 2
    assert np.array_equal(alone[first_whole:], behind[first_whole:])
    assert all(alone[at] != behind[at] for at in range(first_whole))
    fewer = [ngram_nats(orders[: at + 2], as_ids(part), 6)[at] for at in range(first_whole)]
    assert alone[:first_whole].tolist() == fewer


def test_what_follows_a_character_does_not_change_its_cost() -> None:
    orders, part = fit_ngrams(as_ids(draw_text(2_000, 6)), 6, 5), draw_text(100, 6, seed=1)
    whole = ngram_nats(orders, as_ids(part), 6)
    for length in (1, 2, 50):
        assert np.array_equal(ngram_nats(orders, as_ids(part[:length]), 6), whole[: length - 1])


def test_a_higher_order_never_makes_the_result_on_english_much_worse() -> None:
    text = corpus_file("stories").read_text(encoding="utf-8")
    characters = sorted(set(text))
    ids = as_ids([characters.index(character) for character in text])
    train, part = np.split(ids, [len(ids) * 9 // 10])
    means = [ngram_nats(fit_ngrams(train, len(characters), n), part, len(characters)).mean() for n in range(1, 10)]
    bits = [mean / math.log(2) for mean in means]
    assert bits[0] > bits[1] + 0.5 > bits[2] + 0.8
    assert bits[4] < bits[3] < bits[2] < 3
    # Beyond what the text can fill, smoothing holds a higher order to what the lower one knew.
    assert all(higher < lower + 0.02 for lower, higher in pairwise(bits))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_the_width_of_the_ids_does_not_matter(dtype: type) -> None:
    train, part = as_ids(draw_text(500, 200)), as_ids(draw_text(100, 200, seed=1))
    expected = ngram_nats(fit_ngrams(train, 200, 4), part, 200)
    assert np.array_equal(ngram_nats(fit_ngrams(train.astype(dtype), 200, 4), part.astype(dtype), 200), expected)
