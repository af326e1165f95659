"""The plain loop over our cells, torch.nn's implementation and the native one are equal in everything but speed."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from charlm.errors import ConfigError
from charlm.networks import support, torch_nn
from charlm.networks.building import build_model
from charlm.networks.implementations import choose_implementation
from charlm.networks.language_model import CharLM
from charlm.networks.recurrent import detach_state
from charlm.settings.model import ModelSettings

T, B, V, E, H = 7, 3, 11, 4, 5
IN_TORCH: dict[str, dict[str, Any]] = {
    "rnn tanh": {"cell": "rnn"},
    "rnn relu": {"cell": "rnn", "activation": "relu"},
    "gru": {"cell": "gru"},
    "lstm": {"cell": "lstm"},
}
NOT_IN_TORCH: dict[str, dict[str, Any]] = {
    "rnn sigmoid": {"cell": "rnn", "activation": "sigmoid"},
    "gru before": {"cell": "gru", "reset_after": False},
}
NATIVE = pytest.param("native", marks=pytest.mark.kernels)
EVERY_PAIR = [
    *((name, implementation) for name in IN_TORCH for implementation in ("torch", "reference")),
    *((name, "reference") for name in NOT_IN_TORCH),
    *(pytest.param(name, "native", marks=pytest.mark.kernels) for name in (*IN_TORCH, "gru before")),
]
# Two orders of summation of a few dozen numbers near 1, over T steps; the kernels have float32 alone.
TOLERANCE = {"rtol": 1e-10, "atol": 1e-12}
NATIVE_TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}


def settings_of(name: str, **others: Any) -> ModelSettings:
    """Return the settings of a small stack."""
    return ModelSettings(hidden_size=H, **(IN_TORCH | NOT_IN_TORCH)[name], **others)


def build(name: str, implementation: str, *, seed: int = 0, **others: Any) -> CharLM:
    """Return a small model, in float64 if the implementation supports it."""
    network = build_model(settings_of(name, implementation=implementation, **others), V, seed=seed)
    return network if implementation == "native" else network.double()


def tolerance_of(implementation: str) -> dict[str, float]:
    return NATIVE_TOLERANCE if implementation == "native" else TOLERANCE


def draw_ids(seed: int, length: int = T) -> Tensor:
    return torch.randint(V, (length, B), generator=torch.Generator().manual_seed(seed))


def draw_like(tensors: tuple[Tensor, ...], seed: int) -> tuple[Tensor, ...]:
    """Return normal numbers in the shapes of some tensors."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype) for tensor in tensors)


def run_with_gradients(network: CharLM, ids: Tensor, seed: int) -> dict[str, Tensor]:
    """Return outputs, final states and the gradients of a random sum of them all, by name."""
    state = tuple(part.requires_grad_() for part in draw_like(network.initial_state(B), seed))
    logits, final = network(ids, state)
    outputs = (logits, *final)
    total = sum((part * weight).sum() for part, weight in zip(outputs, draw_like(outputs, seed + 1), strict=True))
    assert isinstance(total, Tensor)
    parameters = dict(network.named_parameters())
    gradients = torch.autograd.grad(total, [*parameters.values(), *state])
    names = [*parameters, *(f"initial state {index}" for index in range(len(state)))]
    return {
        "logits": logits,
        **{f"final state {index}": part for index, part in enumerate(final)},
        **{f"gradient of {name}": part for name, part in zip(names, gradients, strict=True)},
    }


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("embedding_size", [None, E])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("name", IN_TORCH)
def test_reference_equals_torch(name: str, num_layers: int, embedding_size: int | None, seed: int) -> None:
    shape = {"num_layers": num_layers, "embedding_size": embedding_size, "seed": seed}
    ours, theirs = build(name, "reference", **shape), build(name, "torch", **shape)
    ids = draw_ids(seed)
    found, expected = run_with_gradients(ours, ids, seed), run_with_gradients(theirs, ids, seed)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert value.abs().max() > 0, key
        assert_close(found[key], value, msg=lambda text, key=key: f"{key}: {text}", **TOLERANCE)


@pytest.mark.parametrize(("source", "target"), [("reference", "torch"), ("torch", "reference")])
@pytest.mark.parametrize("embedding_size", [None, E])
@pytest.mark.parametrize("name", IN_TORCH)
def test_each_implementation_loads_the_others_state_dict(
    name: str, embedding_size: int | None, source: str, target: str
) -> None:
    shape = {"num_layers": 2, "embedding_size": embedding_size}
    saved, loaded = build(name, source, seed=0, **shape), build(name, target, seed=1, **shape)
    ids, state = draw_ids(0), saved.initial_state(B)
    assert (saved(ids, state)[0] - loaded(ids, state)[0]).abs().max() > 1e-3
    loaded.load_state_dict(saved.state_dict())
    assert_close(loaded(ids, state), saved(ids, state), **TOLERANCE)


