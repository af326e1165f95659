"""Continue a prefix one character at a time, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from charlm.errors import TextError
from charlm.generation.filters import PLAIN, Filters, filter_logits
from charlm.generation.native_writer import is_native, write_natively
from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.building import Network
from charlm.networks.inputs import as_tensor
from charlm.networks.language_model import CharLM
from charlm.networks.leaky import LeakyLM
from charlm.networks.recurrent import State
from charlm.text.vocabulary import Ids, Vocabulary

# Without kernels, this many rows are always computed at once: a product of another shape may differ in its last bit.
BLOCK_ROWS = 8
# The kernels compute each row independently of the others; this number suits both the processor and memory.
NATIVE_ROWS = 64
PREFIX_CHARS_AT_ONCE = 2048
DRAWS_AHEAD = 256
CausalNetwork = CharLM | LeakyLM


def writing_half(network: Network) -> CausalNetwork:
    """Return the network that continues a prefix: a bidirectional model's forward half, or else the network itself."""
    return network.forward_half if isinstance(network, BidirectionalLM) else network


def sample_text(
    network: CausalNetwork,
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
        network: the model.
        vocabulary: the model's symbols; the unknown symbol is never drawn.
        prefix: at least one id.
        sample: the sample's number k; sample k of a seed is the same however many are requested.
        seed: random seed for sampling.
        length: the largest number of characters.
        filters: applied to each distribution before drawing from it.
        stops: the sample ends before the first of these texts.
    """
    samples = range(sample, sample + 1)
    pieces = _write(network, vocabulary, prefix, samples, seed=seed, length=length, filters=filters)
    characters = chain.from_iterable(vocabulary.decode(piece[:, 0].tolist()) for piece in pieces)
    return stop_before(characters, stops)


def sample_texts(
    network: CausalNetwork,
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
    at_once = NATIVE_ROWS if is_native(network) else BLOCK_ROWS
    for first in range(0, num_samples, at_once):
        samples = range(first, min(first + at_once, num_samples))
        pieces = _write(network, vocabulary, prefix, samples, seed=seed, length=length, filters=filters)
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
    network: CausalNetwork,
    vocabulary: Vocabulary,
    prefix: Ids,
    samples: range,
    *,
    seed: int,
    length: int,
    filters: Filters,
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the ids of samples in pieces, (characters, samples); without kernels, all samples are from one block."""
    if is_native(network):
        assert isinstance(network, CharLM)
        network.eval()
        _, state = read_prefix(network, prefix, rows=1)
        state = tuple(part.expand(-1, len(samples), -1) for part in state)
        generators = [np.random.default_rng([seed, sample]) for sample in samples]
        num_characters = len(vocabulary.characters)
        return write_natively(network, num_characters, state, generators, length=length, filters=filters)
    first = samples[0] - samples[0] % BLOCK_ROWS
    block = sample_block(network, vocabulary, prefix, draws=uniform_draws(seed, first), filters=filters)
    return (ids[None, samples[0] - first : samples[-1] + 1 - first] for ids in islice(block, length))


def sample_block(
    network: CausalNetwork,
    vocabulary: Vocabulary,
    prefix: Ids,
    *,
    draws: Iterator[npt.NDArray[np.float64]],
    filters: Filters,
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield, without end, the next id of each of BLOCK_ROWS samples, (BLOCK_ROWS,); `uniform_draws` gives the draws."""
    network.eval()
    hidden, state = read_prefix(network, prefix)
    with torch.inference_mode():
        logits = network.decoder(hidden)  # (BLOCK_ROWS, V)
    while True:
        ids = draw_ids(logits, next(draws), vocabulary, filters)
        yield ids
        with torch.inference_mode():
            window, state = network(as_tensor(ids[None], network), state)
            logits = window[-1]


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


def read_prefix(network: CausalNetwork, prefix: Ids, rows: int = BLOCK_ROWS) -> tuple[Tensor, State]:
    """Return the last layer's output after a prefix, (rows, H), and the state there; all rows are the same.

    Raises:
        TextError: if the prefix is empty.
    """
    if len(prefix) == 0:
        raise TextError("the prefix is empty: the model needs at least one character that it knows")
    ids = as_tensor(prefix[:, None], network).expand(-1, rows)
    with torch.inference_mode():
        state = network.initial_state(rows)
        hidden = state[0]
        for start in range(0, len(ids), PREFIX_CHARS_AT_ONCE):
            hidden, state = network.read(ids[start : start + PREFIX_CHARS_AT_ONCE], state)  # (T, rows, H)
    return hidden[-1], state


def uniform_draws(seed: int, first: int) -> Iterator[npt.NDArray[np.float64]]:
    """Yield uniform random numbers (BLOCK_ROWS,); each row has its own generator, seeded with (seed, first + row)."""
    generators = [np.random.default_rng([seed, first + row]) for row in range(BLOCK_ROWS)]
    while True:
        yield from np.stack([generator.random(DRAWS_AHEAD) for generator in generators], axis=1)


def draw_ids(
    logits: Tensor, draws: npt.NDArray[np.float64], vocabulary: Vocabulary, filters: Filters
) -> npt.NDArray[np.int64]:
    """Invert each row's cumulative distribution at its draw; the unknown symbol is never chosen."""
    with torch.inference_mode():
        known = logits[:, : len(vocabulary.characters)].cpu()
        cumulative = filter_logits(known, filters).cumsum(-1).numpy()
    below = cumulative <= draws[:, None] * cumulative[:, -1:]
    return np.minimum(below.sum(axis=1), len(vocabulary.characters) - 1)
