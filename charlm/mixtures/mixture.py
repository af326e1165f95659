"""Networks and an n-gram model as one predictor: their probabilities are multiplied, each to the power of its weight.

This is log-linear interpolation (Klakow 1998), also known as a product of experts (Hinton 2002): the logits are
weighted sums of the members' logits, so that the probabilities sum to 1 like those of any network. The weights depend
on one thing, the length of the longest context that the n-grams know: where the training text has had the last eleven
characters, counts deserve more weight than where it has had only two of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.mixtures.ngram_predictor import NgramPredictor
from charlm.networks.predictor import Floats, IdArray, Predictor

Weights = npt.NDArray[np.float64]
Logits = npt.NDArray[np.float64]
AnyLogits = npt.NDArray[np.float32] | Logits
Lengths = npt.NDArray[np.int64]
MixtureState = tuple[Any, ...]


class Experts:
    """The members of a mixture: networks and, last, an n-gram model if there is one.

    Args:
        networks: what predicts with each network.
        ngrams: the n-gram model; None for networks alone.
        vocab_size: V.

    Attributes:
        is_batch_invariant: whether every member is; see `Predictor`.
    """

    def __init__(self, networks: Sequence[Predictor], ngrams: NgramPredictor | None, vocab_size: int) -> None:
        self.networks, self.ngrams, self.vocab_size = networks, ngrams, vocab_size
        self.is_batch_invariant = all(each.is_batch_invariant for each in networks)
        # How many parts each network's state has.
        self._sizes = [len(each.initial_state(1)) for each in networks]

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self.networks) + (self.ngrams is not None)

    @property
    def num_lengths(self) -> int:
        """How many lengths a known context can have, 0 included; 1 without n-grams."""
        return max(self.ngrams.order, 1) if self.ngrams else 1

    def initial_state(self, num_texts: int) -> MixtureState:
        """Return the state before any character: the parts of all members' states, one after another."""
        parts = (part for network in self.networks for part in network.initial_state(num_texts))
        return (*parts, self.ngrams.initial_state(num_texts)[..., None]) if self.ngrams else tuple(parts)

    def predict(self, ids: IdArray, state: MixtureState) -> tuple[list[Logits], Lengths, MixtureState]:
        """Read characters.

        Args:
            ids: (T, B), at least one character.
            state: the state before them.
        Returns:
            The logits of each member after each character, each (T, B, V); how long the longest known context is then,
            (T, B); and the state after the last character.
        """
        logits: list[Logits] = []
        after: list[Any] = []
        rest = state
        for network, size in zip(self.networks, self._sizes, strict=True):
            found, advanced = network.predict(ids, rest[:size])
            logits.append(found.astype(np.float64))
            after += advanced
            rest = rest[size:]
        lengths = np.zeros(ids.shape, np.int64)
        if self.ngrams:
            probabilities, states = self.ngrams.predict(ids, rest[0][..., 0])
            logits.append(np.log(probabilities))
            lengths = self.ngrams.lengths(states)
            after.append(states[:, -1, :, None])
        return logits, lengths, tuple(after)


class Mixture:
    """Predict each character from the weighted predictions of some experts.

    Args:
        experts: the members.
        weights: the members' weights for each length of the longest known context, (lengths, members).

    Attributes:
        is_batch_invariant: as that of the experts.
    """

    def __init__(self, experts: Experts, weights: Weights) -> None:
        self.experts, self.weights = experts, weights
        self.is_batch_invariant = experts.is_batch_invariant

    def initial_state(self, num_texts: int) -> MixtureState:
        """Return the state before any character; see `Predictor`."""
        return self.experts.initial_state(num_texts)

    def read(self, ids: IdArray, state: MixtureState) -> tuple[Floats, MixtureState]:
        """Return the logits after the last character; see `Predictor`."""
        logits, state = self.predict(ids, state)
        return logits[-1], state

    def predict(self, ids: IdArray, state: MixtureState) -> tuple[Floats, MixtureState]:
        """Return the logits after each character; see `Predictor`."""
        logits, lengths, state = self.experts.predict(ids, state)
        mixed = mix(logits, self.weights[lengths])
        # The largest becomes 0, which keeps the digits of float32 for the probabilities that matter.
        return (mixed - mixed.max(-1, keepdims=True)).astype(np.float32), state


def mix(logits: Sequence[AnyLogits], weights: Weights) -> Logits:
    """Return the weighted sum of the members' logits.

    Args:
        logits: of each member, (..., V).
        weights: of each member, (..., members).
    """
    first, *others = (each * weights[..., number, None] for number, each in enumerate(logits))
    for each in others:
        first += each
    return first
