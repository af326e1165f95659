"""Mixtures of small networks with random weights, and of n-grams of a random text."""

from __future__ import annotations

import numpy as np
import torch
from predicting import predictor as predictor_of_network

from charlm.evaluation.ngrams import count_ngrams
from charlm.mixtures.mixture import Experts
from charlm.mixtures.ngram_predictor import NgramPredictor
from charlm.networks.building import build_model
from charlm.networks.predictor import Predictor
from charlm.settings.loading import load_settings
from charlm.text.vocabulary import Vocabulary

SYMBOLS = "abcdefgh .\n"
V = len(SYMBOLS)
VOCABULARY = Vocabulary(SYMBOLS)


def network(*overrides: str, seed: int = 0) -> Predictor:
    """Return what predicts with a network of random weights, large enough to have opinions."""
    settings = load_settings(overrides=["model.hidden_size=12", *overrides])
    made = build_model(settings.model, V, seed=seed)
    with torch.no_grad():
        for weight in made.parameters():
            weight *= 3
    return predictor_of_network(made, VOCABULARY)


def draw(length: int, rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, V, (length, rows))


def experts(*networks: Predictor, order: int | None = 5) -> Experts:
    text = draw(2_000, 1, 9)[:, 0].astype(np.uint32)
    return Experts(networks, None if order is None else NgramPredictor(count_ngrams(text, V, order), order), V)


def weights_of(members: Experts, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 1.5, (members.num_lengths, len(members)))
