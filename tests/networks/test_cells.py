"""Each cell equals scalar loops in plain Python and torch.nn's cells, and its gradient equals finite differences."""

from __future__ import annotations

import doctest
import math
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from charlm.networks import affine, cells, variants
from charlm.networks.affine import OneHot, Vectors
from charlm.networks.cells import ACTIVATIONS, gru_cell, lstm_cell, rnn_cell
from charlm.networks.variants import gru_cell_reset_before

B, E, H = 3, 5, 4
NUM_GATES = {"rnn": 1, "lstm": 4, "gru": 3}

Weights = tuple[Tensor, Tensor, Tensor, Tensor]
Vector = list[float]
Matrix = list[Vector]


def sigmoid(value: float) -> float:
    """Return 1 / (1 + exp(-value))."""
    return 1.0 / (1.0 + math.exp(-value))


SCALAR_ACTIVATIONS: dict[str, Callable[[float], float]] = {
    "tanh": math.tanh,
    "relu": lambda value: max(0.0, value),
    "sigmoid": sigmoid,
}


def draw(*sizes: tuple[int, ...], seed: int) -> tuple[Tensor, ...]:
    """Return tensors of standard normal numbers in float64."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(*size, generator=generator, dtype=torch.float64) for size in sizes)


def draw_weights(cell: str, seed: int) -> Weights:
    """Return weight_ih, weight_hh, bias_ih, bias_hh."""
    rows = NUM_GATES[cell] * H
    weight_ih, weight_hh, bias_ih, bias_hh = draw((rows, E), (rows, H), (rows,), (rows,), seed=seed)
    return weight_ih, weight_hh, bias_ih, bias_hh


def product(weight: Matrix, x: Vector, bias: Vector) -> Vector:
    """Return W x + b, one number at a time."""
    result: Vector = []
    for row, constant in zip(weight, bias, strict=True):
        total = constant
        for entry, value in zip(row, x, strict=True):
            total += entry * value
        result.append(total)
    return result


def blocks(values: Vector) -> Matrix:
    """Split a vector of gates into one vector of H for each gate."""
    return [values[start : start + H] for start in range(0, len(values), H)]


def scalar_rnn(x: Vector, h: Vector, weights: list[list], activation: str) -> Vector:
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    from_x, from_h = product(weight_ih, x, bias_ih), product(weight_hh, h, bias_hh)
    return [SCALAR_ACTIVATIONS[activation](from_x[k] + from_h[k]) for k in range(H)]


def scalar_lstm(x: Vector, h: Vector, c: Vector, weights: list[list]) -> tuple[Vector, Vector]:
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    from_x, from_h = blocks(product(weight_ih, x, bias_ih)), blocks(product(weight_hh, h, bias_hh))
    new_h, new_c = [], []
    for k in range(H):
        i, f, g, o = (from_x[gate][k] + from_h[gate][k] for gate in range(4))
        new_c.append(sigmoid(f) * c[k] + sigmoid(i) * math.tanh(g))
        new_h.append(sigmoid(o) * math.tanh(new_c[k]))
    return new_h, new_c


def scalar_gru(x: Vector, h: Vector, weights: list[list], reset_after: bool) -> Vector:
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    x_r, x_z, x_n = blocks(product(weight_ih, x, bias_ih))
    h_r, h_z, h_n = blocks(product(weight_hh, h, bias_hh))
    r = [sigmoid(x_r[k] + h_r[k]) for k in range(H)]
    z = [sigmoid(x_z[k] + h_z[k]) for k in range(H)]
    if reset_after:
        candidate = [r[k] * h_n[k] for k in range(H)]
    else:
        candidate = product(weight_hh[2 * H :], [r[k] * h[k] for k in range(H)], bias_hh[2 * H :])
    return [(1.0 - z[k]) * math.tanh(x_n[k] + candidate[k]) + z[k] * h[k] for k in range(H)]


def lists(*tensors: Tensor) -> list[list]:
    return [tensor.tolist() for tensor in tensors]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
def test_rnn_cell_equals_a_scalar_loop(activation: str, seed: int) -> None:
    weights = draw_weights("rnn", seed)
    x, h = draw((B, E), (B, H), seed=seed + 100)
    expected = [scalar_rnn(x_b, h_b, lists(*weights), activation) for x_b, h_b in zip(*lists(x, h), strict=True)]
    found = rnn_cell(x, h, *weights, ACTIVATIONS[activation])
    assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("seed", [0, 1])
def test_lstm_cell_equals_a_scalar_loop(seed: int) -> None:
    weights = draw_weights("lstm", seed)
    x, h, c = draw((B, E), (B, H), (B, H), seed=seed + 100)
    expected = [scalar_lstm(x_b, h_b, c_b, lists(*weights)) for x_b, h_b, c_b in zip(*lists(x, h, c), strict=True)]
    found = torch.stack(lstm_cell(x, (h, c), *weights), dim=1)  # (B, 2, H)
    assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("reset_after", [True, False])
def test_gru_cell_equals_a_scalar_loop(reset_after: bool, seed: int) -> None:
    weights = draw_weights("gru", seed)
    x, h = draw((B, E), (B, H), seed=seed + 100)
    expected = [scalar_gru(x_b, h_b, lists(*weights), reset_after) for x_b, h_b in zip(*lists(x, h), strict=True)]
    found = (gru_cell if reset_after else gru_cell_reset_before)(x, h, *weights)
    assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-13)


def test_where_the_reset_gate_acts_matters() -> None:
    weights = draw_weights("gru", 0)
    x, h = draw((B, E), (B, H), seed=1)
    assert (gru_cell(x, h, *weights) - gru_cell_reset_before(x, h, *weights)).abs().max() > 1e-2


def with_weights(theirs: nn.RNNCellBase, weights: Weights) -> nn.RNNCellBase:
    """Return one of torch's cells with our weights, which have the same names."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    theirs.double().load_state_dict(dict(zip(names, weights, strict=True)))
    return theirs


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_rnn_cell_equals_torch(activation: str, seed: int) -> None:
    weights = draw_weights("rnn", seed)
    x, h = draw((B, E), (B, H), seed=seed + 100)
    theirs = with_weights(nn.RNNCell(E, H, nonlinearity=activation), weights)
    assert_close(rnn_cell(x, h, *weights, ACTIVATIONS[activation]), theirs(x, h), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("seed", [0, 1])
def test_lstm_cell_equals_torch(seed: int) -> None:
    weights = draw_weights("lstm", seed)
    x, h, c = draw((B, E), (B, H), (B, H), seed=seed + 100)
    theirs = with_weights(nn.LSTMCell(E, H), weights)
    assert_close(lstm_cell(x, (h, c), *weights), theirs(x, (h, c)), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("seed", [0, 1])
def test_gru_cell_equals_torch(seed: int) -> None:
    weights = draw_weights("gru", seed)
    x, h = draw((B, E), (B, H), seed=seed + 100)
    theirs = with_weights(nn.GRUCell(E, H), weights)
    assert_close(gru_cell(x, h, *weights), theirs(x, h), rtol=1e-12, atol=1e-13)


def advance(cell: str, x: Vectors, h: Tensor, c: Tensor, weights: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Run a cell by its name; rnn and gru have no c."""
    if cell == "lstm":
        return lstm_cell(x, (h, c), *weights)
    if cell.startswith("gru"):
        return ((gru_cell_reset_before if cell == "gru before" else gru_cell)(x, h, *weights),)
    return (rnn_cell(x, h, *weights, ACTIVATIONS[cell.removeprefix("rnn ")]),)


CELLS = ["rnn tanh", "rnn relu", "rnn sigmoid", "lstm", "gru", "gru before"]


@pytest.mark.parametrize("cell", CELLS)
def test_a_looked_up_column_equals_the_product_with_a_one_hot(cell: str) -> None:
    weights = draw_weights(cell.split()[0], 0)
    h, c = draw((B, H), (B, H), seed=1)
    ids = torch.tensor([4, 0, 4])
    one_hot = torch.eye(E, dtype=torch.float64)[ids]
    columns = weights[0].t()[ids]
    # A product with a one-hot only adds zeros to the column, so nothing is rounded.
    looked_up = advance(cell, OneHot(columns), h, c, weights)
    assert_close(looked_up, advance(cell, one_hot, h, c, weights), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_equal_finite_differences(cell: str) -> None:
    weights = draw_weights(cell.split()[0], 0)
    inputs = [tensor.requires_grad_() for tensor in (*draw((B, E), (B, H), (B, H), seed=1), *weights)]
    used = inputs if cell == "lstm" else [inputs[0], inputs[1], *inputs[3:]]

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        x, h, *rest = tensors
        c = rest.pop(0) if cell == "lstm" else h
        return advance(cell, x, h, c, tuple(rest))

    assert torch.autograd.gradcheck(run, used)


@pytest.mark.parametrize("cell", CELLS)
def test_a_row_of_a_batch_does_not_depend_on_the_others(cell: str) -> None:
    weights = draw_weights(cell.split()[0], 0)
    x, h, c = draw((B, E), (B, H), (B, H), seed=1)
    alone = [advance(cell, x[b, None], h[b, None], c[b, None], weights) for b in range(B)]
    together = tuple(torch.cat(parts) for parts in zip(*alone, strict=True))
    assert_close(advance(cell, x, h, c, weights), together, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("module", [affine, cells, variants], ids=lambda module: module.__name__)
def test_examples_in_docstrings_say_what_comes_out(module: ModuleType) -> None:
    failed, tried = doctest.testmod(module)
    assert failed == 0
    functions = [value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__]
    if module is not affine:
        assert tried >= 2 * len(functions) > 0
