"""What RNN, GRU and LSTM stacks have in common, whichever twin runs them: their interface, parameters and states.

A state is a tuple of tensors (L, B, H): (h,) for rnn and gru, (h, c) for lstm; it is passed in and out, no module
remembers one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from charlm.settings.model import Cell, ModelSettings

State = tuple[Tensor, ...]
NUM_GATES: dict[Cell, int] = {"rnn": 1, "gru": 3, "lstm": 4}


class LayerWeights(NamedTuple):
    """What one layer multiplies with and adds, its gate blocks as in torch.nn."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor
    bias_hh: Tensor


class Stack(nn.Module, ABC):
    """Recurrent layers on top of each other: what each of the three twins is.

    All twins keep the same parameters under torch.nn's names, so that one checkpoint fits all, and equal each other
    within rounding.

    Attributes:
        model: the network's settings.
    """

    model: ModelSettings

    @staticmethod
    @abstractmethod
    def missing(model: ModelSettings, device: str) -> str | None:
        """Say in a clause what of these settings this twin does not have on a device, or return None."""

    @abstractmethod
    def run(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the stack over a window.

        Args:
            inputs: ids (T, B) for one-hot inputs, else features (T, B, E).
            state: before the window, each (L, B, H).
        Returns:
            What the last layer puts out (T, B, H), and the state after the window.
        """

    @staticmethod
    @abstractmethod
    def decode(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the output layer's logits (..., V) of hidden states (..., H), as this twin computes the product."""


def norm_names(model: ModelSettings) -> tuple[str, ...]:
    """Name what layer normalisation learns of a layer, in the order in which the cells take it."""
    if not model.layer_norm:
        return ()
    return ("gain_ih", "gain_hh", "gain_c", "bias_c") if model.cell == "lstm" else ("gain_ih", "gain_hh")


def register_weights(stack: Stack, model: ModelSettings, vocab_size: int) -> None:
    """Give a stack its parameters, uninitialised, under torch.nn's names."""
    H = model.hidden_size
    rows = NUM_GATES[model.cell] * H
    for layer in range(model.num_layers):
        columns = H if layer > 0 else model.embedding_size or vocab_size
        sizes = {"weight_ih": (rows, columns), "weight_hh": (rows, H), "gain_c": (H,), "bias_c": (H,)}
        for kind in (*LayerWeights._fields, *norm_names(model)):
            stack.register_parameter(f"{kind}_l{layer}", nn.Parameter(torch.empty(sizes.get(kind, (rows,)))))


def zero_state(model: ModelSettings, batch_size: int, like: Tensor) -> State:
    """Return the state before any character: zeros (L, B, H), with the dtype and device of `like`."""
    zeros = like.new_zeros(model.num_layers, batch_size, model.hidden_size)
    return (zeros, zeros) if model.cell == "lstm" else (zeros,)


def detach_state(state: State) -> State:
    """Return the state's values without their history: back-propagation stops here."""
    return tuple(part.detach() for part in state)


def join_layers(states: Sequence[State]) -> State:
    """Return the layers' states, each (B, H), as the stack's, each (L, B, H)."""
    return tuple(torch.stack(parts) for parts in zip(*states, strict=True))


def last_outputs(model: ModelSettings, state: State) -> Tensor:
    """Return what the last layer put out where a state was left, (B, H): with residual connections all layers' sum."""
    return state[0].sum(0) if model.residual else state[0][-1]
