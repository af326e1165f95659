"""The chain rule of one window, followed back one time step after the other, and the same by autograd at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.autograd import grad

from charlm.insight.worked_network import LayerReading, busiest_unit, log_probabilities, read_layers
from charlm.networks.affine import Vectors
from charlm.networks.language_model import CharLM
from charlm.networks.layers import leave_layer
from charlm.networks.recurrent import State
from charlm.networks.reference import layer_cell

# The singular values of a larger Jacobian take too long.
MAX_STATE = 1_024


@dataclass(frozen=True)
class ChainStep:
    """What the chain rule does at one time step of the last layer.

    Args:
        before: dL/ds_{t-1}, each part (1, H).
        diagonal: the entry of the Jacobian ds_t/ds_{t-1} that belongs to the unit: of h, or of an LSTM's c.
        stretch: the largest singular value of that Jacobian; None for a large state.
        delta: the gradient of the chosen row's b_hh in this step alone.
        contribution: the gradient of the chosen weight in this step alone.
    """

    before: State
    diagonal: float
    stretch: float | None
    delta: float
    contribution: float


@dataclass(frozen=True)
class Chain:
    """The gradients of a window's last loss in its last layer.

    Args:
        reading: the layer's inputs and states.
        unit: the chosen unit.
        row: the chosen row of W_hh.
        column: the chosen column of W_hh.
        loss: the loss at the last step, in nats.
        errors: P - y, the gradient of the loss with respect to the logits, (V,).
        last: dL/ds after the last step, each part (1, H).
        steps: the time steps, the first one first.
        autograd_state: dL/ds before the window, by autograd over the whole window.
        autograd_weight: the gradient of the weight, by autograd over the whole window.
    """

    reading: LayerReading
    unit: int
    row: int
    column: int
    loss: float
    errors: Tensor
    last: State
    steps: list[ChainStep]
    autograd_state: State
    autograd_weight: float


def follow_chain(network: CharLM, ids: tuple[int, ...], state: State) -> Chain:
    """Follow the chain rule back through a window, and compare it with autograd.

    Args:
        network: a network from `plain_network`.
        ids: the window and, last, the character whose prediction is the loss.
        state: the state before the window, each (L, 1, H).
    """
    reading = read_layers(network, ids[:-1], state)[-1]
    start = tuple(part.detach().requires_grad_() for part in reading.states[0])
    weight = reading.weights.weight_hh
    log_p = _read_again(network, reading, start)
    loss = -log_p[ids[-1]]
    *of_start, of_weight = grad(loss, [*start, weight], materialize_grads=True)
    unit = busiest_unit(reading.states[-2][0], reading.states[-1][0])
    row = chosen_row(network, unit)
    column = int(of_weight[row].abs().argmax())
    errors = log_p.detach().exp()
    errors[ids[-1]] -= 1
    of_hidden = errors[None] @ network.decoder.weight.detach()
    last = (of_hidden, *(torch.zeros_like(of_hidden) for _ in start[1:]))
    steps, after = list[ChainStep](), last
    for t in range(len(reading.inputs), 0, -1):
        steps.insert(0, _step_back(network, reading, t, after, (unit, row, column)))
        after = steps[0].before
    found = (tuple(of_start), float(of_weight[row, column]))
    return Chain(reading, unit, row, column, float(loss.detach()), errors, last, steps, *found)


def chosen_row(network: CharLM, unit: int) -> int:
    """Return the row of W_hh that the chosen unit's weight is taken from: that of its candidate.

    A GRU that resets before the product multiplies its candidate's weights by r * h, so its update gate is taken.
    """
    model = network.model
    block = {"rnn": 0, "gru": 1 if model.reset_after is False else 2, "lstm": 2}[model.cell]
    return block * model.hidden_size + unit


def _read_again(network: CharLM, reading: LayerReading, state: State) -> Tensor:
    """Return the last step's logarithms of probabilities, (V,), as a function of the state before the window."""
    stack, layer = network.recurrent, reading.layer
    cell = layer_cell(stack, layer, reading.weights)
    for x in reading.inputs:
        state = cell(x, state)
    hidden = leave_layer(stack, layer, reading.below[-1:], state[0][None])  # (1, 1, H)
    return log_probabilities(network, hidden)[0, 0]


def _step_back(
    network: CharLM, reading: LayerReading, t: int, of_after: State, chosen: tuple[int, int, int]
) -> ChainStep:
    """Apply the chain rule to the step from s_{t-1}, held fixed, to s_t.

    Args:
        t: the number of the step, from 1.
        of_after: dL/ds_t.
        chosen: the unit, and the row and the column of the weight.
    """
    unit, row, column = chosen
    cell, x = layer_cell(network.recurrent, reading.layer, reading.weights), reading.inputs[t - 1]
    before = tuple(part.detach().requires_grad_() for part in reading.states[t - 1])
    after = cell(x, before)
    _, weight, _, bias = reading.weights
    *of_before, of_weight, of_bias = grad(
        after, [*before, weight, bias], of_after, retain_graph=True, materialize_grads=True
    )
    (diagonal,) = grad(after[-1][0, unit], before[-1], retain_graph=True, materialize_grads=True)
    numbers = (float(of_bias[row]), float(of_weight[row, column]))
    return ChainStep(tuple(of_before), float(diagonal[0, unit]), _stretch(cell, x, before), *numbers)


def _stretch(cell: Callable[[Vectors, State], State], x: Vectors, before: State) -> float | None:
    """Return the largest singular value of ds_t/ds_{t-1}."""
    size = sum(part.shape[1] for part in before)
    if size > MAX_STATE:
        return None
    # One row of the batch for each row of the Jacobian.
    rows = tuple(part.detach().repeat(size, 1).requires_grad_() for part in before)
    after = torch.cat(cell(x, rows), dim=-1)  # (S, S)
    jacobian = torch.cat(grad(after.diagonal().sum(), rows, materialize_grads=True), dim=-1)  # (S, S)
    return float(cast("Tensor", torch.linalg.matrix_norm(jacobian, 2)))
