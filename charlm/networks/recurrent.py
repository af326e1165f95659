"""RNN, GRU and LSTM over time and depth: the plain loop over our cells, which the fast twins must equal.

All keep the same parameters under torch.nn's names, so that one checkpoint fits all. A state is a tuple of tensors
(L, B, H): (h,) for rnn and gru, (h, c) for lstm; it is passed in and out, no module remembers one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, embedding

from charlm.networks.cells import ACTIVATIONS, Norms, gru_cell, lstm_cell, rnn_cell
from charlm.networks.dropping import drop, drop_symbols, zone_out
from charlm.settings.model import Activation, Cell, ModelSettings

State = tuple[Tensor, ...]
NUM_GATES: dict[Cell, int] = {"rnn": 1, "gru": 3, "lstm": 4}
PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class LayerWeights(NamedTuple):
    """What one layer multiplies with and adds, its gate blocks as in torch.nn."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor
    bias_hh: Tensor


# Runs one layer over a window: its number, inputs, state before (each (B, H)) and weights give outputs and state after.
RunLayer = Callable[[int, Tensor, State, LayerWeights], tuple[Tensor, State]]


@dataclass(frozen=True)
class StackShape:
    """What a stack of recurrent layers computes, whatever computes it.

    Args:
        cell: rnn, gru or lstm.
        input_size: V for one-hot inputs, E for embedded ones.
        hidden_size: H.
        num_layers: L.
        dropout: probability between layers, while training, as the others.
        is_one_hot: whether inputs are ids that stand for one-hot vectors.
        activation: of the rnn cell.
        reset_after: of the gru cell.
        input_dropout: probability of the first layer's inputs.
        locked_dropout: whether a window has one mask for all its characters.
        recurrent_dropout: probability of the recurrent weights themselves (DropConnect, Merity et al. 2017).
        zoneout: probability that a hidden unit keeps its value.
        zoneout_cells: that a cell of the lstm does.
        layer_norm: whether the cells normalise what they add up.
        residual: whether what goes into a layer is added to what comes out, from the second layer on.
    """

    cell: Cell
    input_size: int
    hidden_size: int
    num_layers: int = 1
    dropout: float = 0.0
    is_one_hot: bool = False
    activation: Activation = "tanh"
    reset_after: bool = True
    input_dropout: float = 0.0
    locked_dropout: bool = False
    recurrent_dropout: float = 0.0
    zoneout: float = 0.0
    zoneout_cells: float = 0.0
    layer_norm: bool = False
    residual: bool = False

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
        input_dropout=model.input_dropout,
        locked_dropout=model.locked_dropout,
        recurrent_dropout=model.recurrent_dropout,
        zoneout=model.zoneout,
        zoneout_cells=model.zoneout_cells or 0.0,
        layer_norm=model.layer_norm,
        residual=model.residual,
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
        if shape.layer_norm:
            sizes |= {f"gain_ih_l{layer}": (rows,), f"gain_hh_l{layer}": (rows,)}
            if shape.cell == "lstm":
                sizes |= {f"gain_c_l{layer}": (shape.hidden_size,), f"bias_c_l{layer}": (shape.hidden_size,)}
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


def run_layers(
    stack: nn.Module, shape: StackShape, inputs: Tensor, state: State, run_layer: RunLayer
) -> tuple[Tensor, State]:
    """Run a stack over a window, layer by layer, with all that acts between and on the layers.

    Masks are drawn here, in one order, so that every implementation draws the same.

    Args:
        stack: what holds the parameters.
        shape: of the stack.
        inputs: ids (T, B) where the stack is one-hot, else features (T, B, E).
        state: before the window, each (L, B, H).
        run_layer: an implementation of one layer.
    Returns:
        What the last layer puts out (T, B, H), and the state after the window.
    """
    layer_states: list[State] = []
    for layer in range(shape.num_layers):
        weights = LayerWeights(*(getattr(stack, f"{kind}_l{layer}") for kind in PARAMETERS))
        below = inputs
        if stack.training:
            inputs, weights = _drop_some(shape, layer, inputs, weights)
        outputs, after = run_layer(layer, inputs, tuple(part[layer] for part in state), weights)
        inputs = outputs + below if shape.residual and layer > 0 else outputs
        layer_states.append(after)
    return inputs, tuple(torch.stack(parts) for parts in zip(*layer_states, strict=True))


def last_outputs(shape: StackShape, state: State) -> Tensor:
    """Return what the last layer put out where a state was left, (B, H): with residual connections all layers' sum."""
    return state[0].sum(0) if shape.residual else state[0][-1]


def _drop_some(shape: StackShape, layer: int, inputs: Tensor, weights: LayerWeights) -> tuple[Tensor, LayerWeights]:
    """Drop some of a layer's inputs and recurrent weights."""
    if layer > 0:
        inputs = drop(inputs, shape.dropout, is_locked=shape.locked_dropout)
    elif shape.is_one_hot:
        inputs, columns = drop_symbols(inputs, weights.weight_ih, shape.input_dropout, is_locked=shape.locked_dropout)
        weights = weights._replace(weight_ih=columns)
    else:
        inputs = drop(inputs, shape.input_dropout, is_locked=shape.locked_dropout)
    if shape.recurrent_dropout > 0:
        weights = weights._replace(weight_hh=dropout(weights.weight_hh, shape.recurrent_dropout))
    return inputs, weights


def run_cells(stack: nn.Module, shape: StackShape, inputs: Tensor, state: State) -> tuple[Tensor, State]:
    """Run our cells over a window, with the parameters of any implementation; see `run_layers`."""

    def run_layer(layer: int, inputs: Tensor, state: State, weights: LayerWeights) -> tuple[Tensor, State]:
        weight_ih: Tensor | None = weights.weight_ih
        if layer == 0 and shape.is_one_hot:
            # W x of a one-hot x is a column of W: a look-up, once for the whole window.
            inputs, weight_ih = embedding(inputs, weights.weight_ih.t()), None  # (T, B, rows)
        norms = _layer_norms(stack, shape, layer) if shape.layer_norm else None
        rates = (shape.zoneout, shape.zoneout_cells)
        outputs: list[Tensor] = []
        for x_t in inputs.unbind(0):
            new = _advance(shape, x_t, state, (weight_ih, *weights[1:]), norms)
            state = tuple(
                zone_out(after, before, rate, is_training=stack.training)
                for after, before, rate in zip(new, state, rates, strict=False)
            )
            outputs.append(state[0])
        return torch.stack(outputs), state  # (T, B, H)

    return run_layers(stack, shape, inputs, state, run_layer)


def _layer_norms(stack: nn.Module, shape: StackShape, layer: int) -> Norms:
    kinds = ("gain_ih", "gain_hh", *(("gain_c", "bias_c") if shape.cell == "lstm" else ()))
    return Norms(*(getattr(stack, f"{kind}_l{layer}") for kind in kinds))


def _advance(
    shape: StackShape,
    x: Tensor,
    state: State,
    weights: tuple[Tensor | None, Tensor, Tensor, Tensor],
    norms: Norms | None,
) -> State:
    if shape.cell == "lstm":
        h, c = state
        return lstm_cell(x, (h, c), *weights, norms)
    (h,) = state
    if shape.cell == "gru":
        return (gru_cell(x, h, *weights, shape.reset_after, norms),)
    return (rnn_cell(x, h, *weights, ACTIVATIONS[shape.activation], norms),)


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
