"""From logits to probabilities, compared with sums over plain lists."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from charlm.errors import ConfigError
from charlm.generation.filters import PLAIN, Filters, filter_logits

# Distinct by at least an eighth, so that no order is a matter of rounding.
distinct_logits = st.lists(st.integers(-80, 80), min_size=1, max_size=20, unique=True).map(
    lambda values: [value / 8 for value in values]
)
temperatures = st.floats(0.1, 4.0)
# The first call of a torch kernel may take longer than any deadline.
relaxed = settings(deadline=None)
CLOSE = {"rtol": 1e-9, "atol": 1e-12}
# How near to its edge a cut may stand before rounding decides.
EDGE = 1e-9


def filtered(logits: list[float], **filters: Any) -> list[float]:
    return filter_logits(np.array(logits), Filters(**filters)).tolist()


def softmax(logits: list[float], temperature: float) -> list[float]:
    weights = [math.exp((logit - max(logits)) / temperature) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def normalised(probabilities: list[float]) -> list[float]:
    return [probability / sum(probabilities) for probability in probabilities]


def scalar_top_k(probabilities: list[float], k: int) -> list[float]:
    """Keep the k largest."""
    kept = sorted(range(len(probabilities)), key=lambda index: -probabilities[index])[:k]
    return normalised([value if index in kept else 0.0 for index, value in enumerate(probabilities)])


def scalar_top_p(probabilities: list[float], p: float) -> list[float]:
    """Add the largest one by one, until they have p together."""
    kept: list[int] = []
    total = 0.0
    for index in sorted(range(len(probabilities)), key=lambda index: -probabilities[index]):
        if kept:
            assume(abs(total - p) > EDGE)
        if kept and total >= p:
            break
        kept.append(index)
        total += probabilities[index]
    return normalised([value if index in kept else 0.0 for index, value in enumerate(probabilities)])


def scalar_min_p(probabilities: list[float], p: float) -> list[float]:
    """Keep those with at least p times the largest."""
    largest = max(probabilities)
    assume(all(value == largest or abs(value / largest - p) > EDGE for value in probabilities))
    return normalised([value if value == largest or value >= p * largest else 0.0 for value in probabilities])


def assert_same(found: list[float], expected: list[float]) -> None:
    assert_close(torch.tensor(found, dtype=torch.float64), torch.tensor(expected, dtype=torch.float64), **CLOSE)


@relaxed
@given(logits=distinct_logits, temperature=temperatures)
def test_temperature_divides_the_logits(logits: list[float], temperature: float) -> None:
    assert_same(filtered(logits, temperature=temperature), softmax(logits, temperature))


@relaxed
@given(logits=distinct_logits, temperature=temperatures, k=st.integers(1, 25))
def test_top_k_equals_a_scalar_version(logits: list[float], temperature: float, k: int) -> None:
    found = filtered(logits, temperature=temperature, top_k=k)
    assert_same(found, scalar_top_k(softmax(logits, temperature), k))
    assert sum(value > 0 for value in found) == min(k, len(logits))


@relaxed
@given(logits=distinct_logits, temperature=temperatures, p=st.floats(0.01, 1.0))
def test_top_p_equals_a_scalar_version(logits: list[float], temperature: float, p: float) -> None:
    assert_same(filtered(logits, temperature=temperature, top_p=p), scalar_top_p(softmax(logits, temperature), p))


@relaxed
@given(logits=distinct_logits, temperature=temperatures, p=st.floats(0.0, 1.0))
def test_min_p_equals_a_scalar_version(logits: list[float], temperature: float, p: float) -> None:
    assert_same(filtered(logits, temperature=temperature, min_p=p), scalar_min_p(softmax(logits, temperature), p))


@relaxed
@given(
    logits=distinct_logits,
    temperature=temperatures,
    k=st.integers(1, 25),
    top_p=st.floats(0.01, 1.0),
    min_p=st.floats(0.0, 1.0),
)
def test_filters_apply_in_the_documented_order(
    logits: list[float], temperature: float, k: int, top_p: float, min_p: float
) -> None:
    expected = scalar_min_p(scalar_top_p(scalar_top_k(softmax(logits, temperature), k), top_p), min_p)
    assert_same(filtered(logits, temperature=temperature, top_k=k, top_p=top_p, min_p=min_p), expected)


def test_top_p_is_a_share_of_what_top_k_left() -> None:
    logits = [math.log(share) for share in (0.1, 0.4, 0.2, 0.3)]
    # Of 0.4 and 0.3 the first has 4/7, which is 0.55 and more; of all four it would need the second.
    assert filtered(logits, top_k=2, top_p=0.55) == [0.0, 1.0, 0.0, 0.0]
    assert filtered(logits, top_p=0.55) == pytest.approx([0.0, 4 / 7, 0.0, 3 / 7], rel=1e-12)


any_filters = st.builds(
    Filters,
    temperature=st.floats(0.0, 1e3),
    top_k=st.none() | st.integers(1, 30),
    top_p=st.none() | st.floats(0.0, 1.0, exclude_min=True),
    min_p=st.none() | st.floats(0.0, 1.0),
)


@relaxed
@given(logits=st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=8), filters=any_filters)
def test_probabilities_sum_to_1_with_ties_and_extremes(logits: list[float], filters: Filters) -> None:
    found = filter_logits(np.array(logits), filters).tolist()
    assert min(found) >= 0
    assert math.fsum(found) == pytest.approx(1.0, abs=1e-12)


@relaxed
@given(rows=st.permutations([value / 4 for value in range(-10, 10)]), filters=any_filters)
def test_each_row_is_filtered_alone(rows: list[float], filters: Filters) -> None:
    logits = np.array(rows).reshape(4, 5)
    alone = np.stack([filter_logits(row, filters) for row in logits])
    assert_close(filter_logits(logits, filters), alone, rtol=1e-12, atol=1e-15)


@relaxed
@given(logits=distinct_logits, filters=any_filters)
def test_the_likeliest_character_always_stays_likeliest(logits: list[float], filters: Filters) -> None:
    found = filter_logits(np.array(logits), filters)
    assert found[logits.index(max(logits))] == found.max()


@relaxed
@given(logits=distinct_logits, filters=any_filters)
def test_temperature_0_leaves_only_the_likeliest(logits: list[float], filters: Filters) -> None:
    greedy = Filters(temperature=0.0, top_k=filters.top_k, top_p=filters.top_p, min_p=filters.min_p)
    expected = [float(logit == max(logits)) for logit in logits]
    assert filter_logits(np.array(logits), greedy).tolist() == expected


@pytest.mark.parametrize("temperature", [1e-3, 1e-30, 1e-300, 5e-324])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_tiny_temperature_is_greedy_and_not_an_overflow(temperature: float, dtype: type) -> None:
    logits = np.array([3.0, -1e4, 1e4, 9.9e3], dtype=dtype)
    assert filter_logits(logits, Filters(temperature=temperature)).tolist() == [0.0, 0.0, 1.0, 0.0]


@pytest.mark.parametrize("temperature", [1e3, 1e300])
def test_a_huge_temperature_is_uniform(temperature: float) -> None:
    assert filtered([1.0, 0.0, -1.0, 2.0], temperature=temperature) == pytest.approx([0.25] * 4, abs=1e-3)


@relaxed
@given(logits=distinct_logits)
def test_a_lower_temperature_makes_the_likeliest_likelier(logits: list[float]) -> None:
    best = [max(filtered(logits, temperature=temperature)) for temperature in (2.0, 1.0, 0.5, 0.1)]
    assert all(later >= earlier - 1e-12 for earlier, later in pairwise(best))


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_equal_logits_leave_exactly_k(k: int) -> None:
    assert sorted(filtered([0.0] * 5, top_k=k), reverse=True) == pytest.approx([1 / k] * k + [0.0] * (5 - k))


@pytest.mark.parametrize(("p", "num_kept"), [(1e-9, 1), (0.25, 1), (0.26, 2), (0.5, 2), (0.75, 3), (0.76, 4), (1.0, 4)])
def test_top_p_keeps_the_smallest_set_that_has_p(p: float, num_kept: int) -> None:
    # Quarters add up without rounding: the edge itself is tested.
    found = filtered([0.0] * 4, top_p=p)
    assert found == [1 / num_kept] * num_kept + [0.0] * (4 - num_kept)


def test_min_p_keeps_ties_with_the_likeliest() -> None:
    assert filtered([1.0, 1.0, 0.0], min_p=1.0) == [0.5, 0.5, 0.0]


@relaxed
@given(logits=distinct_logits)
def test_plain_filters_are_the_softmax(logits: list[float]) -> None:
    found = filter_logits(np.array(logits), PLAIN)
    assert_close(found, torch.softmax(torch.tensor(logits, dtype=torch.float64), -1).numpy(), rtol=1e-14, atol=0)


def test_probabilities_are_float64_whatever_the_logits_are() -> None:
    assert filter_logits(np.zeros((2, 3), np.float32), PLAIN).dtype == np.float64


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"temperature": -0.1}, "temperature must be 0 or more, got -0.1"),
        ({"temperature": math.nan}, "temperature must be 0 or more, got nan"),
        ({"temperature": math.inf}, "temperature must be 0 or more, got inf"),
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"top_k": -3}, "top_k must be at least 1, got -3"),
        ({"top_p": 0.0}, "top_p must be in (0, 1], got 0.0"),
        ({"top_p": 1.1}, "top_p must be in (0, 1], got 1.1"),
        ({"top_p": math.nan}, "top_p must be in (0, 1], got nan"),
        ({"min_p": -0.1}, "min_p must be in [0, 1], got -0.1"),
        ({"min_p": 1.1}, "min_p must be in [0, 1], got 1.1"),
        ({"min_p": math.nan}, "min_p must be in [0, 1], got nan"),
    ],
)
def test_a_value_out_of_range_is_named(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Filters(**wrong)
    assert str(raised.value) == sentence


def test_every_wrong_value_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        Filters(temperature=-1.0, top_k=0, top_p=2.0, min_p=-1.0)
    assert [line.split()[0] for line in str(raised.value).split("\n")] == ["temperature", "top_k", "top_p", "min_p"]


@pytest.mark.parametrize("edge", [{"temperature": 0.0}, {"top_k": 1}, {"top_p": 1.0}, {"min_p": 0.0}, {"min_p": 1.0}])
def test_the_ends_of_a_range_are_in_it(edge: dict[str, Any]) -> None:
    assert sum(filtered([0.0, 1.0, 2.0], **edge)) == pytest.approx(1.0, abs=1e-15)
