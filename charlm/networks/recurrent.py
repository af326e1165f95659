"""What RNN, GRU and LSTM stacks have in common in every implementation: their interface, parameters and states.

A state is a tuple of tensors (L, B, H): (h,) for rnn and gru, (h, c) for lstm. It is passed in and out; no module
remembers one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from charlm.networks.shapes import layer_shapes
from charlm.settings.model import ModelSettings
from charlm.settings.training import ChosenPrecision

State = tuple[Tensor, ...]


class LayerWeights(NamedTuple):
    """The weights and biases of one layer, with gate blocks as in torch.nn."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor
    bias_hh: Tensor


class Stack(nn.Module, ABC):
    """Recurrent layers on top of each other; each of the three implementations is one.

    All implementations keep the same parameters under torch.nn's names, so that one checkpoint fits all of them, and
    their results are equal within rounding.

    Attributes:
        model: the network's settings.
        precision: what its products are computed in while it is trained; evaluation is always in float32.
    """

    model: ModelSettings
    precision: ChosenPrecision = "float32"

    @staticmethod
    @abstractmethod
    def missing(model: ModelSettings, device: str) -> str | None:
        """Return a clause that says which of the settings is not supported on a device, or None."""

    @abstractmethod
    def run(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the stack over a window.

        Args:
            inputs: ids (T, B) for one-hot inputs, else features (T, B, E).
            state: the state before the window, each (L, B, H).
        Returns:
            The last layer's outputs (T, B, H), and the state after the window.
        """

    @abstractmethod
    def decode(self, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the output layer's logits (..., V) of hidden states (..., H)."""

    @abstractmethod
    def cost(
        self, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float
    ) -> tuple[Tensor, Tensor]:
        """Return what `mean_costs` does for the output layer's logits of hidden states (T, B, H)."""


def register_weights(stack: Stack, model: ModelSettings, vocab_size: int) -> None:
    """Give a stack its parameters, uninitialised, under torch.nn's names."""
    for layer in range(model.num_layers):
        columns = model.hidden_size if layer > 0 else model.embedding_size or vocab_size
        for kind, shape in layer_shapes(model, columns).items():
            stack.register_parameter(f"{kind}_l{layer}", nn.Parameter(torch.empty(shape)))


def zero_state(model: ModelSettings, batch_size: int, like: Tensor) -> State:
    """Return the state before any character: zeros (L, B, H), with the dtype and device of `like`."""
    zeros = like.new_zeros(model.num_layers, batch_size, model.hidden_size)
    return (zeros, zeros) if model.cell == "lstm" else (zeros,)


def detach_state(state: State) -> State:
    """Return the state's values without their graph, so that back-propagation stops here."""
    return tuple(part.detach() for part in state)


def join_layers(states: Sequence[State]) -> State:
    """Join the layers' states, each (B, H), into the stack's state, each (L, B, H)."""
    return tuple(torch.stack(parts) for parts in zip(*states, strict=True))


def last_outputs(model: ModelSettings, state: State) -> Tensor:
    """Return the last layer's output at a state, (B, H); with residual connections this is the sum over all layers."""
    return state[0].sum(0) if model.residual else state[0][-1]
