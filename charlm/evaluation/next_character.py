"""Rank the characters that a model expects after a text or, for a backward model, before it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from charlm.evaluation.windows import BITS_PER_NAT, next_costs
from charlm.networks.costs import Costs, costs_after
from charlm.networks.predictor import Floats, Predictor
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


def rank_next(predictor: Predictor, ids: Ids, vocabulary: Vocabulary, *, top: int) -> list[NextCharacter]:
    """Return the characters likeliest to follow a text, likeliest first; of equals, the lower code point comes first.

    Args:
        predictor: the model.
        ids: the text in the model's reading order, (N,), at least one character.
        vocabulary: the model's vocabulary.
        top: how many characters to return, at most all that the model knows.
    Raises:
        DivergedError: if a probability is not a number.
    """
    return _ranked(next_costs(predictor, ids), vocabulary, top)


def rank_logits(logits: Floats, vocabulary: Vocabulary, *, top: int) -> list[NextCharacter]:
    """Return what `rank_next` returns, from the logits after a text, (V,)."""
    return _ranked(costs_after(logits), vocabulary, top)


def _ranked(nats: Costs, vocabulary: Vocabulary, top: int) -> list[NextCharacter]:
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
