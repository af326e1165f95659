"""A causal language model run by the kernels alone, on NumPy arrays: for reading and writing, without torch.

Single steps, pieces, whole texts and any number of texts side by side give the same bits, which are those of the native
implementation of `CharLM` in evaluation.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.kernels.library import Kernels, NetworkWeights, Writing, load_kernels
from charlm.networks.predictor import Floats, IdArray
from charlm.networks.shapes import LAYER_WEIGHTS, num_states
from charlm.networks.support import cell_number
from charlm.settings.model import ModelSettings

# A state has one array for an RNN or a GRU and two for an LSTM, each (L, B, H).
ArrayState = tuple[Floats, ...]
# Up to this many texts, the kernels lay out weights in the other of two ways; see FEW_ROWS of weights.h.
FEW_TEXTS = 3


class NativePredictor:
    """Predict each character from those before it.

    Args:
        model: the network's settings, all of which the kernels must have; see `missing_from_kernels`.
        weights: the parameters by the names that `CharLM` gives them, float32; they must not change afterwards.
        num_characters: how many of the vocabulary's ids may be drawn, counted from the first.

    Attributes:
        vocab_size: V.
        num_characters: as given.
        kernels: the functions that it calls.
    """

    is_batch_invariant = True

    def __init__(self, model: ModelSettings, weights: Mapping[str, Floats], num_characters: int) -> None:
        kernels = load_kernels()
        assert isinstance(kernels, Kernels)
        self.model, self.kernels, self.num_characters = model, kernels, num_characters
        self.vocab_size = len(weights["decoder.bias"])
        self._weights = weights
        # The addresses of the kernels' copies of the weights, by whether they are laid out for few texts.
        self._copies: dict[bool, int] = {}

    def initial_state(self, num_texts: int) -> ArrayState:
        """Return the state before any character, each (L, num_texts, H): zeros, or the learned values."""
        sizes = (self.model.num_layers, num_texts, self.model.hidden_size)
        if not self.model.learned_state:
            return tuple(np.zeros(sizes, np.float32) for _ in range(num_states(self.model)))
        learned = (self._weights[f"initial.{number}"] for number in range(num_states(self.model)))
        return tuple(np.broadcast_to(part[:, None], sizes) for part in learned)

    def read(self, ids: IdArray, state: ArrayState) -> tuple[Floats, ArrayState]:
        """Return the logits after the last character; see `Predictor`."""
        if len(ids) > 1:
            state = self._read(ids[:-1], state, None)
        logits, state = self.predict(ids[-1:], state)
        return logits[-1], state

    def predict(self, ids: IdArray, state: ArrayState) -> tuple[Floats, ArrayState]:
        """Return the logits after each character; see `Predictor`."""
        logits = np.empty((*ids.shape, self.vocab_size), np.float32)
        return logits, self._read(ids, state, logits)

    def run(self, state: ArrayState, ids: npt.NDArray[np.int64], threads: int, **fields: Any) -> ArrayState:
        """Write or read characters, and return the state after them.

        Args:
            state: the state before them, each (L, B, H).
            ids: (T, B), C-contiguous: what is read, or where what is written goes.
            threads: the most threads to use; their number changes no bit.
            fields: the other fields of `Writing`.
        """
        length, num_texts = ids.shape
        advanced = tuple(np.array(part, dtype=np.float32, order="C") for part in state)
        expected = (self.model.num_layers, num_texts, self.model.hidden_size)
        if len(advanced) != num_states(self.model) or any(part.shape != expected for part in advanced):
            raise ValueError(f"a state must be of size {expected}")
        addresses = {name: part.ctypes.data for name, part in zip(("h", "c"), advanced, strict=False)}
        call = Writing(threads=threads, rows=num_texts, length=length, ids=ids.ctypes.data, **addresses, **fields)
        self.kernels.write(self._copy(num_texts <= FEW_TEXTS), call)
        return advanced

    def _read(self, ids: IdArray, state: ArrayState, logits: Floats | None) -> ArrayState:
        # A single text is read by one thread: several would wait for each other after every layer.
        threads = self.kernels.num_threads if ids.shape[1] > 1 else 1
        given = np.ascontiguousarray(ids, dtype=np.int64)
        return self.run(state, given, threads, logits=None if logits is None else logits.ctypes.data)

    def _copy(self, has_few_texts: bool) -> int:
        """Return the address of a copy of the weights, laid out for writing."""
        if has_few_texts not in self._copies:
            copy = self.kernels.writer_new(self._description(), FEW_TEXTS if has_few_texts else FEW_TEXTS + 1)
            weakref.finalize(self, self.kernels.writer_free, copy)
            self._copies[has_few_texts] = copy
        return self._copies[has_few_texts]

    def _description(self) -> NetworkWeights:
        """Describe the network to the kernels; the first layer's input weights are those for one-hot characters."""
        names = [f"recurrent.{kind}_l{layer}" for layer in range(self.model.num_layers) for kind in LAYER_WEIGHTS]
        arrays = [np.ascontiguousarray(self._weights[name]) for name in (*names, "decoder.weight", "decoder.bias")]
        if not self.model.is_one_hot:
            arrays[0] = self._one_hot_weights(arrays[0])
        addresses = (ctypes.c_void_p * len(names))(*(array.ctypes.data for array in arrays[: len(names)]))
        description = NetworkWeights(
            cell=cell_number(self.model),
            num_layers=self.model.num_layers,
            is_residual=self.model.residual,
            hidden_size=self.model.hidden_size,
            vocab_size=self.vocab_size,
            num_characters=self.num_characters,
            weights=ctypes.addressof(addresses),
            decoder_weight=arrays[-2].ctypes.data,
            decoder_bias=arrays[-1].ctypes.data,
        )
        # The addresses do not keep their arrays alive.
        description.arrays = (arrays, addresses)
        return description

    def _one_hot_weights(self, weight: Floats) -> Floats:
        """Return the input weights for one-hot characters, (gates, V): W (E x) equals (W E) x."""
        name = "decoder.weight" if self.model.tied_embeddings else "embedding.weight"
        vectors = np.ascontiguousarray(self._weights[name])  # (V, E)
        products = np.empty((len(vectors), len(weight)), np.float32)
        bias = np.zeros(len(weight), np.float32)
        # The product that `CharLM` computes for each character that it reads, so that the bits are the same.
        arrays = (array.ctypes.data for array in (vectors, weight, bias, products))
        self.kernels.linear_forward(1, *vectors.shape, len(weight), *arrays)
        return np.ascontiguousarray(products.T)
