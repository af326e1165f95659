"""The interval is honest: it covers the mean of texts in which the costs of neighbours are correlated."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charlm.evaluation.intervals import BLOCK_CHARS, NUM_RESAMPLES, BlockSums

Costs = npt.NDArray[np.float64]
MEAN = 1.5


def interval_of(costs: Costs, block_chars: int = BLOCK_CHARS, *, seed: int = 0) -> tuple[float, float]:
    blocks = BlockSums(block_chars)
    blocks.add(costs)
    interval = blocks.interval(seed=seed)
    assert interval is not None
    return interval


def draw_texts(num_texts: int, length: int, *, correlation: float, seed: int) -> Costs:
    """Return costs, (texts, length), of mean 1.5 and variance 1, each like the one before it."""
    noise = np.random.default_rng(seed).standard_normal((length, num_texts))
    costs = np.empty((length, num_texts))
    costs[0] = noise[0]
    for at in range(1, length):
        costs[at] = correlation * costs[at - 1] + np.sqrt(1 - correlation**2) * noise[at]
    return MEAN + costs.T


def share_covered(texts: Costs, block_chars: int) -> float:
    intervals = [interval_of(text, block_chars) for text in texts]
    return float(np.mean([low <= MEAN <= high for low, high in intervals]))


@pytest.mark.parametrize(
    ("num_texts", "low", "high"), [(40, 0.85, 0.985), pytest.param(200, 0.89, 0.985, marks=pytest.mark.slow)]
)
def test_the_interval_covers_the_true_mean_of_about_95_in_100_texts(num_texts: int, low: float, high: float) -> None:
    texts = draw_texts(num_texts, 40 * BLOCK_CHARS, correlation=0.9, seed=0)
    # Of 40 blocks the percentile bootstrap covers about 94 %; the share of 200 texts has a standard deviation of 1.7 %,
    # and that of 40 texts one of 3.8 %.
    assert low <= share_covered(texts, BLOCK_CHARS) <= high


def test_resampling_single_characters_would_promise_too_much() -> None:
    texts = draw_texts(20, 800, correlation=0.9, seed=0)
    # The mean's standard deviation is sqrt(19) times what single characters suggest, so a third would be covered.
    assert share_covered(texts, 1) < 0.65


def test_an_interval_equals_a_plain_bootstrap_of_whole_blocks() -> None:
    costs = draw_texts(1, 23 * BLOCK_CHARS + 100, correlation=0.5, seed=3)[0]
    blocks = [costs[start : start + BLOCK_CHARS] for start in range(0, len(costs), BLOCK_CHARS)]
    generator, means = np.random.default_rng(5), []
    for _ in range(NUM_RESAMPLES):
        chosen = np.concatenate([blocks[number] for number in generator.integers(len(blocks), size=len(blocks))])
        means.append(chosen.mean())
    expected = np.quantile(means, [0.025, 0.975])
    assert interval_of(costs, seed=5) == pytest.approx(tuple(expected), rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 700), max_size=30), st.sampled_from([1, 7, 64, BLOCK_CHARS]))
def test_the_sums_are_the_same_in_any_chunks(sizes: list[int], block_chars: int) -> None:
    # Whole numbers, whose sums are exact in any order.
    costs = np.random.default_rng(0).integers(0, 50, size=4_000).astype(np.float64)
    whole, chunked = BlockSums(block_chars), BlockSums(block_chars)
    whole.add(costs)
    for chunk in np.split(costs, np.minimum(np.cumsum(sizes, dtype=np.int64), len(costs))):
        chunked.add(chunk)
    starts = range(0, len(costs), block_chars)
    assert chunked._sums == whole._sums == [costs[start : start + block_chars].sum() for start in starts]
    assert chunked._sizes == whole._sizes == [len(costs[start : start + block_chars]) for start in starts]


def test_float32_costs_are_summed_in_float64() -> None:
    costs = np.full(20 * BLOCK_CHARS, 0.1, np.float32)
    assert interval_of(costs) == pytest.approx((np.float64(np.float32(0.1)),) * 2, rel=1e-12)


def test_the_interval_is_the_same_each_time_and_another_for_another_seed() -> None:
    costs = draw_texts(1, 30 * BLOCK_CHARS, correlation=0.5, seed=0)[0]
    assert interval_of(costs) == interval_of(costs)
    assert interval_of(costs, seed=1) != interval_of(costs)
    assert interval_of(costs, seed=1) == pytest.approx(interval_of(costs), abs=0.01)


def test_a_text_sixteen_times_as_long_has_an_interval_a_quarter_as_wide() -> None:
    costs = draw_texts(1, 16 * 40 * 64, correlation=0.5, seed=0)[0]
    (low, high), (short_low, short_high) = interval_of(costs, 64), interval_of(costs[: 40 * 64], 64)
    # The short text's 40 blocks determine its standard deviation to 11 %.
    assert (short_high - short_low) / (high - low) == pytest.approx(4, rel=0.4)
    assert low < costs.mean() < high


def test_a_last_short_block_weighs_as_much_as_it_has_characters() -> None:
    # Were it weighed as a whole block, its resamples would lie far beyond.
    costs = np.concatenate([np.zeros(50 * BLOCK_CHARS), [100.0]])
    low, high = interval_of(costs)
    assert (low, high) == (0, pytest.approx(300 / (48 * BLOCK_CHARS + 3), rel=0.05))


@pytest.mark.parametrize("length", [0, 1, BLOCK_CHARS, 9 * BLOCK_CHARS])
def test_fewer_than_ten_blocks_have_no_interval(length: int) -> None:
    blocks = BlockSums()
    blocks.add(np.ones(length))
    assert blocks.interval() is None
    blocks.add(np.ones(9 * BLOCK_CHARS + 1 - length))
    assert blocks.interval() == (1, 1)
