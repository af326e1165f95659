"""The reference implementation: the cells of cells.py and variants.py in a plain loop over depth and time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import linear

from charlm.networks.affine import Vectors, look_up, look_up_window
from charlm.networks.cells import ACTIVATIONS, gru_cell, gru_gates, lstm_cell, lstm_gates, rnn_cell
from charlm.networks.layers import enter_layer, leave_layer
from charlm.networks.losses import mean_costs
from charlm.networks.recurrent import LayerWeights, Stack, State, join_layers, register_weights
from charlm.networks.shapes import norm_names
from charlm.networks.variants import (
    gru_cell_reset_before,
    gru_gates_reset_before,
    layer_norm_gru_cell,
    layer_norm_gru_gates,
    layer_norm_lstm_cell,
    layer_norm_lstm_gates,
    layer_norm_rnn_cell,
    zone_out,
)
from charlm.settings.model import ModelSettings


class ReferenceStack(Stack):
    """Our cells, which the faster implementations must equal; they support every setting."""

    def __init__(self, model: ModelSettings, vocab_size: int) -> None:
        super().__init__()
        self.model = model
        register_weights(self, model, vocab_size)

    @staticmethod
    def missing(model: ModelSettings, device: str) -> None:
        """Return None."""

    def run(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Run our cells over a window."""
        return run_cells(self, inputs, state)

    def decode(self, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the logits as torch computes them."""
        return linear(hidden, weight, bias)

    def cost(
        self, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float
    ) -> tuple[Tensor, Tensor]:
        """Return the mean cross entropy of torch's logits."""
        return mean_costs(linear(hidden, weight, bias), targets, smoothing)


def run_cells(stack: Stack, inputs: Tensor, state: State) -> tuple[Tensor, State]:
    """Run our cells over a window with the parameters of any implementation; see `Stack.run`."""
    outputs, states = trace_cells(stack, inputs, state)
    return outputs, join_layers([steps[-1] for steps in states])


def trace_cells(stack: Stack, inputs: Tensor, state: State) -> tuple[Tensor, list[list[State]]]:
    """Run our cells over a window, and keep the state of each layer after each time step.

    Args:
        inputs: as for `Stack.run`.
        state: likewise.
    Returns:
        The last layer's outputs (T, B, H), and a list of T states for each layer, each of whose parts is (B, H).
    """
    states: list[list[State]] = []
    for layer in range(stack.model.num_layers):
        features, weights = enter_layer(stack, layer, inputs)
        states.append(_run_layer(stack, layer, features, tuple([part[layer] for part in state]), weights))
        outputs = torch.stack([after[0] for after in states[-1]])  # (T, B, H)
        inputs = leave_layer(stack, layer, inputs, outputs)
    return inputs, states


def _run_layer(stack: Stack, layer: int, inputs: Tensor, state: State, weights: LayerWeights) -> list[State]:
    steps = inputs.unbind(0) if inputs.is_floating_point() else look_up(inputs, weights.weight_ih)
    cell = layer_cell(stack, layer, weights)
    states: list[State] = []
    for x in steps:
        state = cell(x, state)
        states.append(state)
    return states


def layer_cell(stack: Stack, layer: int, weights: LayerWeights) -> Callable[[Vectors, State], State]:
    """Return the function that advances a layer's state, each part (B, H), by one time step, zoneout included."""
    model = stack.model
    parameters = _parameters(stack, layer, weights)
    rates = (model.zoneout, model.zoneout_cells or 0.0)
    if not any(rates):
        return lambda x, state: _advance(model, x, state, parameters)

    def advance(x: Vectors, state: State) -> State:
        after = _advance(model, x, state, parameters)
        parts = zip(after, state, rates, strict=False)
        return tuple(zone_out(new, old, rate, is_training=stack.training) for new, old, rate in parts)

    return advance


def _advance(model: ModelSettings, x: Vectors, state: State, weights: Sequence[Tensor]) -> State:
    """Advance one layer by one time step, with the cell that the settings name."""
    if model.cell == "lstm":
        h, c = state
        lstm = layer_norm_lstm_cell if model.layer_norm else lstm_cell
        return lstm(x, (h, c), *weights)
    (h,) = state
    if model.cell == "rnn":
        rnn = layer_norm_rnn_cell if model.layer_norm else rnn_cell
        return (rnn(x, h, *weights, activation=ACTIVATIONS[model.nonlinearity]),)
    if model.reset_after is False:
        return (gru_cell_reset_before(x, h, *weights),)
    gru = layer_norm_gru_cell if model.layer_norm else gru_cell
    return (gru(x, h, *weights),)


def layer_gates(stack: Stack, layer: int, inputs: Tensor, hidden: Tensor) -> dict[str, Tensor]:
    """Return the gates of a layer by their letters, each (T, B, H): i, f, g, o or r, z, n; an RNN has none.

    The gates of a step depend on its input and on the state before it alone: once the states are known, those of all
    steps are computed at once. They are those of evaluation, without dropout.

    Args:
        stack: the stack.
        layer: the layer's number, from 0.
        inputs: what the layer reads: ids (T, B) for one-hot inputs, else features (T, B, E).
        hidden: its hidden state before each step, (T, B, H).
    """
    model = stack.model
    weights = LayerWeights(*[getattr(stack, f"{kind}_l{layer}") for kind in LayerWeights._fields])
    x = inputs if inputs.is_floating_point() else look_up_window(inputs, weights.weight_ih)
    parameters = _parameters(stack, layer, weights)
    if model.cell == "lstm":
        # The last two normalise the cell state where it is read, behind the gates.
        lstm = (
            layer_norm_lstm_gates(x, hidden, *parameters[:-2]) if model.layer_norm else lstm_gates(x, hidden, *weights)
        )
        return dict(zip("ifgo", lstm, strict=True))
    if model.cell == "rnn":
        return {}
    if model.reset_after is False:
        return dict(zip("rzn", gru_gates_reset_before(x, hidden, *weights), strict=True))
    gru = layer_norm_gru_gates if model.layer_norm else gru_gates
    return dict(zip("rzn", gru(x, hidden, *parameters), strict=True))


def _parameters(stack: Stack, layer: int, weights: LayerWeights) -> tuple[Tensor, ...]:
    """Return all that a layer's cell takes: its weights, and the gains and biases of its norms."""
    return (*weights, *(getattr(stack, f"{name}_l{layer}") for name in norm_names(stack.model)))
