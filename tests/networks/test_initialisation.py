"""Initial weights: the same for each implementation, with the bounds and moments that the name promises."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from charlm.networks.building import build_model
from charlm.networks.language_model import CharLM
from charlm.settings.model import ModelSettings

V, E, H, L = 30, 12, 16, 2
NUM_GATES = {"rnn": 1, "gru": 3, "lstm": 4}
CELLS = list(NUM_GATES)
NATIVE = pytest.param("native", marks=pytest.mark.kernels)
INITS = ["torch", "normal", "xavier", "he", "orthogonal"]


def build(cell: str, init: str, *, seed: int = 0, **others: Any) -> CharLM:
    """Return a small model with fresh weights."""
    sizes: dict[str, Any] = {"hidden_size": H, "num_layers": L} | others
    return build_model(ModelSettings(cell=cell, init=init, **sizes), V, seed=seed)


def weights_of(network: CharLM, *, recurrent: bool) -> list[Tensor]:
    """Return every gate's own matrix: the recurrent matrices, or those of inputs and outputs."""
    kind = "weight_hh" if recurrent else "weight_ih"
    stacked = [value for name, value in network.recurrent.named_parameters() if name.startswith(kind)]
    gates = [gate for value in stacked for gate in value.detach().split(H)]
    return gates if recurrent else [*gates, network.decoder.weight.detach()]


def biases_of(network: CharLM) -> list[Tensor]:
    return [value.detach() for name, value in network.named_parameters() if "bias" in name]


def assert_uniform(tensor: Tensor, bound: float) -> None:
    """Assert that numbers are within +-bound, come close to it, and spread as in a uniform distribution."""
    assert tensor.abs().max() <= bound
    # The largest of n uniform numbers is below the bound by about 1 / n of it.
    assert tensor.abs().max() > bound * (1 - 20 / tensor.numel())
    assert_moments(tensor, bound / math.sqrt(3))


def assert_moments(tensor: Tensor, deviation: float) -> None:
    """Assert a mean of 0 and a standard deviation, each within 5 of its standard errors."""
    n = tensor.numel()
    assert abs(tensor.mean().item()) < 5 * deviation / math.sqrt(n)
    assert abs(tensor.std().item() / deviation - 1) < 5 / math.sqrt(2 * n)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("embedding_size", [None, E])
@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("implementation", ["reference", NATIVE])
def test_each_implementation_starts_from_torchs_weights(
    implementation: str, cell: str, init: str, embedding_size: int | None, seed: int
) -> None:
    shape = {"embedding_size": embedding_size, "seed": seed}
    ours = build(cell, init, implementation=implementation, **shape).state_dict()
    theirs = build(cell, init, implementation="torch", **shape).state_dict()
    assert_close(dict(ours), dict(theirs), rtol=0, atol=0)


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("cell", CELLS)
def test_a_seed_repeats_its_weights_whatever_was_drawn_before(cell: str, init: str) -> None:
    for seed in (0, 1, 2**63 - 1):
        torch.manual_seed(1)
        once = build(cell, init, seed=seed, embedding_size=E).state_dict()
        torch.manual_seed(2)
        again = build(cell, init, seed=seed, embedding_size=E).state_dict()
        assert_close(dict(again), dict(once), rtol=0, atol=0)


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("cell", CELLS)
def test_seeds_differ_in_every_weight_matrix(cell: str, init: str) -> None:
    networks = [build(cell, init, seed=seed, embedding_size=E).state_dict() for seed in (0, 1, 2)]
    for name in networks[0]:
        if "weight" in name:
            for other in networks[1:]:
                assert not torch.equal(networks[0][name], other[name]), name


@pytest.mark.parametrize("cell", CELLS)
def test_no_two_gates_or_layers_start_alike(cell: str) -> None:
    gates = weights_of(build(cell, "torch"), recurrent=True)
    assert len(gates) == L * NUM_GATES[cell]
    assert len({tuple(gate.flatten().tolist()) for gate in gates}) == len(gates)


@pytest.mark.parametrize("cell", CELLS)
def test_torch_draws_uniformly_within_one_over_the_root_of_hidden_size(cell: str) -> None:
    network = build(cell, "torch")
    for tensor in (*weights_of(network, recurrent=True), *weights_of(network, recurrent=False), *biases_of(network)):
        assert_uniform(tensor, 1 / math.sqrt(H))


@pytest.mark.parametrize("cell", CELLS)
def test_torch_spreads_as_torch_nn_does(cell: str) -> None:
    torch.manual_seed(0)
    theirs = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[cell](V, H, L)
    ours = dict(build(cell, "torch").recurrent.named_parameters())
    for name, value in theirs.named_parameters():
        # Both standard deviations have an error of about 1 / sqrt(2n), n at least 16.
        assert ours[name].std().item() == pytest.approx(value.std().item(), rel=0.5 if "bias" in name else 0.1)


