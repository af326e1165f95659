"""The random numbers of samples, and the characters that they choose.

Sample k of a seed has its own sequence of uniform numbers, one for each character that is drawn. Any part of it can be
had at any time, so that a text continues with the numbers that it would have had in one go.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np
import numpy.typing as npt

from charlm.generation.filters import Filters, filter_logits
from charlm.networks.predictor import Floats
from charlm.text.vocabulary import Vocabulary

DRAWS_AHEAD = 256
Draws = npt.NDArray[np.float64]


def uniform_numbers(seed: int, samples: range, start: int, number: int) -> Draws:
    """Return uniform random numbers in [0, 1), (number, samples).

    Args:
        seed: the random seed.
        samples: the numbers of the samples.
        start: how many numbers of each sequence come before these.
        number: how many there are of each.
    """
    return np.stack([_generator(seed, sample, start).random(number) for sample in samples], axis=1)


def uniform_draws(seed: int, samples: range, *, start: int = 0) -> Iterator[Draws]:
    """Yield the same numbers one by one, (samples,), without end."""
    for place in count(start, DRAWS_AHEAD):
        yield from uniform_numbers(seed, samples, place, DRAWS_AHEAD)


def draw_ids(logits: Floats, draws: Draws, vocabulary: Vocabulary, filters: Filters) -> npt.NDArray[np.int64]:
    """Invert each row's cumulative distribution at its draw; the unknown symbol is never chosen."""
    cumulative = filter_logits(logits[:, : len(vocabulary.characters)], filters).cumsum(-1)
    below = cumulative <= draws[:, None] * cumulative[:, -1:]
    return np.minimum(below.sum(axis=1), len(vocabulary.characters) - 1)


def _generator(seed: int, sample: int, start: int) -> np.random.Generator:
    bits = np.random.PCG64([seed, sample])
    # Each uniform number takes one step of this generator.
    return np.random.Generator(bits.advance(start))
