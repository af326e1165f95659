"""Score each character of a text: its probability and its surprise, in the order of the text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Literal

import numpy as np

from charlm.evaluation.windows import BITS_PER_NAT, CHUNK_CHARS, ScoredWindow, score_windows
from charlm.networks.costs import Costs
from charlm.settings.model import Direction
from charlm.text.encoding import EncodedText
from charlm.text.vocabulary import Ids, Vocabulary

if TYPE_CHECKING:
    from charlm.evaluation.windows import Readable


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


def score_characters(
    model: Readable,
    ids: Ids,
    vocabulary: Vocabulary,
    *,
    direction: Direction = "forward",
    chunk_chars: int = CHUNK_CHARS,
) -> Iterator[ScoredCharacter]:
    """Yield each character of a text with its score, in order.

    Args:
        model: the model; a network's training mode is restored after each chunk.
        ids: the text, (N,), at least one character; never reversed.
        vocabulary: the model's vocabulary.
        direction: the model's direction.
        chunk_chars: number of characters processed at once; it affects only the speed, except for a leaky model.
    Raises:
        DivergedError: if a probability is not a number.
    """
    assert len(ids) > 0
    position = 0
    for window in score_windows(model, ids[:, None], direction=direction, chunk_chars=chunk_chars):
        yield from _without_figures(ids[position : window.start], position, vocabulary)
        position = window.start + len(window.nats)
        yield from _with_figures(ids[window.start : position], window, vocabulary)
    yield from _without_figures(ids[position:], position, vocabulary)


def score_items(
    model: Readable, ids: Ids, boundary: int, vocabulary: Vocabulary, *, direction: Direction = "forward"
) -> Iterator[ScoredCharacter]:
    """Yield each character of some items, and the end of each, with its score; nothing comes before an item.

    Args:
        model: the model.
        ids: the items, each with the boundary after it, (N,); never reversed.
        boundary: the id of the boundary.
        vocabulary: the model's vocabulary.
        direction: the model's direction. A backward model is given the end of an item and predicts its begin, whose
            score then stands where the end does.
    """
    begin = 0
    for end in np.flatnonzero(ids == boundary).tolist():
        text = np.concatenate([ids[end : end + 1], ids[begin : end + 1]])
        first, *others = score_characters(model, text, vocabulary, direction=direction)
        if direction == "backward":
            others[-1] = replace(first, position=len(others))
        yield from (replace(each, position=begin + each.position - 1) for each in others)
        begin = end + 1


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
