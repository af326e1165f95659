"""Score each character of a text: its probability and its surprise, in the order of the text.

A text is read in chunks with the state carried over, so that only one chunk's logits are in memory. For a model that
reads from the end, a first pass keeps the state at each chunk, and a second pass scores the chunks in text order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from charlm.errors import DivergedError
from charlm.evaluation.reading import CHUNK_CHARS, Costs, evaluating, read_chunks, read_states_behind
from charlm.networks.building import Network
from charlm.networks.inputs import as_tensor
from charlm.networks.language_model import CharLM
from charlm.settings.model import Direction
from charlm.text.encoding import EncodedText
from charlm.text.vocabulary import Ids, Vocabulary

BITS_PER_NAT = 1 / math.log(2)


@dataclass(frozen=True)
class ScoredCharacter:
    """How well a model predicted one character of a text.

    The character that reading begins with (the first of the text, or the last for a backward model) has nothing to be
    predicted from, so all its results are None. So are those of a character that was skipped.

    Args:
        position: its position in the cleaned text, from 0.
        character: the character in the text, whether or not the model knows it.
        probability: its probability given all characters before it; for a backward model, given all after it.
        bits: its surprise, -log2 of the probability.
        rank: its rank among the symbols of the vocabulary, 1 for the likeliest.
        likeliest: the symbol that was expected most; the unknown symbol is shown as U+FFFD.
        likeliest_probability: the probability of that symbol.
        cloze_probability: its probability given all characters before and after it; None unless the model is
            bidirectional.
        cloze_bits: -log2 of that. These add up to a pseudo-likelihood, which has no perplexity.
        unknown: what was done with a character that the model has no symbol for: it was skipped, or replaced by the
            unknown symbol, whose results these are; None for all other characters.
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
    unknown: Literal["skipped", "replaced"] | None = None

    def as_record(self, *, has_cloze: bool = True, has_unknown: bool = False) -> dict[str, object]:
        """Return the fields as JSON values; cloze and unknown-character fields are included on request."""
        asked = {"cloze_probability": has_cloze, "cloze_bits": has_cloze, "unknown": has_unknown}
        return {name: value for name, value in vars(self).items() if asked.get(name, True)}


@dataclass(frozen=True)
class ScoredWindow:
    """The costs of T characters of each of B texts, from position `start` on: nats and ids, each (T, B)."""

    start: int
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
    direction: Direction = "forward",
    chunk_chars: int = CHUNK_CHARS,
) -> Iterator[ScoredCharacter]:
    """Yield each character of a text with its score, in order.

    Args:
        network: the model; its training mode is restored after each chunk.
        ids: the text, (N,), at least one character; never reversed.
        vocabulary: the model's vocabulary.
        direction: the model's direction.
        chunk_chars: number of characters processed at once; it affects only the speed, except for a leaky model.
    Raises:
        DivergedError: if a probability is not a number.
    """
    assert len(ids) > 0
    position = 0
    for window in score_windows(network, ids[:, None], direction=direction, chunk_chars=chunk_chars):
        yield from _without_figures(ids[position : window.start], position, vocabulary)
        position = window.start + len(window.nats)
        yield from _with_figures(ids[window.start : position], window, vocabulary)
    yield from _without_figures(ids[position:], position, vocabulary)


def with_unknown(characters: Iterator[ScoredCharacter], text: EncodedText) -> Iterator[ScoredCharacter]:
    """Put characters that a model has no symbol for back into their places in the scored text.

    Args:
        characters: the scores of the text's ids, in order.
        text: the text that the ids were read from.
    """
    if not len(text.unknown):
        yield from characters
        return
    position = 0
    for place, code in zip(text.positions, text.unknown, strict=True):
        for each in islice(characters, int(place) - position):
            yield replace(each, position=position)
            position += 1
        if text.policy == "skip":
            yield ScoredCharacter(position, chr(code), unknown="skipped")
        else:
            yield replace(next(characters), character=chr(code), unknown="replaced")
        position += 1
    yield from (replace(each, position=place) for place, each in enumerate(characters, position))


