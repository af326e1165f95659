"""The products of Jacobians of which gradients over many steps consist, exactly, and the matrices behind them.

    dh_t / dh_{t-k} = J_t J_{t-1} .. J_{t-k+1}        J_s = dh_s / dh_{s-1}

A direction shrinks or grows by a singular value of that product. If the largest singular value of W_hh is below
1 / gamma, where gamma bounds the slope of the activation, all gradients of a simple RNN vanish; if they explode, it is
above (Pascanu, Mikolov and Bengio 2013, section 2.1).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from charlm.insight.places import read_windows, sample_places
from charlm.insight.traces import LayerTrace, trace_piece
from charlm.networks.affine import Vectors, look_up
from charlm.networks.language_model import CharLM
from charlm.networks.layers import enter_layer
from charlm.networks.modes import single_threaded
from charlm.networks.recurrent import Stack, State
from charlm.networks.reference import layer_cell
from charlm.networks.shapes import NUM_GATES
from charlm.settings.model import Activation, Cell
from charlm.text.vocabulary import Ids

LAGS = (1, 2, 4, 8, 16, 32, 64, 128)
NUM_WINDOWS = 2
# More of them need more memory and are hardly faster.
ROWS_AT_ONCE = 64
# Singular values that are smaller than the largest by more than this factor are rounding errors of float64.
RESOLUTION = 1e-13
Values = npt.NDArray[np.floating[Any]]
Advance = Callable[[Vectors, State], State]
# The largest slope of each activation.
SLOPES: dict[Activation, float] = {"tanh": 1.0, "relu": 1.0, "sigmoid": 0.25}
BLOCKS: dict[Cell, tuple[str, ...]] = {
    "rnn": ("recurrent weights",),
    "gru": ("reset gate", "update gate", "candidate"),
    "lstm": ("input gate", "forget gate", "candidate", "output gate"),
}


@dataclass(frozen=True)
class SingularValues:
    """The singular values of dh_t / dh_{t-k}, as geometric means over windows of the text.

    Args:
        lag: k.
        largest: how much the direction that is kept best grows or shrinks.
        median: half of all directions shrink more than this; None if that is lost in rounding.
        smallest: how much the direction that is lost fastest shrinks; None if that is lost in rounding.
    """

    lag: int
    largest: float
    median: float | None
    smallest: float | None


@dataclass(frozen=True)
class LayerJacobians:
    """The products of a layer's Jacobians: its number, counted from 1, and the singular values at each lag."""

    layer: int
    lags: tuple[SingularValues, ...]


@dataclass(frozen=True)
class Spectrum:
    """The spectrum of a block of a layer's recurrent weights W_hh, (H, H).

    Args:
        layer: the layer, counted from 1.
        block: the gate that the block is for.
        radius: the largest modulus of its eigenvalues.
        norm: its largest singular value.
        eigenvalues: the real and imaginary parts of its eigenvalues, largest modulus first.
        bound: 1 / gamma for a simple RNN, whose gradients vanish if the norm is below it; None for gates, for which
            there is no such bound.
    """

    layer: int
    block: str
    radius: float
    norm: float
    eigenvalues: tuple[tuple[float, float], ...]
    bound: float | None = None

    @property
    def must_vanish(self) -> bool:
        """Whether the bound proves that gradients vanish, whatever the text."""
        return self.bound is not None and self.norm < self.bound


