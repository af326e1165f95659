"""Writing on from a prefix, one character after the other, in memory that does not grow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from charlm.errors import TextError
from charlm.evaluation.figure import CHUNK_CHARS
from charlm.generation.filters import PLAIN, Filters, filter_logits
from charlm.networks.language_model import CharLM
from charlm.networks.recurrent import State
from charlm.text.vocabulary import Ids, Vocabulary

# Rows are always computed so many at a time: a product of another shape may differ in its last bit.
BLOCK_ROWS = 8
DRAWS_AHEAD = 256


def sample_text(
    network: CharLM,
    vocabulary: Vocabulary,
    prefix: Ids,
    *,
    sample: int = 0,
    seed: int = 0,
    length: int = 200,
    filters: Filters = PLAIN,
    stops: Sequence[str] = (),
) -> Iterator[str]:
    """Yield a sample's characters after the prefix, as they are drawn.

    Args:
        network: the model.
        vocabulary: its symbols; the unknown symbol is never drawn.
        prefix: at least one id.
        sample: k; sample k of a seed is the same however many are asked for.
        seed: of the draws.
        length: characters at most.
        filters: what the draws are taken from.
        stops: the sample ends before the first of these texts.
    """
    first = sample - sample % BLOCK_ROWS
    block = sample_block(network, vocabulary, prefix, seed=seed, first=first, filters=filters)
    characters = (vocabulary.characters[row[sample - first]] for row in islice(block, length))
    return stop_before(characters, stops)


def sample_texts(
    network: CharLM,
    vocabulary: Vocabulary,
    prefix: Ids,
    *,
    num_samples: int,
    seed: int = 0,
    length: int = 200,
    filters: Filters = PLAIN,
    stops: Sequence[str] = (),
) -> Iterator[str]:
    """Yield samples 0 to num_samples - 1 whole, in order; see `sample_text`."""
    for first in range(0, num_samples, BLOCK_ROWS):
        block = sample_block(network, vocabulary, prefix, seed=seed, first=first, filters=filters)
        rows = np.array(list(islice(block, length)), dtype=np.int64).reshape(-1, BLOCK_ROWS).T
        for row in rows[: num_samples - first]:
            yield "".join(stop_before(vocabulary.decode(row), stops))


def sample_block(
    network: CharLM, vocabulary: Vocabulary, prefix: Ids, *, seed: int, first: int, filters: Filters
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield, without end, the next id of each of the samples first .. first + BLOCK_ROWS - 1, (BLOCK_ROWS,)."""
    if len(prefix) == 0:
        raise TextError("the prefix is empty: a model writes on from at least one character it knows")
    network.eval()
    draws = _draws(seed, first)
    logits, state = _read_prefix(network, prefix)
    while True:
        ids = _draw(logits, next(draws), vocabulary, filters)
        yield ids
        with torch.inference_mode():
            inputs = torch.from_numpy(ids)[None].to(logits.device)  # (1, BLOCK_ROWS)
            window, state = network(inputs, state)
            logits = window[-1]  # (BLOCK_ROWS, V)


def stop_before(characters: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """Yield characters until one of the stops has come whole, and nothing of that stop."""
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


def _read_prefix(network: CharLM, prefix: Ids) -> tuple[Tensor, State]:
    device = network.decoder.weight.device
    ids = torch.from_numpy(prefix.astype(np.int64))[:, None].expand(-1, BLOCK_ROWS).to(device)  # (T, BLOCK_ROWS)
    with torch.inference_mode():
        state = network.zero_state(BLOCK_ROWS)
        logits = state[0].new_empty(0)
        for start in range(0, len(ids), CHUNK_CHARS):
            window, state = network(ids[start : start + CHUNK_CHARS], state)
            logits = window[-1]
    return logits, state


def _draws(seed: int, first: int) -> Iterator[npt.NDArray[np.float64]]:
    """Yield uniform numbers (BLOCK_ROWS,), each row's from a generator of (seed, sample)."""
    generators = [np.random.default_rng([seed, first + row]) for row in range(BLOCK_ROWS)]
    while True:
        yield from np.stack([generator.random(DRAWS_AHEAD) for generator in generators], axis=1)


def _draw(
    logits: Tensor, draws: npt.NDArray[np.float64], vocabulary: Vocabulary, filters: Filters
) -> npt.NDArray[np.int64]:
    """Invert each row's cumulative distribution at its draw."""
    with torch.inference_mode():
        known = logits[:, : len(vocabulary.characters)].cpu()
        cumulative = filter_logits(known, filters).cumsum(-1).numpy()
    below = cumulative <= draws[:, None] * cumulative[:, -1:]
    return np.minimum(below.sum(axis=1), len(vocabulary.characters) - 1)