@pytest.mark.parametrize("chunk", [1, 2, 3, T - 1])
@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize(("name", "implementation"), EVERY_PAIR)
def test_chunked_forward_equals_whole_sequence(name: str, implementation: str, num_layers: int, chunk: int) -> None:
    network = build(name, implementation, num_layers=num_layers)
    ids = draw_ids(0)
    before = draw_like(network.initial_state(B), 1)
    logits, state = [], before
    for window in ids.split(chunk):
        part, state = network(window, state)
        logits.append(part)
    whole, final = network(ids, before)
    assert_close((torch.cat(logits), *state), (whole, *final), **tolerance_of(implementation))


class Products(TorchDispatchMode):
    """Record the shapes of matrix products' operands, and the names of other operations."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: set[int] = set()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self.names.add(name)
        if name in ("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot"):
            self.sizes.update(size for arg in args if isinstance(arg, Tensor) for size in arg.shape)
        return func(*args, **(kwargs or {}))


def layer_0_products(network: CharLM) -> Products:
    """Watch the recurrent layers' forward and backward pass; the decoder predicts only 2 symbols."""
    network.decoder = torch.nn.Linear(H, 2, dtype=torch.float64)
    ids = draw_ids(0)
    with Products() as products:
        logits, _ = network(ids, network.initial_state(B))
        logits.sum().backward()
    return products


@pytest.mark.parametrize("name", IN_TORCH | NOT_IN_TORCH)
def test_reference_looks_a_one_hot_up_and_never_multiplies_by_it(name: str) -> None:
    products = layer_0_products(build(name, "reference", num_layers=2))
    # No other matrix has the size V, so a product with weight_ih_l0 or with a one-hot would show it.
    assert V not in products.sizes
    assert H in products.sizes
    assert "embedding" in products.names


def test_the_spy_on_products_sees_one_with_the_size_of_the_input() -> None:
    network = build("gru", "reference", embedding_size=V)
    assert V in layer_0_products(network).sizes


