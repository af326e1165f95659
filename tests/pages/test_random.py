"""The page draws the random numbers that `charlm generate` draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pairs import by_pairs

from charlm.generation.draws import uniform_numbers

SEEDS = (0, 1, 7, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 10**18 + 9)


@pytest.mark.parametrize(
    "entropy", [[0], [0, 0], [1, 2], [2**32, 5], [2**63 - 1, 3], [1, 2, 3, 4], [2**200 + 7, 2**64]]
)
def test_seed_words_are_those_of_numpy(engine: Callable[..., Any], entropy: list[int]) -> None:
    words = engine("(t, entropy) => Array.from(t.seedWords(entropy.map(BigInt), 8))", list(map(str, entropy)))
    assert words == np.random.SeedSequence(entropy).generate_state(8).tolist()


@pytest.mark.parametrize(("seed", "sample", "start"), by_pairs(SEEDS, (0, 1, 63), (0, 1, 2, 255, 100_000)))
def test_uniform_numbers_are_those_of_a_sample(engine: Callable[..., Any], seed: int, sample: int, start: int) -> None:
    code = """(t, [seed, sample, start]) => {
        const numbers = new t.UniformNumbers(BigInt(seed), sample, start);
        return Array.from({ length: 20 }, () => numbers.next());
    }"""
    found = engine(code, [str(seed), sample, start])
    assert found == uniform_numbers(seed, range(sample, sample + 1), start, 20)[:, 0].tolist()
