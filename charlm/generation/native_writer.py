"""Writing through the kernels: many characters for each call, the same ones that the plain loop draws."""

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
    """A network's weights, copied and laid out for writing.

    Args:
        network: of the native implementation.
        num_characters: how many of the vocabulary's ids may be drawn, from the first.
        num_texts: how many are written side by side.
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
        """Write on from a state.

        Args:
            state: after the last character that was read, each (L, num_texts, H).
            draws: uniform in [0, 1), (characters, num_texts).
            filters: what the draws are taken from.
            threads: at most; they change no character.
        Returns:
            The ids, shaped as the draws, and the state after them.
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
    """Return whether the kernels can write with a network: a causal one in float32 on the CPU, built for them."""
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
    """Yield texts in pieces, (characters, texts), `length` characters of each in all.

    Args:
        network: of the native implementation.
        num_characters: how many ids may be drawn.
        state: after the prefix, each (L, texts, H).
        generators: of each text's draws.
        length: of each text.
        filters: what the draws are taken from.
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
    """How many threads write fastest, found out while writing.

    Threads that write one text wait for each other after every layer: where another process holds one of their cores,
    a single thread is faster. So all of them and one alone take turns first, and now and then again.
    """

    NUM_TRIALS = 2
    TRIAL_EVERY = 64

    def __init__(self, threads: int) -> None:
        self._choices = (threads, 1)
        self._calls = 0
        self._seconds = {threads: float("inf"), 1: float("inf")}

    @property
    def threads(self) -> int:
        """How many to use for the next call."""
        trial = self._calls % self.TRIAL_EVERY
        if trial < len(self._choices) * self.NUM_TRIALS:
            return self._choices[trial // self.NUM_TRIALS]
        return min(self._choices, key=self._seconds.__getitem__)

    def record(self, threads: int, seconds: float) -> None:
        """Note what a character took; of a round's trials the fastest counts, which is the one least disturbed."""
        trial = self._calls % self.TRIAL_EVERY
        if trial < len(self._choices) * self.NUM_TRIALS:
            is_first = trial % self.NUM_TRIALS == 0
            self._seconds[threads] = seconds if is_first else min(self._seconds[threads], seconds)
        self._calls += 1


def _layer_weights(network: CharLM) -> list[Tensor]:
    """Return each layer's weights, those of the first layer's inputs for one-hot characters."""
    weights = [
        getattr(network.recurrent, f"{kind}_l{layer}").detach().contiguous()
        for layer in range(network.model.num_layers)
        for kind in LayerWeights._fields
    ]
    if network.vectors is not None:
        # W (E x) of a one-hot x is (W E) x: the embedding goes into the weights.
        weights[0] = (weights[0] @ network.vectors.detach().t()).contiguous()  # (gates, V)
    return weights
