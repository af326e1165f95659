"""Write texts with torch networks: each becomes the predictor that the library would choose for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from charlm.generation import sampling
from charlm.networks.building import Network
from charlm.networks.predictor import Predictor
from charlm.networks.torch_predictor import predictor_of
from charlm.text.vocabulary import Ids, Vocabulary

# The cells that the kernels have.
CELLS: dict[str, dict[str, Any]] = {
    "rnn tanh": {"cell": "rnn"},
    "rnn relu": {"cell": "rnn", "activation": "relu"},
    "gru": {"cell": "gru"},
    "gru before": {"cell": "gru", "reset_after": False},
    "lstm": {"cell": "lstm"},
}


def predictor(network: Network, vocabulary: Vocabulary) -> Predictor:
    """Return the fastest predictor for a network."""
    return predictor_of(network, len(vocabulary.characters))


def sample_text(network: Network, vocabulary: Vocabulary, prefix: Ids, **options: Any) -> Iterator[str]:
    """Do what the function of `charlm.generation.sampling` does with a network."""
    return sampling.sample_text(predictor(network, vocabulary), vocabulary, prefix, **options)


def sample_texts(network: Network, vocabulary: Vocabulary, prefix: Ids, **options: Any) -> Iterator[str]:
    """Do what the function of `charlm.generation.sampling` does with a network."""
    return sampling.sample_texts(predictor(network, vocabulary), vocabulary, prefix, **options)
