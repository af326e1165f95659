"""The values of a network's units at every character of a text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from charlm.errors import ConfigError
from charlm.insight.traces import LayerTrace, Piece, trace_text
from charlm.networks.language_model import CharLM
from charlm.networks.modes import single_threaded
from charlm.networks.shapes import num_states
from charlm.settings.model import Cell, ModelSettings
from charlm.text.vocabulary import Ids

Floats = npt.NDArray[np.float32]
StateName = Literal["h", "c"]
# What a unit has at each character: states, gates, and the candidate for its state.
PARTS: dict[Cell, str] = {"rnn": "h", "gru": "hrzn", "lstm": "hcifgo"}


class Unit(NamedTuple):
    """The hidden or the cell state of one unit; layers and units count from 1."""

    layer: int
    unit: int
    state: StateName


class UnitStates:
    """Keep the states of all units at every character, piece by piece; memory is 4 bytes for each number.

    Args:
        model: the settings of the network whose traces are kept.
        num_chars: N, the length of the text.

    Attributes:
        values: (N, units), float32, in the model's reading order; `at` names the unit of a column.
    """

    def __init__(self, model: ModelSettings, num_chars: int) -> None:
        self.model = model
        self.values = np.zeros((num_chars, model.num_layers * num_states(model) * model.hidden_size), np.float32)

    @single_threaded()
    def add(self, piece: Piece) -> None:
        """Add a piece of a traced text."""
        parts = [part.flatten(0, 1) for trace in piece.layers for part in trace.after]  # each (T * B, H)
        self.values[piece.places.ravel()] = torch.cat(parts, dim=1).float().cpu().numpy()

    def at(self, column: int) -> Unit:
        """Return which unit has a column of the values."""
        row, unit = divmod(column, self.model.hidden_size)
        layer, part = divmod(row, num_states(self.model))
        return Unit(layer + 1, unit + 1, "c" if part else "h")


def unit_values(
    network: CharLM,
    ids: Ids,
    *,
    layer: int,
    unit: int,
    part: str = "h",
    boundary: int | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Floats:
    """Return one number of one unit at every character of a text, (N,), in the order of the ids.

    Args:
        network: a causal model, or a half of a bidirectional one.
        ids: the text in the model's reading order, (N,).
        layer: the unit's layer, from 1.
        unit: the unit's number in its layer, from 1.
        part: h, its hidden state after the character; for the lstm also c, its cell state, and i, f, g, o; for the gru
            also r, z and n.
        boundary: the id with which each item begins; None for a running text.
        report: called with the number of characters done and their total.
    Raises:
        ConfigError: for a layer, a unit or a part that the network does not have.
    """
    _refuse_missing(network.model, layer, unit, part)
    values = np.zeros(len(ids), np.float32)
    for piece in trace_text(network, ids, boundary=boundary, report=report):
        values[piece.places] = _part(piece.layers[layer - 1], part)[..., unit - 1].cpu().numpy()
    return values


def _part(trace: LayerTrace, part: str) -> Tensor:
    states = dict(zip("hc", trace.after, strict=False))
    return states[part] if part in states else trace.gates[part]


def _refuse_missing(model: ModelSettings, layer: int, unit: int, part: str) -> None:
    for what, number, most in (("layer", layer, model.num_layers), ("unit", unit, model.hidden_size)):
        if not 1 <= number <= most:
            has = f"its {what}s are 1 to {most}" if most > 1 else f"it has only {what} 1"
            raise ConfigError(f"the network has no {what} {number}: {has}")
    if part not in tuple(PARTS[model.cell]):
        raise ConfigError(f"a unit of the {model.cell} has no {part!r}: choose from {', '.join(PARTS[model.cell])}")
