"""Gradients by lag equal closed forms, finite differences and the exact product of Jacobians."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pairs import by_pairs
from predicting import CELLS

from charlm.insight.gradients import gradients_by_lag, window_gradients
from charlm.insight.jacobians import jacobian_products, recurrent_spectra, state_products
from charlm.insight.places import read_windows, sample_places
from charlm.networks.building import build_model
from charlm.networks.language_model import CharLM
from charlm.settings.model import ModelSettings

V, H = 5, 4
FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "embedding": {"embedding_size": 3},
    "zoneout": {"zoneout": 0.3},
    "norm": {"layer_norm": True},
    "residual": {"num_layers": 3, "residual": True},
    "tied": {"embedding_size": H, "tied_embeddings": True},
    "learned": {"learned_state": True, "num_layers": 2},
}


def network_of(**model: Any) -> CharLM:
    network = build_model(ModelSettings(**{"hidden_size": H, **model}), V, seed=0)
    assert isinstance(network, CharLM)
    return network.eval()


def text(length: int, *, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, V, length).astype(np.uint8)


def linear_rnn() -> CharLM:
    """Return an RNN whose ReLUs never leave their linear part: all weights and states are positive."""
    network = network_of(cell="rnn", activation="relu")
    with torch.no_grad():
        for parameter in network.recurrent.parameters():
            parameter.abs_()
    return network


def test_gradients_of_a_linear_rnn_are_the_powers_of_its_matrix() -> None:
    network = linear_rnn()
    ids = text(30)
    targets, starts = sample_places(ids, None, number=1, reach=9, seed=3)
    found = gradients_by_lag(network, ids, max_lag=8, num_places=1, seed=3)
    # dL/dh_t = V^T (p - y), and dh_t/dh_{t-k} = W^k.
    (window,) = read_windows(network, ids, None, targets, starts)
    network.double()
    logits, _ = network(window.ids, window.state)
    error = torch.softmax(logits[-1, 0], -1) - torch.nn.functional.one_hot(window.targets[0], V)
    gradient = (error @ network.decoder.weight).detach()
    matrix = network.recurrent.weight_hh_l0.detach()
    expected = [float((gradient @ torch.linalg.matrix_power(matrix, k)).norm()) for k in range(9)]
    assert found.num_at_lag == (1,) * 9
    np.testing.assert_allclose(found.layers[0].hidden, expected, rtol=1e-9)


def test_singular_values_of_a_linear_rnn_are_those_of_the_powers_of_its_matrix() -> None:
    network = linear_rnn()
    (layer,) = jacobian_products(network, text(60), lags=(1, 2, 4, 8))
    matrix = network.recurrent.weight_hh_l0.detach().double()
    for lag in layer.lags:
        values = torch.linalg.svdvals(torch.linalg.matrix_power(matrix, lag.lag))
        assert lag.largest == pytest.approx(float(values[0]), rel=1e-9)
        assert lag.median == pytest.approx(float(values[2]), rel=1e-6)
    assert [lag.lag for lag in layer.lags] == [1, 2, 4, 8]


def test_singular_values_of_a_tanh_rnn_are_those_of_the_product_of_its_jacobians() -> None:
    network = network_of(cell="rnn")
    ids = text(40)
    (layer,) = jacobian_products(network, ids, lags=(3,), num_windows=1, seed=2)
    (window,) = read_windows(network, ids, None, *sample_places(ids, None, number=1, reach=4, seed=2))
    network.double()
    matrix, product, state = network.recurrent.weight_hh_l0.detach(), torch.eye(H).double(), window.state
    for step, each in enumerate(window.ids):
        _, state = network.read(each[None], state)
        if step > 0:
            product = torch.diag(1 - state[0][0, 0].detach() ** 2) @ matrix @ product
    assert layer.lags[0].largest == pytest.approx(float(torch.linalg.svdvals(product)[0]), rel=1e-9)


@pytest.mark.parametrize(("cell", "form"), by_pairs(tuple(CELLS), tuple(FORMS)))
def test_autograd_agrees_with_the_exact_product_and_with_differences(cell: str, form: str) -> None:
    if cell == "gru before" and form == "norm":
        form = "zoneout"  # there is no layer normalisation with the reset gate before the product
    network = network_of(**CELLS[cell], **FORMS[form])
    ids = text(30)
    targets, starts = sample_places(ids, None, number=3, reach=6, seed=1)
    (windows,) = read_windows(network, ids, None, targets, starts)
    network.double()
    found = window_gradients(network, windows)  # (L, parts, T, B, H)
    layer, step, unit = found.shape[0] - 1, 2, 1
    expected = [_difference(network, windows, layer, (0,), step, unit, row) for row in range(3)]
    np.testing.assert_allclose(found[layer, 0, step, :, unit].numpy(), expected, rtol=1e-5, atol=1e-9)
    if (cell, form) == ("lstm", "plain"):
        # The cell state acts through the hidden state of its own step too.
        expected = [_difference(network, windows, layer, (1, 0), step, unit, row) for row in range(3)]
        np.testing.assert_allclose(found[layer, 1, step, :, unit].numpy(), expected, rtol=1e-5, atol=1e-9)


def _difference(
    network: CharLM, windows: Any, layer: int, parts: tuple[int, ...], step: int, unit: int, row: int
) -> float:
    """Return how the cost of a window changes with one unit of the state after a step, by central differences.

    Args:
        parts: what changes: h, or c with the h that follows from it, h = o tanh(c).
    """
    costs: list[float] = []
    for change in (1e-5, -1e-5):
        with torch.no_grad():
            ids = windows.ids[:, row : row + 1]
            _, state = network(ids[: step + 1], tuple(each[:, row : row + 1] for each in windows.state))
            state = tuple(each.clone() for each in state)
            old = state[parts[0]][layer, 0, unit].item()
            state[parts[0]][layer, 0, unit] += change
            if len(parts) > 1:
                state[0][layer, 0, unit] *= np.tanh(old + change) / np.tanh(old)
            logits, _ = network(ids[step + 1 :], state)
            costs.append(float(torch.nn.functional.cross_entropy(logits[-1], windows.targets[row : row + 1])))
    return (costs[0] - costs[1]) / 2e-5


@pytest.mark.parametrize(("cell", "form"), by_pairs(tuple(CELLS), ("plain", "embedding", "zoneout", "norm", "learned")))
def test_the_product_of_jacobians_carries_the_gradient_back(cell: str, form: str) -> None:
    if cell == "gru before" and form == "norm":
        form = "zoneout"
    network = network_of(**CELLS[cell], **{**FORMS[form], "num_layers": 1})
    ids = text(30)
    targets, starts = sample_places(ids, None, number=1, reach=6, seed=1)
    (windows,) = read_windows(network, ids, None, targets, starts)
    network.double()
    gradients = window_gradients(network, windows)[0, 0, :, 0].numpy()  # (T, H)
    (products,) = state_products(network, windows.ids, windows.state)
    for step, product in enumerate(products.numpy()):
        np.testing.assert_allclose(gradients[step], gradients[-1] @ product, rtol=1e-9)


def test_the_state_before_a_window_is_that_of_the_text_before_it() -> None:
    network, ids = network_of(cell="lstm", num_layers=2), text(50)
    targets, starts = sample_places(ids, None, number=5, reach=7, seed=0)
    (windows,) = read_windows(network, ids, None, targets, starts)
    for row, start in enumerate(starts):
        before = torch.from_numpy(ids[:start].astype(np.int64))[:, None]
        _, state = network.read(before, network.initial_state(1)) if start else (None, network.initial_state(1))
        torch.testing.assert_close(windows.state[1][:, row : row + 1].float(), state[1].detach())
        assert windows.targets[row] == ids[targets[row]]
        assert windows.ids[-1, row] == ids[targets[row] - 1]


def test_windows_of_items_begin_with_their_item() -> None:
    network = network_of(cell="gru")
    ids = np.array([0, 1, 2, 0, 3, 0, 4, 1, 2, 3, 0], np.uint8)
    targets, starts = sample_places(ids, 0, number=100, reach=3, seed=0)
    assert targets.tolist() == list(range(1, 11))
    assert starts.tolist() == [0, 0, 0, 3, 3, 5, 5, 5, 6, 7]
    for windows in read_windows(network, ids, 0, targets, starts):
        fresh = windows.ids[0] == 0
        assert (windows.state[0][:, fresh] == 0).all()
        assert (windows.state[0][:, ~fresh] != 0).any() or fresh.all()
    found = gradients_by_lag(network, ids, boundary=0, max_lag=2, num_places=100)
    assert found.num_at_lag == (10, 7, 4)


@pytest.mark.parametrize("length", [2, 3, 10])
def test_a_short_text_has_fewer_lags(length: int) -> None:
    found = gradients_by_lag(network_of(), text(length), max_lag=50, num_places=50)
    assert len(found.num_at_lag) == max(1, length // 2)
    assert found.num_places == length - max(1, length // 2)


def test_the_seed_chooses_the_places_and_nothing_else_does() -> None:
    network, ids = network_of(), text(300)
    first, again, other = (gradients_by_lag(network, ids, max_lag=5, num_places=40, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.layers != other.layers


def test_the_spectrum_of_a_rotation_has_modulus_one_and_the_bound_holds_for_small_weights() -> None:
    network = network_of(cell="rnn", init="orthogonal")
    (spectrum,) = recurrent_spectra(network)
    assert spectrum.radius == pytest.approx(1.0, abs=1e-5)
    assert [abs(complex(*value)) for value in spectrum.eigenvalues] == pytest.approx([1.0] * H, abs=1e-5)
    assert not spectrum.must_vanish
    with torch.no_grad():
        network.recurrent.weight_hh_l0 *= 0.5
    assert recurrent_spectra(network)[0].must_vanish
    sigmoid = network_of(cell="rnn", activation="sigmoid", init="orthogonal")
    assert recurrent_spectra(sigmoid)[0].bound == 4.0
    assert [each.block for each in recurrent_spectra(network_of(cell="gru"))] == [
        "reset gate",
        "update gate",
        "candidate",
    ]
