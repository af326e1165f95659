"""Rank the characters that a model expects after a text or, for a backward model, before it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from charlm.errors import DivergedError
from charlm.evaluation.characters import BITS_PER_NAT
from charlm.evaluation.reading import CHUNK_CHARS, evaluating
from charlm.networks.inputs import as_tensor
from charlm.networks.language_model import CharLM
from charlm.text.vocabulary import Ids, Vocabulary


@dataclass(frozen=True)
class NextCharacter:
    """A character that may come next.

    Args:
        rank: 1 for the likeliest.
        character: the character; the unknown symbol is shown as U+FFFD.
        probability: its probability given the whole text.
        bits: what it would cost, -log2 of the probability.
        is_unknown: whether it is the unknown symbol, which represents all characters without their own symbol.
    """

    rank: int
    character: str
    probability: float
    bits: float
    is_unknown: bool = False

    def as_record(self) -> dict[str, object]:
        """Return the fields as JSON values."""
        return dict(vars(self))


def rank_next(network: CharLM, ids: Ids, vocabulary: Vocabulary, *, top: int) -> list[NextCharacter]:
    """Return the characters likeliest to follow a text, likeliest first; of equals, the lower code point comes first.

    Args:
        network: the model; its training mode is restored afterwards.
        ids: the text in the model's reading order, (N,), at least one character.
        vocabulary: the model's vocabulary.
        top: how many characters to return, at most all that the model knows.
        Raises:
            DivergedError: if a probability is not a number.
    """
    assert len(ids) > 0
    with evaluating(network):
        logits = _last_logits(network, ids).double()  # (V,)
        log_probabilities = logits.log_softmax(dim=0).cpu()  # (V,)
    if not torch.isfinite(log_probabilities).all():
        raise DivergedError("the model gives a character a probability that is not a number: its training has diverged")
    # abs: a certain character costs 0.0, not -0.0.
    nats = log_probabilities.abs().numpy()
    return [
        NextCharacter(
            rank,
            vocabulary.decode([symbol]),
            probability=math.exp(-nats[symbol]),
            bits=float(nats[symbol]) * BITS_PER_NAT,
            is_unknown=symbol == len(vocabulary.characters),
        )
        for rank, symbol in enumerate(np.argsort(nats, kind="stable")[:top].tolist(), 1)
    ]


def _last_logits(network: CharLM, ids: Ids) -> Tensor:
    """Return the logits after the last character, (V,), using memory for one chunk only."""
    state = network.initial_state(1)
    hidden = None
    for start in range(0, len(ids), CHUNK_CHARS):
        hidden, state = network.read(as_tensor(ids[start : start + CHUNK_CHARS, None], network), state)  # (T, 1, H)
    assert hidden is not None
    return network.decode(hidden[-1:])[0, 0]
