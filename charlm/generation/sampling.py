"""Continue a prefix one character at a time, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from charlm.generation.filters import PLAIN, Filters
from charlm.generation.session import BLOCK_ROWS, Session
from charlm.networks.predictor import Predictor
from charlm.text.vocabulary import Ids, Vocabulary

# How many texts are written at once where none depends on the others; it suits both the processor and memory.
INVARIANT_ROWS = 64


def sample_text(
    predictor: Predictor,
    vocabulary: Vocabulary,
    prefix: Ids,
    *,
    sample: int = 0,
    seed: int = 0,
    length: int = 200,
    filters: Filters = PLAIN,
    stops: Sequence[str] = (),
) -> Iterator[str]:
    """Yield the characters of a sample after its prefix as soon as they are drawn.

    Args:
        predictor: the model.
        vocabulary: the model's symbols; the unknown symbol is never drawn.
        prefix: at least one id.
        sample: the sample's number k; sample k of a seed is the same however many are requested.
        seed: random seed for sampling.
        length: the largest number of characters.
        filters: applied to each distribution before drawing from it.
        stops: the sample ends before the first of these texts.
    """
    samples = range(sample, sample + 1)
    pieces = _write(predictor, vocabulary, prefix, samples, seed=seed, length=length, filters=filters)
    characters = chain.from_iterable(vocabulary.decode(piece[:, 0].tolist()) for piece in pieces)
    return stop_before(characters, stops)


def sample_texts(
    predictor: Predictor,
    vocabulary: Vocabulary,
    prefix: Ids,
    *,
    num_samples: int,
    seed: int = 0,
    length: int = 200,
    filters: Filters = PLAIN,
    stops: Sequence[str] = (),
    end: str | None = None,
) -> Iterator[str]:
    """Yield samples 0 to num_samples - 1 in order, each complete; see `sample_text`.

    Args:
        end: a character among the stops: writing ends when all samples have it, before they have their full length.
    """
    at_once = INVARIANT_ROWS if predictor.is_batch_invariant else BLOCK_ROWS
    for first in range(0, num_samples, at_once):
        samples = range(first, min(first + at_once, num_samples))
        pieces = _write(predictor, vocabulary, prefix, samples, seed=seed, length=length, filters=filters)
        if end is not None:
            pieces = _until_all(pieces, int(vocabulary.encode(end)[0]))
        for ids in np.concatenate([np.empty((0, len(samples)), dtype=np.int64), *pieces]).T:
            yield "".join(stop_before(vocabulary.decode(ids.tolist()), stops))


def _until_all(pieces: Iterator[npt.NDArray[np.int64]], end: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield pieces, (characters, samples), until each sample has a certain id."""
    ended: set[int] = set()
    for piece in pieces:
        yield piece
        ended.update(np.flatnonzero((piece == end).any(axis=0)).tolist())
        if len(ended) == piece.shape[1]:
            return


def _write(
    predictor: Predictor,
    vocabulary: Vocabulary,
    prefix: Ids,
    samples: range,
    *,
    seed: int,
    length: int,
    filters: Filters,
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the ids of samples in pieces, (characters, samples); all samples are from one block; see `Session`."""
    session = Session(predictor, vocabulary)
    pieces = session.write(session.begin(prefix, samples), length=length, seed=seed, filters=filters)
    return (ids for ids, _ in pieces)


def stop_before(characters: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """Yield characters until one of the stops is complete; no character of that stop is yielded."""
    if not stops:
        yield from characters
        return
    longest = max((len(stop) for stop in stops), default=0)
    held = ""
    for character in characters:
        held += character
        if found := [len(stop) for stop in stops if held.endswith(stop)]:
            yield from held[: len(held) - max(found)]
            return
        if len(held) >= max(longest, 1):
            yield held[0]
            held = held[1:]
    yield from held
