"""Read character by character, an n-gram model predicts what it predicts of whole texts."""

from __future__ import annotations

import numpy as np
import pytest

from charlm.evaluation.ngrams import count_ngrams, ngram_distributions
from charlm.mixtures.ngram_predictor import NgramPredictor

BOUNDARIES = [None, 0]


def draw(length: int, vocab_size: int, seed: int) -> np.ndarray:
    """Return a text in which the character 0, which may be a boundary, is not rare."""
    shares = 1 / np.arange(1, vocab_size + 1)
    return np.random.default_rng(seed).choice(vocab_size, length, p=shares / shares.sum()).astype(np.uint32)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(("vocab_size", "order"), [(2, 12), (5, 4), (30, 12), (300, 3), (9, 1)])
def test_probabilities_are_those_of_whole_texts(vocab_size: int, order: int, boundary: int | None) -> None:
    train, text = draw(600, vocab_size, 0), draw(300, vocab_size, 1)
    counts = count_ngrams(train, vocab_size, order, boundary=boundary)
    expected = np.concatenate(list(ngram_distributions(counts.model(order), text, vocab_size, boundary=boundary)))
    predictor = NgramPredictor(counts, order)
    found, _ = predictor.predict(text[:-1, None], predictor.initial_state(1))
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-6)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_single_steps_pieces_and_texts_side_by_side_give_the_same_bits(boundary: int | None) -> None:
    counts = count_ngrams(draw(3_000, 12, 0), 12, 7, boundary=boundary)
    predictor, texts = NgramPredictor(counts, 7), np.stack([draw(90, 12, seed) for seed in (1, 2, 3)], 1)
    whole, states = predictor.predict(texts, predictor.initial_state(3))
    for column in range(3):
        for size in (1, 2, 7, 64):
            state = predictor.initial_state(1)
            for start in range(0, 90, size):
                piece = texts[start : start + size, column : column + 1]
                found, after = predictor.predict(piece, state)
                state = after[:, -1]
                np.testing.assert_array_equal(found[:, 0], whole[start : start + size, column])
            np.testing.assert_array_equal(state[:, 0], states[:, -1, column])


def test_the_length_of_the_known_context_is_that_of_the_longest_end_that_the_text_has() -> None:
    train, text = draw(400, 4, 0), draw(200, 4, 1)
    predictor = NgramPredictor(count_ngrams(train, 4, 6), 6)
    _, states = predictor.predict(text[:, None], predictor.initial_state(1))
    # The end of the training text is no context: nothing follows it.
    known = {tuple(train[at : at + n].tolist()) for n in range(1, 6) for at in range(len(train) - n + 1)}
    for end, found in enumerate(predictor.lengths(states)[:, 0].tolist(), 1):
        ends = (tuple(text[end - n : end].tolist()) for n in range(1, min(5, end) + 1))
        assert found == sum(gram in known for gram in ends)