@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_torch_runs_torch_nn_and_reference_does_not(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fused = torch_nn.FUNCTIONS[name.upper()]

    def spy(*args: Any) -> Any:
        calls.append(name)
        return fused(*args)

    monkeypatch.setitem(torch_nn.FUNCTIONS, name.upper(), spy)
    for implementation, expected in (("reference", []), ("torch", [name])):
        network = build(name, implementation)
        network(draw_ids(0), network.initial_state(B))
        assert calls == expected


def test_with_gradients_torch_is_always_in_training_mode_as_cudnn_asks_and_drops_in_training_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    modes: list[tuple[float, bool]] = []
    lstm = torch_nn.FUNCTIONS["LSTM"]

    def spy(*arguments: Any) -> Any:
        modes.append(arguments[5:7])
        return lstm(*arguments)

    monkeypatch.setitem(torch_nn.FUNCTIONS, "LSTM", spy)
    network = build("lstm", "torch", num_layers=2, dropout=0.5)
    for is_training, has_gradients in product((True, False), repeat=2):
        with torch.set_grad_enabled(has_gradients):
            network.train(is_training).read(draw_ids(0), network.initial_state(B))
    assert modes == [(0.5, True), (0.5, True), (0.0, True), (0.0, False)]


@pytest.mark.parametrize(
    ("name", "named"), [("rnn sigmoid", "model.activation sigmoid"), ("gru before", "model.reset_after false")]
)
def test_torch_refuses_by_name_what_torch_nn_does_not_have(name: str, named: str) -> None:
    with pytest.raises(ConfigError, match=f"{named}.*auto or reference"):
        build_model(settings_of(name, implementation="torch"), V, seed=0)


@pytest.mark.parametrize("name", NOT_IN_TORCH)
def test_auto_without_kernels_takes_reference_for_what_torch_nn_does_not_have(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(support, "load_kernels", lambda: "there are no kernels")
    assert choose_implementation(settings_of(name, implementation="auto")) == "reference"
    auto, ours = build(name, "auto", num_layers=2), build(name, "reference", num_layers=2)
    ids = draw_ids(0)
    assert_close(auto(ids, auto.initial_state(B)), ours(ids, ours.initial_state(B)), rtol=0, atol=0)


@pytest.mark.parametrize("name", IN_TORCH)
def test_auto_does_not_fall_back_on_reference_if_something_faster_exists(name: str) -> None:
    assert choose_implementation(settings_of(name, implementation="auto")) != "reference"


@pytest.mark.parametrize("name", IN_TORCH)
@pytest.mark.parametrize("implementation", ["torch", "reference", NATIVE])
def test_an_explicit_implementation_is_taken(name: str, implementation: str) -> None:
    assert choose_implementation(settings_of(name, implementation=implementation)) == implementation


@pytest.mark.parametrize("implementation", ["torch", "reference", NATIVE])
def test_dropout_acts_on_what_passes_between_layers(implementation: str) -> None:
    p = 0.25
    network = build("rnn tanh", implementation, num_layers=2, dropout=p).train()
    with torch.no_grad():
        # The second layer is an identity, so that its hidden state shows what reached it.
        network.get_parameter("recurrent.weight_ih_l1").copy_(torch.eye(H))
        network.get_parameter("recurrent.bias_ih_l1").zero_()
        network.get_parameter("recurrent.bias_hh_l1").zero_()
    torch.manual_seed(0)
    factors = []
    for seed in range(100):
        _, (h,) = network(draw_ids(seed, length=1), network.initial_state(B))
        factors.append(torch.atanh(h[1]) / h[0])
    factors = torch.stack(factors).flatten()
    kept = factors[factors != 0]
    # In float32, atanh near 1 magnifies the rounding of its argument.
    tolerance = {"rtol": 1e-3, "atol": 0.0} if implementation == "native" else TOLERANCE
    assert_close(kept, torch.full_like(kept, 1 / (1 - p)), **tolerance)
    # Within 4 standard deviations of a binomial share.
    assert abs(len(kept) / len(factors) - (1 - p)) < 4 * math.sqrt(p * (1 - p) / len(factors))


@pytest.mark.parametrize("embedding_size", [None, E])
@pytest.mark.parametrize("num_layers", [2, 3])
@pytest.mark.parametrize(("name", "implementation"), EVERY_PAIR)
def test_dropout_acts_neither_on_inputs_nor_over_time_nor_on_outputs(
    name: str, implementation: str, num_layers: int, embedding_size: int | None
) -> None:
    network = build(name, implementation, num_layers=num_layers, dropout=0.5, embedding_size=embedding_size)
    ids, state = draw_ids(0), network.initial_state(B)
    plain, plain_state = network.eval()(ids, state)
    torch.manual_seed(0)
    dropped, dropped_state = network.train()(ids, state)
    assert (dropped - plain).abs().max() > 1e-3
    for part, plain_part in zip(dropped_state, plain_state, strict=True):
        assert_close(part[0], plain_part[0], **tolerance_of(implementation))
        assert (part[1] - plain_part[1]).abs().max() > 1e-3
    assert_close(dropped[-1], network.decoder(dropped_state[0][-1]), **tolerance_of(implementation))


@pytest.mark.parametrize(("name", "implementation"), EVERY_PAIR)
def test_dropout_does_nothing_while_evaluating(name: str, implementation: str) -> None:
    network = build(name, implementation, num_layers=2, dropout=0.5).eval()
    without = build(name, implementation, num_layers=2).train()
    ids, state = draw_ids(0), network.initial_state(B)
    assert_close(network(ids, state), without(ids, state), rtol=0, atol=0)


@pytest.mark.parametrize(("name", "implementation"), EVERY_PAIR)
def test_detach_state_keeps_the_values_and_cuts_the_history(name: str, implementation: str) -> None:
    network = build(name, implementation, num_layers=2)
    first, second = draw_ids(0), draw_ids(1)
    start = tuple(part.requires_grad_() for part in network.initial_state(B))
    _, carried = network(first, start)
    cut = detach_state(carried)
    assert_close(cut, carried, rtol=0, atol=0)
    through = torch.autograd.grad(network(second, carried)[0].sum(), start, retain_graph=True)
    assert all(gradient.abs().max() > 0 for gradient in through)
    stopped = torch.autograd.grad(network(second, cut)[0].sum(), start, allow_unused=True)
    assert stopped == (None,) * len(start)


@pytest.mark.parametrize(("name", "implementation"), EVERY_PAIR)
def test_no_module_remembers_a_state(name: str, implementation: str) -> None:
    network = build(name, implementation, num_layers=2)
    ids, state = draw_ids(0), network.initial_state(B)
    once = network(ids, state)
    network(draw_ids(1), draw_like(state, 2))
    assert_close(network(ids, state), once, rtol=0, atol=0)
    assert all(part.eq(0).all() for part in state)
