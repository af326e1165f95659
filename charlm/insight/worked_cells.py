"""The equations of one layer at one time step, with the numbers of one unit and the norm of the whole layer.

Gates and states are those that the cells themselves return; here the sums inside them are taken apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from charlm.insight.worked_network import LayerReading, length_of
from charlm.insight.worked_records import Term, WorkedLine
from charlm.networks.affine import Vectors, multiply
from charlm.networks.recurrent import Stack, State
from charlm.networks.reference import layer_cell
from charlm.networks.variants import normalise
from charlm.settings.model import ModelSettings

# What torch's layer_norm adds to the variance.
EPSILON = 1e-5
Named = tuple[str, Tensor]
LETTERS = {"rnn": "h", "gru": "rzn", "lstm": "ifgo"}
NAMES = {
    "i": "input gate",
    "f": "forget gate",
    "g": "candidate",
    "o": "output gate",
    "r": "reset gate",
    "z": "update gate",
    "n": "candidate",
}


@dataclass(frozen=True)
class CellStep:
    """One layer at one time step.

    Args:
        stack: the recurrent layers.
        reading: what the layer has read and computed; the step is the last one.
        unit: the chosen unit.
    """

    stack: Stack
    reading: LayerReading
    unit: int

    @property
    def model(self) -> ModelSettings:
        """The network's settings."""
        return self.stack.model

    @property
    def x(self) -> Vectors:
        """What the layer reads, (1, E)."""
        return self.reading.inputs[-1]

    @property
    def before(self) -> State:
        """The state before the step, each part (1, H)."""
        return self.reading.states[-2]

    def gate(self, letter: str) -> Tensor:
        """Return a gate or the candidate, (1, H)."""
        return self.reading.gates[letter][-1]

    def rows(self, letter: str) -> slice:
        """Return the rows of a gate in the weights."""
        size, place = self.model.hidden_size, LETTERS[self.model.cell].index(letter)
        return slice(place * size, (place + 1) * size)

    def parameter(self, kind: str) -> Tensor:
        """Return a parameter of the layer, such as weight_ih or gain_c."""
        return getattr(self.stack, f"{kind}_l{self.reading.layer}")

    def plain_after(self) -> State:
        """Return the state after the step without zoneout, each part (1, H)."""
        bare = copy(self.stack)
        bare.model = self.model.replaced({"zoneout": 0.0, "zoneout_cells": None})
        return layer_cell(bare, self.reading.layer, self.reading.weights)(self.x, self.before)

    def line(self, symbol: str, formula: str, vector: Tensor, *terms: Named, meaning: str = "") -> WorkedLine:
        """Return an equation with the unit's numbers, from vectors (1, H)."""
        numbers = tuple(Term(name, self.of_unit(each)) for name, each in terms)
        return WorkedLine(symbol, formula, self.of_unit(vector), numbers, length_of(vector), meaning)

    def of_unit(self, vector: Tensor) -> float:
        """Return the unit's entry of a vector, (1, H), or a number that all units share, ()."""
        return float(vector) if vector.dim() == 0 else float(vector.flatten()[self.unit])


def cell_lines(step: CellStep) -> Iterator[WorkedLine]:
    """Yield the equations of a layer at one time step, in the order in which they are computed."""
    model, after = step.model, step.plain_after()
    for letter, part in zip("hc", step.before, strict=False):
        yield step.line(letter, "", part, meaning="before the step")
    for letter in LETTERS[model.cell]:
        yield from _gate_lines(step, letter)
    if model.cell == "lstm":
        yield from _lstm_lines(step, after)
    elif model.cell == "gru":
        terms = (("z", step.gate("z")), ("n", step.gate("n")), ("h", step.before[0]))
        yield step.line("h'", "(1 - z) * n + z * h", after[0], *terms)
    yield from _zoneout_lines(step, after)
    if model.residual and step.reading.layer > 0:
        hidden = "h''" if model.zoneout else "h'"
        terms = ((hidden, step.reading.states[-1][0]), ("x", step.reading.below[-1]))
        yield step.line("y", f"{hidden} + x", step.reading.outputs[-1], *terms, meaning="passed up")


def _gate_lines(step: CellStep, letter: str) -> Iterator[WorkedLine]:
    """Yield the sum inside a gate, a candidate or an RNN's state, and the result of the activation."""
    from_x, from_h = list[Named](), list[Named]()
    for terms, side in ((from_x, "i"), (from_h, "h")):
        if step.model.layer_norm:
            line, vector = _normalised(step, side, letter)
            yield line
            terms.append((line.symbol, vector))
        else:
            terms += _products(step, side, letter)
    sum_x, sum_h = (torch.stack([vector for _, vector in terms]).sum(0) for terms in (from_x, from_h))
    formula_x, formula_h = (" + ".join(name for name, _ in terms) for terms in (from_x, from_h))
    if letter == "n" and step.model.reset_after is not False:
        r = step.gate("r")
        formula_h = f"r * ({formula_h})" if len(from_h) > 1 else f"r * {formula_h}"
        sum_h, from_h = r * sum_h, [("r", r), *from_h]
    symbol = "a" if letter == "h" else f"a_{letter}"
    total = sum_x + sum_h
    yield step.line(symbol, f"{formula_x} + {formula_h}", total, *from_x, *from_h)
    if letter == "h":
        yield step.line("h'", f"{step.model.nonlinearity}(a)", step.plain_after()[0], ("a", total))
    else:
        activation = "tanh" if letter in "gn" else "sigmoid"
        gate = step.gate(letter)
        yield step.line(letter, f"{activation}({symbol})", gate, (symbol, total), meaning=NAMES[letter])


