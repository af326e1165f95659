"""RNN, GRU and LSTM over time and depth: the plain loop over our cells, which the fast twins must equal.

All keep the same parameters under torch.nn's names, so that one checkpoint fits all. A state is a tuple of tensors
(L, B, H): (h,) for rnn and gru, (h, c) for lstm; it is passed in and out, no module remembers one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, embedding

from charlm.networks.cells import ACTIVATIONS, gru_cell, lstm_cell, rnn_cell
from charlm.settings.schema import Activation, Cell, ModelSettings

State = tuple[Tensor, ...]
NUM_GATES: dict[Cell, int] = {"rnn": 1, "gru": 3, "lstm": 4}
PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


@dataclass(frozen=True)
class StackShape:
    """What a stack of recurrent layers computes, whatever computes it.

    Args:
        cell: rnn, gru or lstm.
        input_size: V for one-hot inputs, E for embedded ones.
        hidden_size: H.
        num_layers: L.
        dropout: probability between layers, while training.
        is_one_hot: whether inputs are ids that stand for one-hot vectors.
        activation: of the rnn cell.
        reset_after: of the gru cell.
    """

    cell: Cell
    input_size: int
    hidden_size: int
    num_layers: int = 1
    dropout: float = 0.0
    is_one_hot: bool = False
    activation: Activation = "tanh"
    reset_after: bool = True

    def layer_input_size(self, layer: int) -> int:
        """Return how many features reach a layer."""
        return self.input_size if layer == 0 else self.hidden_size


def stack_shape(model: ModelSettings, vocab_size: int) -> StackShape:
    """Read a stack's shape off the settings."""
    return StackShape(
        cell=model.cell,
        input_size=model.embedding_size or vocab_size,
        hidden_size=model.hidden_size,
        num_layers=model.num_layers,
        dropout=model.dropout,
        is_one_hot=model.embedding_size is None,
        activation=model.activation or "tanh",
        reset_after=model.reset_after is not False,
    )


def register_weights(stack: nn.Module, shape: StackShape) -> None:
    """Give a module a stack's parameters, uninitialised, under torch.nn's names."""
    rows = NUM_GATES[shape.cell] * shape.hidden_size
    for layer in range(shape.num_layers):
        sizes = {
            f"weight_ih_l{layer}": (rows, shape.layer_input_size(layer)),
            f"weight_hh_l{layer}": (rows, shape.hidden_size),
            f"bias_ih_l{layer}": (rows,),
            f"bias_hh_l{layer}": (rows,),
        }
        for name, size in sizes.items():
            stack.register_parameter(name, nn.Parameter(torch.empty(size)))


class ReferenceStack(nn.Module):
    """Our cells in a plain loop over depth and time."""

    def __init__(self, shape: StackShape) -> None:
        super().__init__()
        self.shape = shape
        register_weights(self, shape)

    def forward(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Run the stack over a window; see `run_cells`."""
        return run_cells(self, self.shape, inputs, state)


def run_cells(stack: nn.Module, shape: StackShape, inputs: Tensor, state: State) -> tuple[Tensor, State]:
    """Run our cells over a window, with the parameters of any implementation.

    Args:
        stack: what holds the parameters.
        shape: of the stack.
        inputs: ids (T, B) where the stack is one-hot, else features (T, B, E).
        state: before the window, each (L, B, H).
    Returns:
        Hidden states of the last layer (T, B, H), and the state after the window.
    """
    layer_states: list[State] = []
    for layer in range(shape.num_layers):
        if layer > 0:
            inputs = dropout(inputs, shape.dropout, stack.training)
        weights: list[Tensor | None] = [getattr(stack, f"{kind}_l{layer}") for kind in PARAMETERS]
        if layer == 0 and shape.is_one_hot:
            # W x of a one-hot x is a column of W: a look-up, once for the whole window.
            inputs = embedding(inputs, cast("Tensor", weights[0]).t())  # (T, B, rows)
            weights[0] = None
        h_t = tuple(part[layer] for part in state)
        outputs: list[Tensor] = []
        for x_t in inputs.unbind(0):
            h_t = _advance(shape, x_t, h_t, weights)
            outputs.append(h_t[0])
        inputs = torch.stack(outputs)  # (T, B, H)
        layer_states.append(h_t)
    return inputs, tuple(torch.stack(parts) for parts in zip(*layer_states, strict=True))


def _advance(shape: StackShape, x: Tensor, state: State, weights: list[Tensor | None]) -> State:
    weight_ih, *rest = weights
    weight_hh, bias_ih, bias_hh = cast("list[Tensor]", rest)
    if shape.cell == "lstm":
        h, c = state
        return lstm_cell(x, (h, c), weight_ih, weight_hh, bias_ih, bias_hh)
    (h,) = state
    if shape.cell == "gru":
        return (gru_cell(x, h, weight_ih, weight_hh, bias_ih, bias_hh, shape.reset_after),)
    return (rnn_cell(x, h, weight_ih, weight_hh, bias_ih, bias_hh, ACTIVATIONS[shape.activation]),)


def one_hot(ids: Tensor, num_symbols: int, dtype: torch.dtype) -> Tensor:
    """Return one-hot vectors, (..., V), in the dtype the network computes in."""
    vectors = torch.zeros(*ids.shape, num_symbols, dtype=dtype, device=ids.device)
    return vectors.scatter_(-1, ids.unsqueeze(-1), 1.0)


def zero_state(shape: StackShape, batch_size: int, like: Tensor) -> State:
    """Return the state before any character: zeros (L, B, H), with the dtype and device of `like`."""
    zeros = like.new_zeros(shape.num_layers, batch_size, shape.hidden_size)
    return (zeros, zeros) if shape.cell == "lstm" else (zeros,)


def detach_state(state: State) -> State:
    """Return the state's values without their history: back-propagation stops here."""
    return tuple(part.detach() for part in state)
