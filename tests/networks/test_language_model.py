"""The causal model: no prediction sees what it predicts, in any implementation and with any kind of input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from charlm.networks.building import build_model, num_parameters
from charlm.networks.language_model import CharLM
from charlm.settings.model import ModelSettings

T, B, V, E, H = 9, 2, 13, 6, 8
NUM_GATES = {"rnn": 1, "gru": 3, "lstm": 4}
CELLS: dict[str, dict[str, Any]] = {
    "rnn tanh": {"cell": "rnn"},
    "rnn relu": {"cell": "rnn", "activation": "relu"},
    "gru": {"cell": "gru"},
    "lstm": {"cell": "lstm"},
    "rnn sigmoid": {"cell": "rnn", "activation": "sigmoid"},
    "gru before": {"cell": "gru", "reset_after": False},
}
PAIRS = [
    *((name, implementation) for name in ("rnn tanh", "rnn relu", "gru", "lstm") for implementation in ("torch",)),
    *((name, "reference") for name in CELLS),
    *(pytest.param(name, "native", marks=pytest.mark.kernels) for name in CELLS if name != "rnn sigmoid"),
]
NATIVE = pytest.param("native", marks=pytest.mark.kernels)


def build(name: str, implementation: str, *, seed: int = 0, **others: Any) -> CharLM:
    """Return a small model."""
    model = ModelSettings(hidden_size=H, implementation=implementation, **CELLS[name], **others)
    return build_model(model, V, seed=seed)


def build_exact(name: str, implementation: str, **others: Any) -> tuple[CharLM, dict[str, float]]:
    """Return a small model in the widest dtype that its implementation has, and the tolerance for its numbers."""
    network = build(name, implementation, **others)
    if implementation == "native":
        return network, {"rtol": 1e-5, "atol": 1e-6}
    return network.double(), {"rtol": 1e-12, "atol": 1e-13}


def draw_ids(seed: int) -> Tensor:
    return torch.randint(V, (T, B), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("embedding_size", [None, E])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize(("name", "implementation"), PAIRS)
def test_later_characters_change_no_bit_of_a_prediction(
    name: str, implementation: str, num_layers: int, embedding_size: int | None
) -> None:
    network = build(name, implementation, num_layers=num_layers, embedding_size=embedding_size)
    ids, state = draw_ids(0), network.initial_state(B)
    logits, _ = network(ids, state)
    for t in range(T - 1):
        changed = ids.clone()
        changed[t + 1 :] = (ids[t + 1 :] + 1) % V
        found, _ = network(changed, state)
        assert torch.equal(found[: t + 1], logits[: t + 1])
        assert not torch.equal(found[t + 1 :], logits[t + 1 :])


@pytest.mark.parametrize(("name", "implementation"), PAIRS)
def test_earlier_characters_do_change_a_prediction(name: str, implementation: str) -> None:
    network = build(name, implementation)
    ids, state = draw_ids(0), network.initial_state(B)
    changed = ids.clone()
    changed[0] = (ids[0] + 1) % V
    assert (network(ids, state)[0][1] - network(changed, state)[0][1]).abs().min() > 0


@pytest.mark.parametrize(("name", "implementation"), PAIRS)
def test_streams_side_by_side_do_not_mix(name: str, implementation: str) -> None:
    network, close = build_exact(name, implementation, num_layers=2)
    ids = draw_ids(0)
    logits, state = network(ids, network.initial_state(B))
    for b in range(B):
        alone, alone_state = network(ids[:, b, None], network.initial_state(1))
        assert_close(logits[:, b, None], alone, **close)
        for part, alone_part in zip(state, alone_state, strict=True):
            assert_close(part[:, b, None], alone_part, **close)


@pytest.mark.parametrize("implementation", ["torch", "reference", NATIVE])
@pytest.mark.parametrize("cell", NUM_GATES)
def test_a_one_hot_is_an_embedding_by_the_identity(cell: str, implementation: str) -> None:
    name = cell if cell != "rnn" else "rnn tanh"
    plain, close = build_exact(name, implementation, num_layers=2)
    embedded, _ = build_exact(name, implementation, num_layers=2, embedding_size=V)
    embedded.load_state_dict({**plain.state_dict(), "embedding.weight": torch.eye(V)})
    ids = draw_ids(0)
    found = embedded(ids, embedded.initial_state(B))
    assert_close(found, plain(ids, plain.initial_state(B)), **close)


@pytest.mark.parametrize("implementation", ["torch", "reference", NATIVE])
def test_an_embedding_feeds_the_row_of_each_character(implementation: str) -> None:
    network, close = build_exact("rnn tanh", implementation, embedding_size=E)
    assert network.embedding is not None
    ids = draw_ids(0)[:1]
    logits, _ = network(ids, network.initial_state(B))
    weight_ih = network.get_parameter("recurrent.weight_ih_l0")
    bias = network.get_parameter("recurrent.bias_ih_l0") + network.get_parameter("recurrent.bias_hh_l0")
    for b in range(B):
        h = torch.tanh(weight_ih @ network.embedding.weight[int(ids[0, b])] + bias)
        expected = network.decoder.weight @ h + network.decoder.bias
        assert_close(logits[0, b], expected, **close)


@pytest.mark.parametrize("implementation", ["torch", "reference", NATIVE])
@pytest.mark.parametrize("embedding_size", [None, E])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("cell", NUM_GATES)
def test_parameter_count_equals_its_closed_form(
    cell: str, num_layers: int, embedding_size: int | None, implementation: str
) -> None:
    model = ModelSettings(
        cell=cell,
        hidden_size=H,
        num_layers=num_layers,
        embedding_size=embedding_size,
        implementation=implementation,
    )
    rows = NUM_GATES[cell] * H
    first = rows * ((embedding_size or V) + H + 2)
    deeper = (num_layers - 1) * rows * (2 * H + 2)
    expected = V * (embedding_size or 0) + first + deeper + V * (H + 1)
    assert num_parameters(build_model(model, V, seed=0)) == expected


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("embedding_size", [None, E])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("name", ["rnn tanh", "rnn relu", "gru", "lstm"])
def test_both_implementations_learn_the_same(name: str, num_layers: int, embedding_size: int | None, seed: int) -> None:
    """Check that three steps of plain gradient descent, with the state carried, give the same losses and weights."""
    results: list[tuple[list[float], dict[str, Tensor]]] = []
    for implementation in ("torch", "reference"):
        network = build(name, implementation, seed=seed, num_layers=num_layers, embedding_size=embedding_size)
        network.double()
        state, losses = network.initial_state(B), []
        for step in range(3):
            logits, state = network(draw_ids(step), state)
            state = tuple(part.detach() for part in state)
            loss = cross_entropy(logits.flatten(0, 1), draw_ids(step + 1).flatten())
            losses.append(loss.item())
            parameters = list(network.parameters())
            gradients = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter -= 0.5 * gradient
        results.append((losses, dict(network.state_dict())))
    (losses, weights), (other_losses, other_weights) = results
    assert len(set(losses)) == 3
    assert other_losses == pytest.approx(losses, rel=1e-12)
    assert_close(other_weights, weights, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "implementation"), PAIRS)
def test_logits_and_states_have_the_documented_shapes_and_the_networks_dtype(
    name: str, implementation: str, dtype: torch.dtype
) -> None:
    network = build(name, implementation, num_layers=2).to(dtype)
    logits, state = network(draw_ids(0), network.initial_state(B))
    assert logits.shape == (T, B, V)
    assert [part.shape for part in state] == [(2, B, H)] * (2 if name == "lstm" else 1)
    assert {part.dtype for part in (logits, *state)} == {dtype}
