"""Layer normalisation inside the cells, against the equations of Ba et al. 2016 written out number by number."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear
from torch.testing import assert_close

from charlm.networks.affine import OneHot, Vectors
from charlm.networks.building import build_model
from charlm.networks.cells import ACTIVATIONS
from charlm.networks.language_model import CharLM
from charlm.networks.variants import layer_norm_gru_cell, layer_norm_lstm_cell, layer_norm_rnn_cell
from charlm.settings.model import ModelSettings

B, E, H, V, T = 3, 5, 4, 6, 5
NUM_GATES = {"rnn tanh": 1, "rnn relu": 1, "rnn sigmoid": 1, "gru": 3, "lstm": 4}
CELLS = list(NUM_GATES)
EPSILON = 1e-5
CLOSE = {"rtol": 1e-12, "atol": 1e-13}

Vector = list[float]


def draw(*sizes: tuple[int, ...], seed: int = 0) -> list[Tensor]:
    """Return tensors of standard normal numbers in float64."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*size, generator=generator, dtype=torch.float64) for size in sizes]


def draw_cell(cell: str, seed: int = 0) -> tuple[list[Tensor], list[Tensor]]:
    """Return weight_ih, weight_hh, bias_ih, bias_hh, and the gains and biases of the norms."""
    rows = NUM_GATES[cell] * H
    norms = [(rows,), (rows,), *([(H,), (H,)] if cell == "lstm" else [])]
    drawn = draw((rows, E), (rows, H), (rows,), (rows,), *norms, seed=seed)
    return drawn[:4], drawn[4:]


def advance(
    cell: str, x: Vectors, h: Tensor, c: Tensor, weights: list[Tensor], norms: list[Tensor]
) -> tuple[Tensor, ...]:
    """Run one of our cells; rnn and gru have no c."""
    if cell == "lstm":
        return layer_norm_lstm_cell(x, (h, c), *weights, *norms)
    if cell == "gru":
        return (layer_norm_gru_cell(x, h, *weights, *norms),)
    return (layer_norm_rnn_cell(x, h, *weights, *norms, ACTIVATIONS[cell.removeprefix("rnn ")]),)


# The equations.


def sigmoid(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value))


SCALAR_ACTIVATIONS = {"rnn tanh": math.tanh, "rnn relu": lambda value: max(0.0, value), "rnn sigmoid": sigmoid}


def times(matrix: list[Vector], x: Vector) -> Vector:
    return [sum(entry * value for entry, value in zip(row, x, strict=True)) for row in matrix]


def normalise(z: Vector, gain: Vector, bias: Vector) -> Vector:
    """Return LN(z; gain, bias): z with its mean removed and divided by its standard deviation."""
    mean = sum(z) / len(z)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in z) / len(z) + EPSILON)
    return [(value - mean) / deviation * g + b for value, g, b in zip(z, gain, bias, strict=True)]


def plus(left: Vector, right: Vector) -> Vector:
    return [a + b for a, b in zip(left, right, strict=True)]


def scalar_rnn(cell: str, x: Vector, h: Vector, weights: list[Any], norms: list[Vector]) -> list[Vector]:
    W_x, W_h, b_x, b_h = weights
    total = plus(normalise(times(W_x, x), norms[0], b_x), normalise(times(W_h, h), norms[1], b_h))
    return [[SCALAR_ACTIVATIONS[cell](value) for value in total]]


def scalar_lstm(x: Vector, h: Vector, c: Vector, weights: list[Any], norms: list[Vector]) -> list[Vector]:
    """Compute (i, f, g, o) = LN(W_h h) + LN(W_x x), c' = f c + i g, h' = o tanh(LN(c'))."""
    W_x, W_h, b_x, b_h = weights
    gates = plus(normalise(times(W_h, h), norms[1], b_h), normalise(times(W_x, x), norms[0], b_x))
    i, f, g, o = (gates[start : start + H] for start in range(0, 4 * H, H))
    new_c = [sigmoid(f[k]) * c[k] + sigmoid(i[k]) * math.tanh(g[k]) for k in range(H)]
    read = normalise(new_c, norms[2], norms[3])
    return [[sigmoid(o[k]) * math.tanh(read[k]) for k in range(H)], new_c]


