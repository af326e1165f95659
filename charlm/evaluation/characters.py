"""Each character's probability and surprise, in the order of the text.

A text is read in chunks, as `reading` does, the state carried: no more than one chunk's logits are held. Where a model
reads from the end, a first pass keeps its state at each chunk, and a second takes the chunks in the order of the text.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from charlm.errors import DivergedError
from charlm.evaluation.reading import CHUNK_CHARS, Costs
from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.building import Network
from charlm.networks.language_model import CharLM
from charlm.networks.recurrent import State
from charlm.text.vocabulary import Ids, Vocabulary

BITS_PER_NAT = 1 / math.log(2)


@dataclass(frozen=True)
class ScoredCharacter:
    """What a model makes of one character of a text.

    The character that reading begins with, the first of the text, the last for a backward model, has nothing to be
    predicted from: all its figures are None.

    Args:
        position: in the text as the model reads it, cleaned, from 0.
        character: the unknown symbol is shown as U+FFFD.
        probability: given all characters before it; in a backward model, all after it.
        bits: its surprise, -log2 of the probability.
        rank: among the symbols of the vocabulary, 1 for the likeliest.
        likeliest: the symbol that was expected most.
        likeliest_probability: that symbol's.
        cloze_probability: of a bidirectional model, given all other characters, before it and after it; None elsewhere.
        cloze_bits: -log2 of that. They add up to a pseudo-likelihood: there is no perplexity of them.
    """

    position: int
    character: str
    probability: float | None = None
    bits: float | None = None
    rank: int | None = None
    likeliest: str | None = None
    likeliest_probability: float | None = None
    cloze_probability: float | None = None
    cloze_bits: float | None = None

    def as_record(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return dict(vars(self))


@dataclass(frozen=True)
class ScoredWindow:
    """What some characters cost, T of each of B texts: nats and ids, each (T, B)."""

    nats: Costs
    ranks: npt.NDArray[np.int64]
    likeliest: npt.NDArray[np.int64]
    likeliest_nats: Costs
    cloze_nats: Costs | None


def score_characters(
    network: Network,
    ids: Ids,
    vocabulary: Vocabulary,
    *,
    is_backward: bool = False,
    chunk_chars: int = CHUNK_CHARS,
) -> Iterator[ScoredCharacter]:
    """Yield each character of a text with what the model makes of it, in order.

    Args:
        network: the model; its training mode is as before after each chunk.
        ids: the text, (N,), at least one character; never reversed.
        vocabulary: the model's.
        is_backward: whether the model reads from the end.
        chunk_chars: characters run at once: a choice of speed that changes no figure, but for a leaky model's.
    Raises:
        DivergedError: where a probability is no number.
    """
    assert len(ids) > 0
    position = 0
    if not is_backward:
        yield ScoredCharacter(0, vocabulary.decode(ids[:1]))
        position = 1
    for window in score_windows(network, ids[:, None], is_backward=is_backward, chunk_chars=chunk_chars):
        end = position + len(window.nats)
        yield from _scored(window, vocabulary.decode(ids[position:end]), position, vocabulary)
        position = end
    if is_backward:
        yield ScoredCharacter(position, vocabulary.decode(ids[-1:]))


def score_windows(network: Network, ids: Ids, *, is_backward: bool, chunk_chars: int) -> Iterator[ScoredWindow]:
    """Yield what texts of one length cost, read side by side from the initial state, window by window in their order.

    Args:
        network: the model; its training mode is as before after each window.
        ids: the texts, (N, B), N - 1 characters of each are scored: without the first, of a backward model the last.
        is_backward: whether the model reads from the end.
        chunk_chars: characters in a window of all texts together, but for at least one of each.
    Raises:
        DivergedError: where a probability is no number.
    """
    batch_size = ids.shape[1]
    starts = range(0, len(ids) - 1, max(1, chunk_chars // batch_size))
    state = network.initial_state(batch_size)
    states_behind = [state] * len(starts)
    if isinstance(network, BidirectionalLM):
        states_behind = _states_behind(network.backward_half, ids, starts)
    elif is_backward:
        assert isinstance(network, CharLM)
        states_behind = _states_behind(network, ids, starts)
    for start, state_behind in zip(starts, states_behind, strict=True):
        text, both = _tensor(ids[start : start + starts.step + 1], network), None
        with _without_training(network):
            if isinstance(network, BidirectionalLM):
                readouts, _ = network(text[:-1], text[1:], state, state_behind)
                logits, both, state = readouts.forward, readouts.both, readouts.state
            elif is_backward:
                logits, _ = network(text[1:].flip(0), state_behind)
                logits = logits.flip(0)
            else:
                logits, state = network(text[:-1], state)  # (T, B, V)
            window = _window(logits, both, text[:-1] if is_backward else text[1:])
        # Outside: what the caller does between two windows is none of this mode's business.
        yield window


def column(figures: Costs | None, length: int) -> Sequence[float | None]:
    """Return figures as Python's numbers, or, where there are none, None so many times."""
    return [None] * length if figures is None else figures.tolist()


