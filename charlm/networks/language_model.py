"""The causal character-level language model: input, recurrent stack, output layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from charlm.networks.dropping import drop
from charlm.networks.implementations import TWINS, Chosen
from charlm.networks.initialisation import initialise_embedding, initialise_linear, initialise_stack
from charlm.networks.readouts import Readouts
from charlm.networks.recurrent import Stack, State, zero_state
from charlm.networks.reference import run_cells
from charlm.networks.shapes import num_states
from charlm.settings.model import ModelSettings


class CharLM(nn.Module):
    """Predict each character from those before it.

    Args:
        model: the network's settings.
        vocab_size: V.
        implementation: see `charlm.networks.implementations.choose_implementation`.
    """

    def __init__(self, model: ModelSettings, vocab_size: int, implementation: Chosen) -> None:
        super().__init__()
        self.model = model
        self.vocab_size = vocab_size
        E = None if model.tied_embeddings else model.embedding_size
        self.embedding = nn.Embedding(vocab_size, E) if E else None
        self.recurrent: Stack = TWINS[implementation](model, vocab_size)
        self.decoder = nn.Linear(model.hidden_size, vocab_size)
        num_parts = num_states(model) if model.learned_state else 0
        sizes = (model.num_layers, model.hidden_size)
        self.initial = nn.ParameterList(nn.Parameter(torch.zeros(sizes)) for _ in range(num_parts))

    @property
    def vectors(self) -> Tensor | None:
        """The embedding, (V, E): its own table, or the output layer's if they are tied; None for one-hot inputs."""
        if self.model.is_one_hot:
            return None
        return self.decoder.weight if self.embedding is None else self.embedding.weight

    def forward(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Predict the character after each character of a window.

        Args:
            ids: (T, B), int64.
            state: the state before the window; None means the initial one.
        Returns:
            Logits (T, B, V), where those at t are for the character after ids[t], and the state after the window.
        """
        hidden, state = self.read(ids, self.initial_state(ids.shape[1]) if state is None else state)
        return self.decode(hidden), state  # (T, B, V)

    def read(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the last layer's outputs over a window, (T, B, H), and the state after it."""
        return self.recurrent.run(self.embed(ids), state)

    def step(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """Read one character of each text, (1, B), with our cells: they are the fastest where nothing is prepared."""
        return run_cells(self.recurrent, self.embed(ids), state)

    def decode(self, hidden: Tensor, *, has_bias: bool = True) -> Tensor:
        """Return the logits, (T, B, V), of the last layer's outputs, (T, B, H)."""
        bias = self.decoder.bias if has_bias else None
        return self.recurrent.decode(self._drop_outputs(hidden), self.decoder.weight, bias)

    def read_window(self, inputs: Tensor, targets: Tensor, beyond: Tensor, state: State) -> Readouts:  # noqa: ARG002
        """Read a training window; a causal model only looks at the inputs."""
        return Readouts(*self.forward(inputs, state))

    def window_cost(
        self, inputs: Tensor, targets: Tensor, state: State, smoothing: float
    ) -> tuple[Tensor, Tensor, State]:
        """Read a training window, and return the loss of predicting its targets without returning the logits.

        Args:
            inputs: (T, B).
            targets: (T, B).
            state: the state before the window.
            smoothing: share of each target that is spread over all symbols.
        Returns:
            The mean smoothed cross entropy, the plain one, and the state after the window.
        """
        # Nothing is called that need not be, so that there are few calls before the kernels.
        hidden, state = self.recurrent.run(self.embed(inputs), state)  # (T, B, H)
        hidden, output = self._drop_outputs(hidden), self.decoder
        return *self.recurrent.cost(hidden, output.weight, output.bias, targets, smoothing), state

    def embed(self, ids: Tensor) -> Tensor:
        """Return what the first layer reads: ids (T, B) for one-hot inputs, else vectors (T, B, E)."""
        return ids if self.vectors is None else embedding(ids, self.vectors)

    def _drop_outputs(self, hidden: Tensor) -> Tensor:
        if not self.training:
            return hidden
        return drop(hidden, self.model.output_dropout, is_locked=self.model.locked_dropout)

    def initial_state(self, batch_size: int) -> State:
        """Return the state before any character, each (L, B, H): zeros, or the learned values."""
        if not self.initial:
            return zero_state(self.model, batch_size, like=self.decoder.weight)
        return tuple(part.unsqueeze(1).repeat(1, batch_size, 1) for part in self.initial)


def initialise_model(network: CharLM, model: ModelSettings, generator: torch.Generator) -> None:
    """Fill a model's parameters in place, with the same values for every implementation."""
    initialise_stack(network.recurrent, model, generator)
    initialise_linear(network.decoder, model, generator)
    if network.embedding is not None:
        initialise_embedding(network.embedding, generator)
