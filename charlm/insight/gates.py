"""How a network uses its gates: how often they are shut or open, and how long what a unit holds lasts.

The shares are those of the saturation plot of Karpathy, Johnson and Li 2015: for each unit, the fraction of the time
during which its gate is shut (below 0.1) and open (above 0.9). An RNN has no gates; there the units themselves are
counted that are at an end of their activation's range.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from charlm.insight.traces import LayerTrace, Piece
from charlm.networks.modes import single_threaded
from charlm.settings.model import Activation, ModelSettings

GATE_NAMES = {"i": "input", "f": "forget", "o": "output", "r": "reset", "z": "update", "h": "hidden"}
GATES = {"lstm": "ifo", "gru": "rz", "rnn": "h"}
# The gate that keeps what a unit holds.
KEEPERS = {"lstm": "f", "gru": "z"}
SHUT, OPEN = 0.1, 0.9
ENDS: dict[Activation, tuple[float, float | None]] = {"tanh": (-0.9, 0.9), "sigmoid": (SHUT, OPEN), "relu": (0.0, None)}
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
# In float32 a gate so close to 1 can hardly be told from 1 itself.
MAX_CHARS = 1_000_000.0


@dataclass(frozen=True)
class GateShares:
    """The shares of (characters x units) at which a gate is shut and open.

    Args:
        layer: the layer's number, from 1.
        gate: the gate's name; `hidden` for the units of an RNN.
        letter: its letter in the equations.
        low: below this it counts as shut: 0.1, or -0.9 for tanh units. Units of relu count where they are exactly 0.
        high: above this it counts as open: 0.9; None for relu, which has no upper end.
        below: the share that is shut.
        above: the share that is open; 0 for relu.
        units: the two shares of each unit, from the first.
    """

    layer: int
    gate: str
    letter: str
    low: float
    high: float | None
    below: float
    above: float
    units: tuple[tuple[float, float], ...]

    @property
    def num_never(self) -> int:
        """How many units were shut all the time: the dead ones of an RNN with relu."""
        return sum(below == 1.0 for below, _ in self.units)


@dataclass(frozen=True)
class TimeConstants:
    """How long what a unit holds lasts if nothing is added, from the forget gate f or the update gate z.

    A value that is multiplied by k_1, k_2, ... falls to 1/e within tau characters of an average text if the mean of
    -ln k is 1 / tau, so

        tau = -1 / mean(ln k)        k = f or z; with zoneout at the rate d, k = d + (1 - d) * f

    where the mean is over all characters. It is 0 for a gate that was ever entirely shut, and at most 1,000,000.

    Args:
        layer: the layer's number, from 1.
        gate: forget or update.
        letter: f or z.
        quantiles: of the units' time constants, in characters, at QUANTILES: 10, 25, 50, 75 and 90 %.
        units: the time constant of each unit, from the first.
    """

    layer: int
    gate: str
    letter: str
    quantiles: tuple[float, ...]
    units: tuple[float, ...]


class GateCounter:
    """Count how often gates are shut and open, piece by piece; memory is a few numbers for each unit.

    Args:
        model: the settings of the network whose traces are counted.
    """

    def __init__(self, model: ModelSettings) -> None:
        self.model = model
        self.low, self.high = ENDS[model.nonlinearity] if model.cell == "rnn" else (SHUT, OPEN)
        self._num_chars = 0
        sizes = (model.num_layers, len(GATES[model.cell]), model.hidden_size)
        self._below, self._above = np.zeros(sizes, np.int64), np.zeros(sizes, np.int64)
        self._logs = np.zeros((model.num_layers, model.hidden_size))

    @single_threaded()
    def add(self, piece: Piece) -> None:
        """Add a piece of a traced text."""
        self._num_chars += piece.places.size
        for layer, trace in enumerate(piece.layers):
            for number, letter in enumerate(GATES[self.model.cell]):
                values = self._values(trace, letter)
                is_below = values <= 0.0 if self.high is None else values < self.low
                self._below[layer, number] += _count(is_below)
                if self.high is not None:
                    self._above[layer, number] += _count(values > self.high)
            if self.model.cell in KEEPERS:
                kept = self._kept(trace.gates[KEEPERS[self.model.cell]].double())
                self._logs[layer] += kept.log().sum((0, 1)).cpu().numpy()

    def shares(self) -> tuple[GateShares, ...]:
        """Return the shares of all gates in all layers, of all pieces so far."""
        return tuple(
            self._shares(layer, number)
            for layer in range(self.model.num_layers)
            for number in range(len(GATES[self.model.cell]))
        )

    def time_constants(self) -> tuple[TimeConstants, ...]:
        """Return the time constants of all layers, of all pieces so far; none for an RNN, which keeps nothing."""
        letter = KEEPERS.get(self.model.cell)
        if letter is None:
            return ()
        with np.errstate(divide="ignore"):
            taus = np.minimum(self._num_chars / np.abs(self._logs), MAX_CHARS)  # (L, H)
        return tuple(
            TimeConstants(
                layer=layer,
                gate=GATE_NAMES[letter],
                letter=letter,
                quantiles=tuple(np.quantile(units, QUANTILES).tolist()),
                units=tuple(units.tolist()),
            )
            for layer, units in enumerate(taus, 1)
        )

    def _values(self, trace: LayerTrace, letter: str) -> Tensor:
        return trace.after[0] if letter == "h" else trace.gates[letter]

    def _kept(self, gate: Tensor) -> Tensor:
        """Return the share of its value that a unit keeps at a step, with zoneout taken into account."""
        rate = (self.model.zoneout_cells or 0.0) if self.model.cell == "lstm" else self.model.zoneout
        return rate + (1 - rate) * gate

    def _shares(self, layer: int, number: int) -> GateShares:
        letter = GATES[self.model.cell][number]
        below, above = (counts[layer, number] / self._num_chars for counts in (self._below, self._above))  # (H,)
        return GateShares(
            layer=layer + 1,
            gate=GATE_NAMES[letter],
            letter=letter,
            low=self.low,
            high=self.high,
            below=float(below.mean()),
            above=float(above.mean()),
            units=tuple(zip(below.tolist(), above.tolist(), strict=True)),
        )


def _count(which: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Return how often each unit is marked, (H,)."""
    return torch.sum(which, (0, 1)).cpu().numpy()