def scalar_gru(x: Vector, h: Vector, weights: list[Any], norms: list[Vector]) -> list[Vector]:
    """Compute (r, z) = LN(W_h h) + LN(W_x x), n = tanh(LN(W x) + r LN(U h)); our z keeps the old state."""
    W_x, W_h, b_x, b_h = weights
    gates, candidate = slice(0, 2 * H), slice(2 * H, 3 * H)

    def normalised(part: slice) -> list[Vector]:
        from_x = normalise(times(W_x[part], x), norms[0][part], b_x[part])
        return [from_x, normalise(times(W_h[part], h), norms[1][part], b_h[part])]

    rz = plus(*normalised(gates))
    x_n, h_n = normalised(candidate)
    r, z = [sigmoid(value) for value in rz[:H]], [sigmoid(value) for value in rz[H:]]
    return [[(1 - z[k]) * math.tanh(x_n[k] + r[k] * h_n[k]) + z[k] * h[k] for k in range(H)]]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("cell", CELLS)
def test_a_normalised_cell_equals_its_equations(cell: str, seed: int) -> None:
    weights, norms = draw_cell(cell, seed)
    x, h, c = draw((B, E), (B, H), (B, H), seed=seed + 100)
    numbers, norm_numbers = [part.tolist() for part in weights], [part.tolist() for part in norms]
    expected = []
    for b in range(B):
        inputs = x[b].tolist(), h[b].tolist()
        if cell == "lstm":
            expected.append(scalar_lstm(*inputs, c[b].tolist(), numbers, norm_numbers))
        elif cell == "gru":
            expected.append(scalar_gru(*inputs, numbers, norm_numbers))
        else:
            expected.append(scalar_rnn(cell, *inputs, numbers, norm_numbers))
    found = torch.stack(advance(cell, x, h, c, weights, norms), dim=1)  # (B, parts, H)
    assert_close(found, torch.tensor(expected, dtype=torch.float64), **CLOSE)


