"""The page filters and draws as filters.py and draws.py do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pairs import by_pairs

from charlm.generation.draws import draw_ids
from charlm.generation.filters import Filters, filter_logits
from charlm.text.vocabulary import Vocabulary

CASES = by_pairs((0.0, 0.05, 0.8, 1.0, 2.0), (None, 1, 5, 400), (None, 0.5, 1.0), (None, 0.0, 0.1, 1.0))


def made_logits(number: int, size: int = 30) -> np.ndarray:
    """Return rows of logits with many equals among them, which only a stable order keeps apart."""
    return np.random.default_rng(0).integers(-8, 8, (number, size)).astype(np.float32) / 2


@pytest.mark.parametrize(("temperature", "top_k", "top_p", "min_p"), CASES)
def test_filters_and_draws_are_those_of_the_command(
    engine: Callable[..., Any], temperature: float, top_k: int | None, top_p: float | None, min_p: float | None
) -> None:
    logits, draws = made_logits(40), np.random.default_rng(1).random(40)
    filters = Filters(temperature, top_k, top_p, min_p)
    code = """(t, [rows, draws, filters]) => rows.map((row, at) => {
        const probabilities = t.filterLogits(Float64Array.from(row), filters);
        return { probabilities: Array.from(probabilities), id: t.drawId(probabilities, draws[at]) };
    })"""
    named = {"temperature": temperature, "topK": top_k, "topP": top_p, "minP": min_p}
    found = engine(code, [logits.tolist(), draws.tolist(), named])
    expected = filter_logits(logits, filters)
    # Where the nucleus is everything, the last bit of a sum decides whether it has what is less likely than that.
    np.testing.assert_allclose([each["probabilities"] for each in found], expected, rtol=1e-13, atol=1e-15)
    vocabulary = Vocabulary("".join(chr(0x100 + at) for at in range(30)))
    assert [each["id"] for each in found] == draw_ids(logits, draws, vocabulary, filters).tolist()


def test_of_equals_the_first_is_the_likeliest(engine: Callable[..., Any]) -> None:
    for row in made_logits(40):
        found = engine("(t, row) => t.likeliestIds(Float64Array.from(row), 5)", row.tolist())
        assert found == np.argsort(-row, kind="stable")[:5].tolist()
