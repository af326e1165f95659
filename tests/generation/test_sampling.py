"""Samples depend only on (seed, k), occur as often as their probability says, and stop where they should."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from predicting import sample_text, sample_texts

from charlm.errors import TextError
from charlm.generation import draws, session
from charlm.generation.filters import Filters, filter_logits
from charlm.generation.sampling import stop_before
from charlm.generation.session import BLOCK_ROWS
from charlm.networks.building import build_model
from charlm.networks.language_model import CharLM
from charlm.settings.model import ModelSettings
from charlm.text.vocabulary import Vocabulary

VOCABULARY = Vocabulary("abcdef")
WITH_UNKNOWN = Vocabulary("abcdef", has_unknown=True)
PREFIX = VOCABULARY.encode("abba")
CELLS = ["rnn", "gru", "lstm"]
IMPLEMENTATIONS = ["torch", "reference", pytest.param("native", marks=pytest.mark.kernels)]
SEEDS = [0, 1, 2**63 - 1]


def build(cell: str = "gru", implementation: str = "auto", vocabulary: Vocabulary = VOCABULARY) -> CharLM:
    """Return a small model whose distributions differ from step to step."""
    model = ModelSettings(cell=cell, hidden_size=8, num_layers=2, implementation=implementation)
    network = build_model(model, len(vocabulary), seed=0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= 4
    return network


def build_constant(probabilities: Sequence[float], vocabulary: Vocabulary = VOCABULARY) -> CharLM:
    """Return a model that predicts the same distribution at each step."""
    network = build_model(ModelSettings(cell="rnn", hidden_size=2), len(vocabulary), seed=0)
    with torch.no_grad():
        network.decoder.weight.zero_()
        network.decoder.bias.copy_(torch.tensor(probabilities).log())
    return network


def write(network: CharLM, number: int, vocabulary: Vocabulary = VOCABULARY, **options: Any) -> list[str]:
    return list(sample_texts(network, vocabulary, PREFIX, num_samples=number, **options))


def write_one(network: CharLM, **options: Any) -> str:
    return "".join(sample_text(network, VOCABULARY, PREFIX, **options))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_sample_k_is_the_same_however_many_are_requested(cell: str, implementation: str, seed: int) -> None:
    network = build(cell, implementation)
    many = write(network, 2 * BLOCK_ROWS + 1, seed=seed, length=30)
    assert len(many) == 2 * BLOCK_ROWS + 1
    for number in (0, 1, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1):
        assert write(network, number, seed=seed, length=30) == many[:number]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_streaming_equals_the_whole_sample(implementation: str, seed: int) -> None:
    network = build(implementation=implementation)
    whole = write(network, BLOCK_ROWS + 2, seed=seed, length=30)
    assert [write_one(network, sample=k, seed=seed, length=30) for k in range(len(whole))] == whole


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_samples_and_seeds_differ_and_repeat(implementation: str) -> None:
    network = build(implementation=implementation)
    by_seed = {seed: write(network, BLOCK_ROWS + 2, seed=seed, length=40) for seed in (0, 1, 2)}
    texts = [text for samples in by_seed.values() for text in samples]
    assert len(set(texts)) == len(texts)
    torch.manual_seed(1)
    np.random.default_rng().random()
    assert write(network, BLOCK_ROWS + 2, seed=0, length=40) == by_seed[0]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_longer_sample_begins_with_the_shorter(implementation: str) -> None:
    network = build(implementation=implementation)
    # Beyond the number of draws that are made ahead.
    long = write_one(network, length=draws.DRAWS_AHEAD + 20)
    assert [len(write_one(network, length=length)) for length in (0, 1, 50)] == [0, 1, 50]
    assert long.startswith(write_one(network, length=50))
    assert len(long) == draws.DRAWS_AHEAD + 20


def test_sampling_leaves_the_global_generators_alone() -> None:
    network = build()
    before = torch.get_rng_state()
    write(network, 3, length=10)
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_never_acts() -> None:
    with_dropout = build_model(ModelSettings(hidden_size=8, num_layers=2, dropout=0.9), len(VOCABULARY), seed=0)
    without = build_model(ModelSettings(hidden_size=8, num_layers=2), len(VOCABULARY), seed=0)
    assert write(with_dropout.train(), 2, length=40) == write(without, 2, length=40)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_greedy_equals_an_argmax_over_the_whole_text_so_far(cell: str, implementation: str) -> None:
    network = build(cell, implementation)
    # The kernels have only float32; there, too, no two of these logits are close to each other.
    network = network if implementation == "native" else network.double()
    ids = PREFIX.tolist()
    for _ in range(25):
        logits, _ = network(torch.tensor(ids)[:, None], network.initial_state(1))
        ids.append(int(logits[-1, 0].argmax()))
    expected = VOCABULARY.decode(ids[len(PREFIX) :])
    greedy = {"filters": Filters(temperature=0.0), "length": 25}
    assert {write_one(network, seed=seed, **greedy) for seed in SEEDS} == {expected}
    assert set(write(network, BLOCK_ROWS + 1, **greedy)) == {expected}


def test_a_sample_equals_a_scalar_inversion_of_its_distributions() -> None:
    network, filters = build().double(), Filters(temperature=0.7, top_k=4)
    for k in (0, 1, BLOCK_ROWS):
        ids, draws = PREFIX.tolist(), np.random.default_rng([3, k]).random(30)
        for draw in draws:
            logits, _ = network(torch.tensor(ids)[:, None], network.initial_state(1))
            remaining, symbol = float(draw), -1
            probabilities = filter_logits(logits[-1, 0].detach().numpy(), filters).tolist()
            while remaining >= 0 and symbol < len(probabilities) - 1:
                symbol += 1
                remaining -= probabilities[symbol]
            ids.append(symbol)
        expected = VOCABULARY.decode(ids[len(PREFIX) :])
        assert write_one(network, sample=k, seed=3, length=30, filters=filters) == expected


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "filters", [Filters(), Filters(temperature=0.5), Filters(temperature=2.0), Filters(top_k=3), Filters(top_p=0.7)]
)
def test_frequencies_match_the_filtered_probabilities(filters: Filters, seed: int) -> None:
    probabilities = [0.05, 0.3, 0.1, 0.02, 0.13, 0.4]
    length = 400
    expected = filter_logits(np.log(probabilities), filters).tolist()
    counts = Counter(
        "".join(write(build_constant(probabilities), BLOCK_ROWS, seed=seed, length=length, filters=filters))
    )
    total = BLOCK_ROWS * length
    kept = [(counts[symbol], share * total) for symbol, share in zip("abcdef", expected, strict=True) if share > 0]
    assert sum(count for count, _ in kept) == total
    chi_square = sum((count - mean) ** 2 / mean for count, mean in kept)
    # 99.9% quantiles of chi-square with 1 to 5 degrees of freedom; seeds are fixed, so this passes or fails for good.
    assert chi_square < [10.83, 13.82, 16.27, 18.47, 20.52][len(kept) - 2]


@pytest.mark.parametrize("temperature", [0.0, 1.0, 100.0])
def test_the_unknown_symbol_is_never_drawn(temperature: float) -> None:
    sure_of_unknown = build_constant([0.01, 0.02, 0.01, 0.01, 0.01, 0.01, 0.93], WITH_UNKNOWN)
    options = {"length": 50, "filters": Filters(temperature=temperature)}
    texts = write(sure_of_unknown, BLOCK_ROWS, WITH_UNKNOWN, **options)
    assert set("".join(texts)) <= set("abcdef")
    assert [len(text) for text in texts] == [50] * BLOCK_ROWS
    if temperature == 0.0:
        assert set("".join(texts)) == {"b"}


def test_without_the_unknown_symbol_the_others_keep_their_proportions() -> None:
    known = [0.1, 0.2, 0.1, 0.3, 0.2, 0.1]
    with_unknown = build_constant([*(share / 10 for share in known), 0.9], WITH_UNKNOWN)
    assert write(with_unknown, 3, WITH_UNKNOWN, length=60) == write(build_constant(known), 3, length=60)


def test_a_long_prefix_is_read_in_chunks_that_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    network, prefix = build().double(), VOCABULARY.encode("abcdeffedcba" * 3)
    whole = "".join(sample_text(network, VOCABULARY, prefix, length=30))
    monkeypatch.setattr(session, "PREFIX_CHARS_AT_ONCE", 5)
    assert "".join(sample_text(network, VOCABULARY, prefix, length=30)) == whole
    # Had the state been lost between chunks, only the last of 36 characters would count.
    assert "".join(sample_text(network, VOCABULARY, prefix[-1:], length=30)) != whole


def test_an_empty_prefix_is_an_error_that_says_so() -> None:
    with pytest.raises(TextError, match="prefix is empty"):
        next(iter(sample_text(build(), VOCABULARY, PREFIX[:0])))
    with pytest.raises(TextError, match="prefix is empty"):
        list(sample_texts(build(), VOCABULARY, PREFIX[:0], num_samples=1))


def test_a_sample_without_end_is_drawn_one_character_at_a_time() -> None:
    network = build()
    endless = sample_text(network, VOCABULARY, PREFIX, length=10**12)
    assert "".join(islice(endless, 40)) == write_one(network, length=40)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_memory_does_not_grow_with_the_length(implementation: str) -> None:
    network = build(implementation=implementation)
    characters = sample_text(network, VOCABULARY, PREFIX, length=10**12, stops=["never", "x" * 20])
    # Twice the draws made ahead: whatever is allocated once has been.
    _advance(characters, 2 * draws.DRAWS_AHEAD)
    tracemalloc.start()
    try:
        _advance(characters, draws.DRAWS_AHEAD)
        sizes = [tracemalloc.get_traced_memory()[0]]
        for _ in range(3):
            _advance(characters, draws.DRAWS_AHEAD)
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    # Keeping as little as one pointer for each of 1,024 characters would take 8 KiB, each time; what another thread
    # takes, it takes once.
    assert min(later - earlier for earlier, later in pairwise(sizes)) < 4096


def _advance(characters: Iterator[str], number: int) -> None:
    for _ in islice(characters, number):
        pass


def simple_stop(text: str, stops: Sequence[str]) -> str:
    """Return the text before the stop that is whole first, the longest of those that end there."""
    ends = [(text.find(stop) + len(stop), -len(stop)) for stop in stops if stop in text]
    end, minus_length = min(ends, default=(len(text), 0))
    return text[: end + minus_length]


texts = st.text(alphabet="ab", max_size=30)
stop_lists = st.lists(st.text(alphabet="ab", min_size=1, max_size=6), max_size=4)


@settings(deadline=None)
@given(text=texts, stops=stop_lists)
@example(text="aab", stops=["ab"])
@example(text="abab", stops=["abb", "bab"])
@example(text="aaab", stops=["aab", "ab", "b"])
@example(text="ab", stops=["abab"])
@example(text="", stops=["a"])
def test_stop_before_equals_a_search_in_the_whole_text(text: str, stops: list[str]) -> None:
    assert "".join(stop_before(text, stops)) == simple_stop(text, stops)


@given(text=texts, stop=st.text(alphabet="ab", min_size=1, max_size=6))
def test_one_stop_equals_str_find(text: str, stop: str) -> None:
    place = text.find(stop)
    assert "".join(stop_before(text, [stop])) == (text if place < 0 else text[:place])


@given(text=texts, stops=stop_lists)
def test_nothing_is_read_beyond_a_stop(text: str, stops: list[str]) -> None:
    characters = iter(text)
    list(stop_before(characters, stops))
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    assert "".join(characters) == text[min(ends, default=len(text)) :]


@given(text=texts, stops=stop_lists)
def test_no_more_is_held_back_than_a_stop_could_need(text: str, stops: list[str]) -> None:
    num_read = 0

    def reading() -> Iterator[str]:
        nonlocal num_read
        for character in text:
            num_read += 1
            yield character

    longest = max(map(len, stops), default=1)
    for num_written, _ in enumerate(stop_before(reading(), stops), start=1):
        assert num_read - num_written < longest or num_read == len(text) or any(stop in text for stop in stops)


@pytest.mark.parametrize("start", [0, 1, 7, 26])
@pytest.mark.parametrize("length", [1, 2, 4])
def test_a_sample_ends_before_a_stop_at_any_place(start: int, length: int) -> None:
    network = build()
    for k, text in enumerate(write(network, BLOCK_ROWS + 1, length=30)):
        stops = [text[start : start + length]]
        expected = text[: text.find(stops[0])]
        assert write(network, k + 1, length=30, stops=stops)[k] == expected
        assert write_one(network, sample=k, length=30, stops=stops) == expected


def test_a_stop_of_one_sample_does_not_end_the_others() -> None:
    network = build()
    whole = write(network, BLOCK_ROWS, length=30)
    stop = whole[0][3:9]
    stopped = write(network, BLOCK_ROWS, length=30, stops=[stop])
    assert stopped == [simple_stop(text, [stop]) for text in whole]
    assert stopped[1:] != [""] * (BLOCK_ROWS - 1)