@pytest.mark.parametrize("cell", CELLS)
def test_normal_draws_with_deviation_one_hundredth_and_no_bias(cell: str) -> None:
    network = build(cell, "normal")
    for tensor in (*weights_of(network, recurrent=True), *weights_of(network, recurrent=False)):
        assert_moments(tensor, 0.01)
    assert all(bias.eq(0).all() for bias in biases_of(network))


@pytest.mark.parametrize("cell", CELLS)
def test_xavier_scales_each_gate_by_both_its_fans(cell: str) -> None:
    network = build(cell, "xavier")
    for gate in (*weights_of(network, recurrent=True), *weights_of(network, recurrent=False)):
        assert_uniform(gate, math.sqrt(6 / sum(gate.shape)))
    assert all(bias.eq(0).all() for bias in biases_of(network))


@pytest.mark.parametrize("cell", CELLS)
def test_he_scales_each_gate_by_its_inputs(cell: str) -> None:
    network = build(cell, "he")
    for gate in (*weights_of(network, recurrent=True), *weights_of(network, recurrent=False)):
        assert_moments(gate, math.sqrt(2 / gate.shape[1]))
    assert all(bias.eq(0).all() for bias in biases_of(network))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("cell", CELLS)
def test_orthogonal_makes_each_gates_recurrent_rows_orthonormal(cell: str, seed: int) -> None:
    network = build(cell, "orthogonal", seed=seed)
    for gate in weights_of(network, recurrent=True):
        # A QR factorisation in float32.
        assert_close(gate @ gate.t(), torch.eye(H), rtol=0, atol=1e-5)
    for tensor in (*weights_of(network, recurrent=False), *biases_of(network)):
        assert_uniform(tensor, 1 / math.sqrt(H))


def test_identity_makes_the_recurrent_matrices_one_and_the_biases_zero() -> None:
    network = build("rnn", "identity", activation="relu")
    for gate in weights_of(network, recurrent=True):
        assert_close(gate, torch.eye(H), rtol=0, atol=0)
    for weight in weights_of(network, recurrent=False):
        assert_uniform(weight, 1 / math.sqrt(H))
    assert all(bias.eq(0).all() for bias in biases_of(network))


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("value", [0.0, 1.0, -2.5])
@pytest.mark.parametrize("implementation", ["torch", "reference", NATIVE])
def test_forget_bias_is_the_sum_of_both_biases_and_touches_no_other(
    implementation: str, value: float, init: str
) -> None:
    network = build("lstm", init, forget_bias=value, implementation=implementation)
    without = build("lstm", init, implementation=implementation)
    for layer in range(L):
        names = (f"recurrent.bias_ih_l{layer}", f"recurrent.bias_hh_l{layer}")
        total = sum(network.get_parameter(name).detach() for name in names)
        assert isinstance(total, Tensor)
        assert_close(total[H : 2 * H], torch.full((H,), value), rtol=0, atol=0)
        for name in names:
            rest, plain = network.get_parameter(name).detach().clone(), without.get_parameter(name).detach().clone()
            rest[H : 2 * H] = plain[H : 2 * H] = 0
            assert_close(rest, plain, rtol=0, atol=0)


def test_forget_bias_is_what_the_forget_gate_adds() -> None:
    # With weights of (nearly) nothing, c' = sigmoid(bias) c: the half-life of a memory.
    network = build("lstm", "normal", forget_bias=3.0, num_layers=1).double()
    with torch.no_grad():
        for name, parameter in network.recurrent.named_parameters():
            if "weight" in name:
                parameter.zero_()
    h, _ = network.initial_state(1)
    c = torch.ones_like(h)
    _, (_, new_c) = network(torch.zeros(1, 1, dtype=torch.long), (h, c))
    assert_close(new_c, torch.full_like(c, 1 / (1 + math.exp(-3.0))), rtol=1e-12, atol=0)


@pytest.mark.parametrize("init", INITS)
def test_an_embedding_starts_standard_normal_as_torch_nns(init: str) -> None:
    network = build("gru", init, embedding_size=E)
    assert network.embedding is not None
    assert_moments(network.embedding.weight.detach(), 1.0)


@pytest.mark.parametrize("direction", ["forward", "backward", "bidirectional", "leaky"])
@pytest.mark.parametrize("embedding_size", [None, 3])
def test_every_weight_comes_from_the_seed_and_from_nothing_else(direction: str, embedding_size: int | None) -> None:
    settings = ModelSettings.model_validate(
        {"direction": direction, "embedding_size": embedding_size, "hidden_size": 4}
    )
    built: list[dict[str, torch.Tensor]] = []
    for others in (1, 2):
        torch.manual_seed(others)
        built.append(build_model(settings, 5, seed=0).state_dict())
    assert all(torch.equal(built[1][name], weight) for name, weight in built[0].items())
