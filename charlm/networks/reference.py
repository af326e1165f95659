"""The reference implementation: the cells of cells.py and variants.py in a plain loop over depth and time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import linear

from charlm.networks.affine import Vectors, look_up
from charlm.networks.cells import ACTIVATIONS, gru_cell, lstm_cell, rnn_cell
from charlm.networks.layers import enter_layer, leave_layer
from charlm.networks.recurrent import LayerWeights, Stack, State, join_layers, register_weights
from charlm.networks.shapes import norm_names
from charlm.networks.variants import (
    gru_cell_reset_before,
    layer_norm_gru_cell,
    layer_norm_lstm_cell,
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

    @staticmethod
    def decode(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the logits as torch computes them."""
        return linear(hidden, weight, bias)


def run_cells(stack: Stack, inputs: Tensor, state: State) -> tuple[Tensor, State]:
    """Run our cells over a window with the parameters of any implementation; see `Stack.run`."""
    states: list[State] = []
    for layer in range(stack.model.num_layers):
        features, weights = enter_layer(stack, layer, inputs)
        outputs, after = _run_layer(stack, layer, features, tuple([part[layer] for part in state]), weights)
        inputs = leave_layer(stack, layer, inputs, outputs)
        states.append(after)
    return inputs, join_layers(states)


def _run_layer(stack: Stack, layer: int, inputs: Tensor, state: State, weights: LayerWeights) -> tuple[Tensor, State]:
    model = stack.model
    norms = [getattr(stack, f"{name}_l{layer}") for name in norm_names(model)] if model.layer_norm else []
    steps = inputs.unbind(0) if inputs.is_floating_point() else look_up(inputs, weights.weight_ih)
    rates = (model.zoneout, model.zoneout_cells or 0.0)
    outputs: list[Tensor] = []
    for x in steps:
        before, state = state, _advance(model, x, state, (*weights, *norms))
        if any(rates):
            state = tuple(
                zone_out(new, old, rate, is_training=stack.training)
                for new, old, rate in zip(state, before, rates, strict=False)
            )
        outputs.append(state[0])
    return torch.stack(outputs), state  # (T, B, H)


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