def _scored(window: ScoredWindow, text: str, position: int, vocabulary: Vocabulary) -> Iterator[ScoredCharacter]:
    """Yield the characters of a window of one text."""
    nats, cloze_nats = window.nats[:, 0], None if window.cloze_nats is None else window.cloze_nats[:, 0]
    columns = zip(
        text,
        np.exp(-nats).tolist(),
        (nats * BITS_PER_NAT).tolist(),
        window.ranks[:, 0].tolist(),
        vocabulary.decode(window.likeliest[:, 0].tolist()),
        np.exp(-window.likeliest_nats[:, 0]).tolist(),
        column(None if cloze_nats is None else np.exp(-cloze_nats), len(text)),
        column(None if cloze_nats is None else cloze_nats * BITS_PER_NAT, len(text)),
        strict=True,
    )
    for offset, figures in enumerate(columns):
        yield ScoredCharacter(position + offset, *figures)


def _states_behind(network: CharLM, ids: Ids, starts: range) -> list[State]:
    """Return, for each window, the state of what reads from the end after all that lies beyond the window."""
    state = network.initial_state(ids.shape[1])
    states: list[State] = []
    for start in reversed(starts):
        states.append(state)
        with _without_training(network):
            text = _tensor(ids[start + 1 : start + starts.step + 1], network)
            _, state = network.read(text.flip(0), state)
    return states[::-1]


def _window(logits: Tensor, both: Tensor | None, targets: Tensor) -> ScoredWindow:
    """Compare logits (T, B, V) with what came, (T, B)."""
    log_probabilities = log_softmax(logits, dim=-1)  # (T, B, V)
    likeliest = logits.argmax(dim=-1)  # (T, B)
    return ScoredWindow(
        nats=_nats(log_probabilities, targets),
        ranks=(logits > logits.gather(-1, targets.unsqueeze(-1))).sum(dim=-1).add(1).cpu().numpy(),
        likeliest=likeliest.cpu().numpy(),
        likeliest_nats=_nats(log_probabilities, likeliest),
        cloze_nats=None if both is None else _nats(log_softmax(both, dim=-1), targets),
    )


def _nats(log_probabilities: Tensor, ids: Tensor) -> Costs:
    """Return what ids (T, B) cost under log-probabilities (T, B, V)."""
    # abs: what is certain costs 0.0, not -0.0.
    nats = log_probabilities.gather(-1, ids.unsqueeze(-1)).squeeze(-1).abs()  # (T, B)
    if not torch.isfinite(nats).all():
        raise DivergedError("the model gives a character a probability that is no number: its training has diverged")
    return nats.cpu().numpy().astype(np.float64)


def _tensor(ids: Ids, network: Network) -> Tensor:
    """Return ids as a tensor on the network's device."""
    device = next(network.parameters()).device
    return torch.from_numpy(ids.astype(np.int64, order="C")).to(device)


@contextmanager
def _without_training(network: Network) -> Generator[None]:
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        network.train(was_training)