def jacobian_products(
    network: CharLM,
    ids: Ids,
    *,
    boundary: int | None = None,
    lags: tuple[int, ...] = LAGS,
    num_windows: int = NUM_WINDOWS,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> tuple[LayerJacobians, ...]:
    """Compute the singular values of dh_t / dh_{t-k} of each layer by itself, in float64.

    What reaches a layer from below does not depend on its own state, so that it is held constant; so is the cell state
    c_{t-k} of an LSTM, whose further course does depend on h_{t-k}.

    Args:
        network: the model.
        ids: a text in the model's reading order, (N,), at least two characters.
        boundary: the id between two items; None for a running text.
        lags: the values of k; those that the text is too short for are left out.
        num_windows: how many windows to sample.
        seed: the random seed that chooses them.
        report: called with the number of layers done and the total.
    """
    targets, starts = sample_places(ids, boundary, number=num_windows, reach=max(lags) + 1, seed=seed)
    precise = copy.deepcopy(network).double().eval().requires_grad_(False)
    num_layers, num_done = network.model.num_layers, 0
    found: dict[tuple[int, int], list[Values]] = {}
    for windows in read_windows(network, ids, boundary, targets, starts):
        for row in range(windows.ids.shape[1]):
            state = tuple(part[:, row : row + 1] for part in windows.state)
            for layer, products in enumerate(state_products(precise, windows.ids[:, row : row + 1], state)):
                for lag in lags:
                    if lag <= len(products):
                        found.setdefault((layer, lag), []).append(_singular_values(products[-lag]))
                num_done += 1
                if report:
                    report(num_done, len(targets) * num_layers)
    return tuple(
        LayerJacobians(layer + 1, tuple(_summary(lag, found[layer, lag]) for lag in lags if (layer, lag) in found))
        for layer in range(num_layers)
    )


def state_products(network: CharLM, ids: Tensor, state: State) -> Iterator[Tensor]:
    """Yield, for each layer, dh_t / dh_s for the last step t of a window and each step s before it, (T - 1, H, H).

    Args:
        network: the model, in float64.
        ids: the window, (T, 1).
        state: the state before it.
    """
    with torch.no_grad():
        layers, _ = trace_piece(network, ids, state)
    return (_layer_products(network.recurrent, number, trace) for number, trace in enumerate(layers))


def _layer_products(stack: Stack, layer: int, trace: LayerTrace) -> Tensor:
    features, weights = enter_layer(stack, layer, trace.inputs)
    steps = features.unbind(0) if features.is_floating_point() else look_up(features, weights.weight_ih)
    cell = layer_cell(stack, layer, weights)
    first = tuple(part[0] for part in trace.after)  # (1, H)
    with single_threaded():
        units = range(stack.model.hidden_size)
        parts = [units[start : start + ROWS_AT_ONCE] for start in range(0, len(units), ROWS_AT_ONCE)]
        rows = [_rows(cell, steps[1:], first, part) for part in parts]
    return torch.cat(rows, 1)


def _rows(cell: Advance, steps: Sequence[Vectors], first: State, units: range) -> Tensor:
    """Return the rows of some units, (T - 1, units, H): the gradient of each unit in a copy of the text of its own."""
    state = tuple(part.expand(len(units), -1).clone().requires_grad_() for part in first)
    hidden = [state[0]]
    for x in steps:
        state = cell(x, state)
        hidden.append(state[0])
    chosen = hidden[-1][range(len(units)), units].sum()
    return torch.stack(torch.autograd.grad(chosen, hidden[:-1]))


def _singular_values(matrix: Tensor) -> Values:
    """Return the singular values of a matrix, largest first; more threads would mostly wait for each other."""
    with single_threaded():
        return cast("Values", torch.linalg.svdvals(matrix.cpu()).numpy())


def _summary(lag: int, found: list[Values]) -> SingularValues:
    values = np.stack(found)  # (windows, H), largest first
    places = (0, values.shape[1] // 2, values.shape[1] - 1)
    largest, median, smallest = (_geometric_mean(values[:, place], values[:, 0]) for place in places)
    return SingularValues(lag, largest or 0.0, median, smallest)


def _geometric_mean(values: Values, largest: Values) -> float | None:
    is_exact = (values > RESOLUTION * largest).all()
    return float(np.exp(np.log(values).mean())) if is_exact else None


def recurrent_spectra(network: CharLM) -> tuple[Spectrum, ...]:
    """Compute the eigenvalues and the norm of each block of each layer's recurrent weights."""
    model = network.model
    bound = 1 / SLOPES[model.nonlinearity] if model.cell == "rnn" and not model.layer_norm else None
    spectra: list[Spectrum] = []
    for layer in range(model.num_layers):
        weight: Tensor = getattr(network.recurrent, f"weight_hh_l{layer}")
        blocks = weight.detach().double().cpu().chunk(NUM_GATES[model.cell])
        for block, matrix in zip(BLOCKS[model.cell], blocks, strict=True):
            with single_threaded():
                found = cast("list[complex]", torch.linalg.eigvals(matrix).tolist())
            eigenvalues = sorted(found, key=abs, reverse=True)
            pairs = tuple((value.real, value.imag) for value in eigenvalues)
            norm = float(_singular_values(matrix)[0])
            spectra.append(Spectrum(layer + 1, block, abs(eigenvalues[0]), norm, pairs, bound))
    return tuple(spectra)