def score_windows(network: Network, ids: Ids, *, direction: Direction, chunk_chars: int) -> Iterator[ScoredWindow]:
    """Yield the costs of texts of equal length, window by window; they are read in parallel from the initial state.

    Args:
        network: the model; its training mode is restored after each window.
        ids: the texts, (N, B). All characters but the first of each are scored; for a backward model, all but the last.
        direction: the model's direction.
        chunk_chars: number of characters in a window, all texts together; at least one of each text is read.
    Raises:
        DivergedError: if a probability is not a number.
    """
    read = _read_backwards if direction == "backward" else _read_onwards
    windows = read(network, ids, max(1, chunk_chars // ids.shape[1]))
    while True:
        with evaluating(network):
            window = next(windows, None)
        # Yield outside the context: between two windows the caller must be in its own mode.
        if window is None:
            return
        yield window


def column(figures: Costs | None, length: int) -> Sequence[float | None]:
    """Return results as Python numbers, or `length` times None if there are none."""
    return [None] * length if figures is None else figures.tolist()


def _without_figures(ids: Ids, start: int, vocabulary: Vocabulary) -> Iterator[ScoredCharacter]:
    """Yield any characters that have nothing before them in the model's reading order."""
    return (ScoredCharacter(position, character) for position, character in enumerate(vocabulary.decode(ids), start))


def _with_figures(ids: Ids, window: ScoredWindow, vocabulary: Vocabulary) -> Iterator[ScoredCharacter]:
    """Yield the scored characters of a window of one text."""
    nats, cloze_nats = window.nats[:, 0], None if window.cloze_nats is None else window.cloze_nats[:, 0]
    columns = zip(
        vocabulary.decode(ids),
        np.exp(-nats).tolist(),
        (nats * BITS_PER_NAT).tolist(),
        window.ranks[:, 0].tolist(),
        vocabulary.decode(window.likeliest[:, 0].tolist()),
        np.exp(-window.likeliest_nats[:, 0]).tolist(),
        column(None if cloze_nats is None else np.exp(-cloze_nats), len(ids)),
        column(None if cloze_nats is None else cloze_nats * BITS_PER_NAT, len(ids)),
        strict=True,
    )
    return (ScoredCharacter(position, *figures) for position, figures in enumerate(columns, window.start))


def _read_onwards(network: Network, ids: Ids, size: int) -> Iterator[ScoredWindow]:
    for chunk in read_chunks(network, ids, size):
        start = chunk.end - len(chunk.targets) + 1
        yield _window(start, chunk.readouts.forward, chunk.targets, chunk.readouts.both)


def _read_backwards(network: Network, ids: Ids, size: int) -> Iterator[ScoredWindow]:
    assert isinstance(network, CharLM)
    starts = range(0, len(ids) - 1, size)
    for start, state in zip(starts, read_states_behind(network, ids, starts), strict=True):
        text = as_tensor(ids[start : start + size + 1], network)
        logits, _ = network(text[1:].flip(0), state)
        yield _window(start, logits.flip(0), text[:-1])


def _window(start: int, logits: Tensor, targets: Tensor, both: Tensor | None = None) -> ScoredWindow:
    """Compare logits (T, B, V) with the characters that followed, (T, B)."""
    log_probabilities = log_softmax(logits, dim=-1)  # (T, B, V)
    likeliest = logits.argmax(dim=-1)  # (T, B)
    return ScoredWindow(
        start=start,
        nats=_nats(log_probabilities, targets),
        ranks=(logits > logits.gather(-1, targets.unsqueeze(-1))).sum(dim=-1).add(1).cpu().numpy(),
        likeliest=likeliest.cpu().numpy(),
        likeliest_nats=_nats(log_probabilities, likeliest),
        cloze_nats=None if both is None else _nats(log_softmax(both, dim=-1), targets),
    )


def _nats(log_probabilities: Tensor, ids: Tensor) -> Costs:
    """Return the costs of ids (T, B) under log-probabilities (T, B, V)."""
    # abs: a certain character costs 0.0, not -0.0.
    nats = log_probabilities.gather(-1, ids.unsqueeze(-1)).squeeze(-1).abs()  # (T, B)
    if not torch.isfinite(nats).all():
        raise DivergedError("the model gives a character a probability that is not a number: its training has diverged")
    return nats.cpu().numpy().astype(np.float64)