def _products(step: CellStep, side: str, letter: str) -> list[Named]:
    """Return W x and its bias, or W h and its bias, of the rows of a gate, each (1, H)."""
    name, product = _product(step, side, letter)
    rows = step.rows(letter)
    return [(name, product[:, rows]), (f"b_{side}{letter}", step.parameter(f"bias_{side}h")[None, rows])]


def _product(step: CellStep, side: str, letter: str) -> tuple[str, Tensor]:
    """Return the name of W x or W h in a gate, and the product of all rows, (1, rows)."""
    weight, weight_name = step.parameter(f"weight_{side}h"), f"W_{side}{letter}"
    if side == "i":
        return f"{weight_name} x", multiply(step.x, weight)
    h = step.before[0]
    if letter == "n" and step.model.reset_after is False:
        return f"{weight_name} (r * h)", multiply(step.gate("r") * h, weight)
    return f"{weight_name} h", multiply(h, weight)


def _normalised(step: CellStep, side: str, letter: str) -> tuple[WorkedLine, Tensor]:
    """Return the line of a normalised product, and the rows of a gate in it, (1, H)."""
    name, product = _product(step, side, letter)
    rows, group = step.rows(letter), slice(None)
    if step.model.cell == "gru":
        # The rows of r and z are normalised together, apart from those of n.
        size = step.model.hidden_size
        group = slice(2 * size, 3 * size) if letter == "n" else slice(0, 2 * size)
    gain, bias = (step.parameter(f"{kind}_{side}h") for kind in ("gain", "bias"))
    whole = torch.zeros_like(product)
    whole[:, group] = normalise(product[:, group], gain[group], bias[group])
    symbol = f"LN_{side}{letter}"
    names = (name, f"g_{side}{letter}", f"b_{side}{letter}")
    parts = (product[:, rows], gain[None, rows], bias[None, rows])
    return _norm_line(step, symbol, product[:, group], whole[:, rows], dict(zip(names, parts, strict=True)))


def _norm_line(
    step: CellStep, symbol: str, group: Tensor, normalised: Tensor, parts: dict[str, Tensor]
) -> tuple[WorkedLine, Tensor]:
    """Return the line of a normalisation, and its result, (1, H).

    Args:
        group: what is normalised together, (1, rows).
        normalised: the result, (1, H).
        parts: the vector before it, the gain and the bias by their names, each (1, H).
    """
    name, gain, bias = parts
    spread = (group.var(correction=0) + EPSILON).sqrt()
    terms = (*parts.items(), ("mean", group.mean()), ("dev", spread))
    line = step.line(symbol, f"{gain} * ({name} - mean) / dev + {bias}", normalised, *terms)
    return line, normalised


def _lstm_lines(step: CellStep, after: State) -> Iterator[WorkedLine]:
    """Yield the cell state and the hidden state of an LSTM."""
    h, c = after
    terms = (("f", step.gate("f")), ("c", step.before[1]), ("i", step.gate("i")), ("g", step.gate("g")))
    yield step.line("c'", "f * c + i * g", c, *terms)
    inner = ("c'", c)
    if step.model.layer_norm:
        parts = {"c'": c, "g_c": step.parameter("gain_c")[None], "b_c": step.parameter("bias_c")[None]}
        normalised = normalise(c, step.parameter("gain_c"), step.parameter("bias_c"))
        line, _ = _norm_line(step, "LN_c", c, normalised, parts)
        yield line
        inner = ("LN_c", normalised)
    yield step.line("h'", f"o * tanh({inner[0]})", h, ("o", step.gate("o")), inner)


def _zoneout_lines(step: CellStep, after: State) -> Iterator[WorkedLine]:
    """Yield the state that zoneout leaves, if there is any: in evaluation the mean of the old one and the new one."""
    rates = {"h": step.model.zoneout, "c": step.model.zoneout_cells or 0.0}
    states = zip("hc", step.before, after, step.reading.states[-1], strict=False)
    for letter, old, new, mean in states:
        if rates[letter]:
            terms = (("d", torch.tensor(rates[letter], dtype=old.dtype)), (letter, old), (f"{letter}'", new))
            formula = f"d * {letter} + (1 - d) * {letter}'"
            yield step.line(f"{letter}''", formula, mean, *terms, meaning="zoneout's mean")
