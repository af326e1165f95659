"""Generate text through the kernels: many characters per call, and the same characters as the plain loop."""

from __future__ import annotations

import ctypes
import time
import weakref
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from charlm.generation.filters import Filters
from charlm.kernels.library import Kernels, NetworkWeights, Writing, load_kernels
from charlm.networks.language_model import CharLM
from charlm.networks.native import NativeStack, cell_number, fits_kernels
from charlm.networks.recurrent import LayerWeights, State

CHARS_AT_ONCE = 256


class NativeWriter:
    """A copy of a network's weights, arranged for writing.

    Args:
        network: a network of the native implementation.
        num_characters: how many of the vocabulary's ids may be drawn, counted from the first.
        num_texts: how many texts are written in parallel.
    """

    def __init__(self, network: CharLM, num_characters: int, num_texts: int) -> None:
        kernels, model = load_kernels(), network.model
        assert isinstance(kernels, Kernels)
        self.kernels, self.num_texts = kernels, num_texts
        weights = _layer_weights(network)
        decoder_weight, decoder_bias = (part.detach().contiguous() for part in network.decoder.parameters())
        addresses = (ctypes.c_void_p * len(weights))(*(weight.data_ptr() for weight in weights))
        description = NetworkWeights(
            cell=cell_number(model),
            num_layers=model.num_layers,
            is_residual=model.residual,
            hidden_size=model.hidden_size,
            vocab_size=network.vocab_size,
            num_characters=num_characters,
            weights=ctypes.addressof(addresses),
            decoder_weight=decoder_weight.data_ptr(),
            decoder_bias=decoder_bias.data_ptr(),
        )
        self._writer = kernels.writer_new(description, num_texts)
        weakref.finalize(self, kernels.writer_free, self._writer)

    def write(
        self, state: State, draws: npt.NDArray[np.float64], filters: Filters, *, threads: int
    ) -> tuple[npt.NDArray[np.int64], State]:
        """Continue the texts from a state.

        Args:
            state: the state after the last character that was read, each (L, num_texts, H).
            draws: uniform random numbers in [0, 1), (characters, num_texts).
            filters: applied to each distribution before drawing from it.
            threads: the most threads to use; their number does not change any character.
            Returns:
                The ids, in the shape of `draws`, and the state after them.
        """
        draws = np.ascontiguousarray(draws)
        assert draws.shape[1] == self.num_texts
        ids = np.empty(draws.shape, dtype=np.int64)
        state = tuple(part.clone(memory_format=torch.contiguous_format) for part in state)
        self.kernels.write(
            self._writer,
            Writing(
                threads=threads,
                rows=draws.shape[1],
                length=draws.shape[0],
                draws=draws.ctypes.data,
                temperature=filters.temperature,
                top_k=filters.top_k or 0,
                top_p=1.0 if filters.top_p is None else filters.top_p,
                min_p=filters.min_p or 0.0,
                ids=ids.ctypes.data,
                h=state[0].data_ptr(),
                c=state[1].data_ptr() if len(state) > 1 else None,
            ),
        )
        return ids, state


def is_native(network: object) -> bool:
    """Return whether the kernels can write with a network: it must be native, causal, float32 and on the CPU."""
    if not isinstance(network, CharLM) or not isinstance(network.recurrent, NativeStack):
        return False
    return fits_kernels(network.decoder.weight)


def write_natively(
    network: CharLM,
    num_characters: int,
    state: State,
    generators: list[np.random.Generator],
    *,
    length: int,
    filters: Filters,
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield texts in pieces, (characters, texts), until each text has `length` characters.

    Args:
        network: a network of the native implementation.
        num_characters: how many ids may be drawn.
        state: the state after the prefix, each (L, texts, H).
        generators: a random generator for each text.
        length: number of characters of each text.
        filters: applied to each distribution before drawing from it.
    """
    writer = NativeWriter(network, num_characters, len(generators))
    pace = _Pace(writer.kernels.num_threads)
    for start in range(0, length, CHARS_AT_ONCE):
        num_chars = min(CHARS_AT_ONCE, length - start)
        draws = np.stack([generator.random(num_chars) for generator in generators], axis=1)
        threads, began = pace.threads, time.perf_counter()
        ids, state = writer.write(state, draws, filters, threads=threads)
        pace.record(threads, (time.perf_counter() - began) / num_chars)
        yield ids


class _Pace:
    """Find out, while writing, how many threads are fastest.

    Threads that write one text wait for each other after every layer, so a single thread is faster if another process
    occupies one of their cores. Both choices are therefore timed at the beginning, and again from time to time.
    """

    NUM_TRIALS = 2
    TRIAL_EVERY = 64

    def __init__(self, threads: int) -> None:
        self._choices = (threads, 1)
        self._calls = 0
        self._seconds = {threads: float("inf"), 1: float("inf")}

    @property
    def threads(self) -> int:
        """The number of threads to use for the next call."""
        trial = self._calls % self.TRIAL_EVERY
        if trial < len(self._choices) * self.NUM_TRIALS:
            return self._choices[trial // self.NUM_TRIALS]
        return min(self._choices, key=self._seconds.__getitem__)

    def record(self, threads: int, seconds: float) -> None:
        """Record the time per character; the fastest trial of a round counts, because it was disturbed least."""
        trial = self._calls % self.TRIAL_EVERY
        if trial < len(self._choices) * self.NUM_TRIALS:
            is_first = trial % self.NUM_TRIALS == 0
            self._seconds[threads] = seconds if is_first else min(self._seconds[threads], seconds)
        self._calls += 1


def _layer_weights(network: CharLM) -> list[Tensor]:
    """Return each layer's weights; the first layer's input weights are those for one-hot characters."""
    weights = [
        getattr(network.recurrent, f"{kind}_l{layer}").detach().contiguous()
        for layer in range(network.model.num_layers)
        for kind in LayerWeights._fields
    ]
    if network.vectors is not None:
        # For a one-hot x, W (E x) equals (W E) x, so the embedding is multiplied into the weights.
        weights[0] = (weights[0] @ network.vectors.detach().t()).contiguous()  # (gates, V)
    return weights