@pytest.mark.parametrize("cell", CELLS)
def test_a_normalised_cell_equals_its_composition_of_torchs_functions(cell: str) -> None:
    (W_x, W_h, b_x, b_h), norms = draw_cell(cell)
    x, h, c = draw((B, E), (B, H), (B, H), seed=1)
    blocks = [slice(0, 2 * H), slice(2 * H, 3 * H)] if cell == "gru" else [slice(0, NUM_GATES[cell] * H)]

    def joined(values: Tensor, weight: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        parts = [
            layer_norm(linear(values, weight[rows]), (rows.stop - rows.start,), gain[rows], bias[rows])
            for rows in blocks
        ]
        return torch.cat(parts, dim=-1)

    from_x, from_h = joined(x, W_x, norms[0], b_x), joined(h, W_h, norms[1], b_h)
    if cell == "gru":
        r, z = (from_x + from_h)[:, : 2 * H].sigmoid().chunk(2, -1)
        n = torch.tanh(from_x[:, 2 * H :] + r * from_h[:, 2 * H :])
        expected = (n + z * (h - n),)
    elif cell == "lstm":
        i, f, g, o = (from_x + from_h).chunk(4, -1)
        new_c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        expected = (o.sigmoid() * layer_norm(new_c, (H,), norms[2], norms[3]).tanh(), new_c)
    else:
        expected = (ACTIVATIONS[cell.removeprefix("rnn ")](from_x + from_h),)
    assert_close(advance(cell, x, h, c, [W_x, W_h, b_x, b_h], norms), expected, **CLOSE)


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_through_norms_equal_finite_differences(cell: str) -> None:
    weights, norms = draw_cell(cell)
    x, h, c = draw((B, E), (B, H), (B, H), seed=1)
    inputs = [x, h, *([c] if cell == "lstm" else []), *weights, *norms]

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        x, h, *rest = tensors
        c = rest.pop(0) if cell == "lstm" else h
        return advance(cell, x, h, c, rest[:4], rest[4:])

    assert torch.autograd.gradcheck(run, [tensor.requires_grad_() for tensor in inputs])


@pytest.mark.parametrize("cell", CELLS)
def test_a_looked_up_column_is_normalised_as_the_product_with_a_one_hot(cell: str) -> None:
    weights, norms = draw_cell(cell)
    h, c = draw((B, H), (B, H), seed=1)
    ids = torch.tensor([4, 0, 4])
    looked_up = advance(cell, OneHot(weights[0].t()[ids]), h, c, weights, norms)
    product = advance(cell, torch.eye(E, dtype=torch.float64)[ids], h, c, weights, norms)
    assert_close(looked_up, product, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("cell", CELLS)
def test_a_row_is_normalised_by_itself(cell: str) -> None:
    weights, norms = draw_cell(cell)
    x, h, c = draw((B, E), (B, H), (B, H), seed=1)
    alone = [advance(cell, x[b, None], h[b, None], c[b, None], weights, norms) for b in range(B)]
    together = tuple(torch.cat(parts) for parts in zip(*alone, strict=True))
    assert_close(advance(cell, x, h, c, weights, norms), together, **CLOSE)


# In a network.


def build(cell: str, *, num_layers: int = 2, embedding_size: int | None = None, **others: Any) -> CharLM:
    """Return a small model whose norms differ from their initial values."""
    name, _, activation = cell.partition(" ")
    model = ModelSettings(
        cell=name,
        activation=activation or None,
        hidden_size=H,
        num_layers=num_layers,
        embedding_size=embedding_size,
        layer_norm=True,
        **others,
    )
    network = build_model(model, V, seed=0).double()
    names = ("gain_ih", "gain_hh", "gain_c", "bias_c")
    with torch.no_grad():
        for seed, (name, parameter) in enumerate(network.recurrent.named_parameters()):
            if name.startswith(names):
                parameter += draw(tuple(parameter.shape), seed=seed)[0] / 3
    return network


def draw_ids(seed: int = 0) -> Tensor:
    return torch.randint(V, (T, B), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("embedding_size", [None, E])
@pytest.mark.parametrize("cell", CELLS)
def test_a_normalised_network_equals_its_cells_one_after_the_other(cell: str, embedding_size: int | None) -> None:
    network = build(cell, num_layers=2, embedding_size=embedding_size)
    ids, start = draw_ids(), network.initial_state(B)
    state = [[part[layer] for part in start] for layer in range(2)]
    expected = []
    table = torch.eye(V).double() if embedding_size is None else network.get_parameter("embedding.weight")
    for x in table[ids]:
        for layer in range(2):
            kinds = ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "gain_ih", "gain_hh"]
            kinds += ["gain_c", "bias_c"] if cell == "lstm" else []
            parameters = [network.get_parameter(f"recurrent.{kind}_l{layer}") for kind in kinds]
            state[layer] = list(advance(cell, x, state[layer][0], state[layer][-1], parameters[:4], parameters[4:]))
            x = state[layer][0]
        expected.append(x)
    hidden, final = network.read(ids, start)
    assert_close(hidden, torch.stack(expected), **CLOSE)
    assert_close(final, tuple(torch.stack(parts) for parts in zip(*state, strict=True)), **CLOSE)


@pytest.mark.parametrize("cell", CELLS)
def test_a_normalised_one_hot_is_an_embedding_by_the_identity(cell: str) -> None:
    plain, embedded = build(cell), build(cell, embedding_size=V)
    embedded.load_state_dict({**plain.state_dict(), "embedding.weight": torch.eye(V)})
    ids = draw_ids()
    assert_close(embedded(ids, embedded.initial_state(B)), plain(ids, plain.initial_state(B)), **CLOSE)


@pytest.mark.parametrize("cell", CELLS)
def test_norms_start_as_one_are_all_learned_and_no_scale_of_the_weights_matters(cell: str) -> None:
    model = ModelSettings(cell=cell.split()[0], hidden_size=H, num_layers=2, layer_norm=True)
    fresh = build_model(model, V, seed=0).state_dict()
    norms = {name: value for name, value in fresh.items() if "gain" in name or "bias_c" in name}
    assert len(norms) == (8 if cell == "lstm" else 4)
    assert all(value.eq("gain" in name).all() for name, value in norms.items())
    network = build(cell)
    ids, state = draw_ids(), network.initial_state(B)
    logits, _ = network(ids, state)
    gradients = torch.autograd.grad(logits.square().sum(), list(network.parameters()))
    assert all(gradient.abs().max() > 0 for gradient in gradients)
    with torch.no_grad():
        for name, parameter in network.recurrent.named_parameters():
            if name.startswith("weight"):
                parameter *= 1000
    scaled, _ = network(ids, state)
    # They are equal except for the epsilon that is added to a variance of about 1 / H / 3.
    assert_close(scaled, logits, rtol=0.01, atol=0.01)
    assert not torch.equal(scaled, logits)
