"""Continue a prefix one character at a time, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.errors import TextError
from charlm.generation.filters import PLAIN, Filters, filter_logits
from charlm.generation.native_writer import write_pieces
from charlm.networks.native_predictor import NativePredictor
from charlm.networks.predictor import Floats, Predictor
from charlm.text.vocabulary import Ids, Vocabulary

# Without kernels, this many rows are always computed at once: a product of another shape may differ in its last bit.
BLOCK_ROWS = 8
# The kernels compute each row independently of the others; this number suits both the processor and memory.
NATIVE_ROWS = 64
PREFIX_CHARS_AT_ONCE = 2048
DRAWS_AHEAD = 256


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
    at_once = NATIVE_ROWS if isinstance(predictor, NativePredictor) else BLOCK_ROWS
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
    """Yield the ids of samples in pieces, (characters, samples); without kernels, all samples are from one block."""
    if isinstance(predictor, NativePredictor):
        _, state = read_prefix(predictor, prefix, num_texts=1)
        state = tuple(np.broadcast_to(part, (len(part), len(samples), part.shape[2])) for part in state)
        generators = [np.random.default_rng([seed, sample]) for sample in samples]
        return write_pieces(predictor, state, generators, length=length, filters=filters)
    first = samples[0] - samples[0] % BLOCK_ROWS
    block = sample_block(predictor, vocabulary, prefix, draws=uniform_draws(seed, first), filters=filters)
    return (ids[None, samples[0] - first : samples[-1] + 1 - first] for ids in islice(block, length))


def sample_block(
    predictor: Predictor,
    vocabulary: Vocabulary,
    prefix: Ids,
    *,
    draws: Iterator[npt.NDArray[np.float64]],
    filters: Filters,
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield, without end, the next id of each of BLOCK_ROWS samples, (BLOCK_ROWS,); `uniform_draws` gives the draws."""
    logits, state = read_prefix(predictor, prefix, BLOCK_ROWS)
    while True:
        ids = draw_ids(logits, next(draws), vocabulary, filters)
        yield ids
        logits, state = predictor.read(ids[None], state)


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


def read_prefix(predictor: Predictor, prefix: Ids, num_texts: int) -> tuple[Floats, Any]:
    """Return the logits after a prefix, (num_texts, V), and the state there; all texts are the same.

    Raises:
        TextError: if the prefix is empty.
    """
    if len(prefix) == 0:
        raise TextError("the prefix is empty: the model needs at least one character that it knows")
    state, logits = predictor.initial_state(num_texts), None
    for start in range(0, len(prefix), PREFIX_CHARS_AT_ONCE):
        piece = prefix[start : start + PREFIX_CHARS_AT_ONCE, None]
        logits, state = predictor.read(np.broadcast_to(piece, (len(piece), num_texts)), state)
    assert logits is not None
    return logits, state


def uniform_draws(seed: int, first: int) -> Iterator[npt.NDArray[np.float64]]:
    """Yield uniform random numbers (BLOCK_ROWS,); each row has its own generator, seeded with (seed, first + row)."""
    generators = [np.random.default_rng([seed, first + row]) for row in range(BLOCK_ROWS)]
    while True:
        yield from np.stack([generator.random(DRAWS_AHEAD) for generator in generators], axis=1)


def draw_ids(
    logits: Floats, draws: npt.NDArray[np.float64], vocabulary: Vocabulary, filters: Filters
) -> npt.NDArray[np.int64]:
    """Invert each row's cumulative distribution at its draw; the unknown symbol is never chosen."""
    cumulative = filter_logits(logits[:, : len(vocabulary.characters)], filters).cumsum(-1)
    below = cumulative <= draws[:, None] * cumulative[:, -1:]
    return np.minimum(below.sum(axis=1), len(vocabulary.characters) - 1)
