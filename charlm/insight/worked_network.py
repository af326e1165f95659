"""What the worked steps need of a network: its forward half in double precision, read one layer and step at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from charlm.errors import ConfigError, DivergedError
from charlm.networks.affine import Vectors, look_up
from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.building import Network
from charlm.networks.language_model import CharLM
from charlm.networks.layers import enter_layer, leave_layer
from charlm.networks.leaky import LeakyLM
from charlm.networks.recurrent import LayerWeights, State
from charlm.networks.reference import layer_gates, trace_cells

CELL_NAMES = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}


@dataclass(frozen=True)
class LayerReading:
    """What one layer has read and computed over a text.

    Args:
        layer: its number, from 0.
        weights: its weights and biases.
        inputs: what it read at each step, each (1, E).
        states: the state before the first step, and after each; each part is (1, H).
        gates: its gates and its candidate by their letters, each (T, 1, H); see `layer_gates`.
        below: the outputs of the layer below, or the network's inputs, (T, 1, ...).
        outputs: what it passes up, (T, 1, H).
    """

    layer: int
    weights: LayerWeights
    inputs: Sequence[Vectors]
    states: list[State]
    gates: Mapping[str, Tensor]
    below: Tensor
    outputs: Tensor


def plain_network(network: Network) -> CharLM:
    """Return a causal network with the weights of another in double precision, run by the reference implementation.

    A bidirectional network gives its forward half.

    Raises:
        ConfigError: for a leaky network, which reads its own target.
    """
    if isinstance(network, LeakyLM):
        raise ConfigError("a leaky model has no worked step: it reads each character before it predicts it")
    causal = network.forward_half if isinstance(network, BidirectionalLM) else network
    plain = CharLM(causal.model, causal.vocab_size, "reference").double()
    plain.load_state_dict(causal.state_dict())
    return plain.eval()


def describe_network(network: CharLM) -> str:
    """Return a network in a few words.

    Example: `LSTM, 2 layers of 224 units`.
    """
    model = network.model
    layers = "1 layer" if model.num_layers == 1 else f"{model.num_layers} layers"
    return f"{CELL_NAMES[model.cell]}, {layers} of {model.hidden_size:,} units"


def column_of(ids: tuple[int, ...]) -> Tensor:
    """Return ids as a window of one text, (T, 1)."""
    return torch.tensor(ids, dtype=torch.int64)[:, None]


def state_after(network: CharLM, ids: tuple[int, ...]) -> State:
    """Return the state after some characters from the initial one, each (L, 1, H), without its graph."""
    with torch.no_grad():
        state = network.initial_state(1)
        return network.read(column_of(ids), state)[1] if ids else state


def read_layers(network: CharLM, ids: tuple[int, ...], state: State) -> list[LayerReading]:
    """Read a text, and return what each layer reads and computes.

    Args:
        network: a network from `plain_network`.
        ids: at least one.
        state: the state before them, each (L, 1, H).
    """
    stack, readings = network.recurrent, list[LayerReading]()
    below = network.embed(column_of(ids))
    _, states = trace_cells(stack, below, state)
    for layer, steps in enumerate(states):
        features, weights = enter_layer(stack, layer, below)
        inputs = list(features.unbind(0)) if features.is_floating_point() else look_up(features, weights.weight_ih)
        path = [tuple(part[layer] for part in state), *steps]
        hidden = torch.stack([each[0] for each in path])  # (T + 1, 1, H)
        outputs = leave_layer(stack, layer, below, hidden[1:])
        gates = layer_gates(stack, layer, below, hidden[:-1])
        readings.append(LayerReading(layer, weights, inputs, path, gates, below, outputs))
        below = outputs
    return readings


def log_probabilities(network: CharLM, hidden: Tensor) -> Tensor:
    """Return the natural logarithms of all symbols' probabilities, (..., V), from the last layer's outputs (..., H).

    Raises:
        DivergedError: where one is not a number.
    """
    log_p = network.decode(hidden).log_softmax(-1)
    if not math.isfinite(float(log_p.detach().sum())):
        raise DivergedError("a probability is not a number: the network has diverged, so it has no worked step")
    return log_p


def busiest_unit(before: Tensor, after: Tensor) -> int:
    """Return the unit whose value changes most between two states, each (1, H); the first of equals."""
    return int((after - before).abs().argmax())


def length_of(vector: Tensor) -> float:
    """Return the length of all numbers of a tensor as one vector."""
    return math.sqrt(float(vector.detach().double().square().sum()))
