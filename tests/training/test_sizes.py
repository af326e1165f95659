"""The memory that training needs, computed from sizes alone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import Result

from charlm.errors import ConfigError
from charlm.networks.building import build_model
from charlm.networks.shapes import num_numbers, parameter_shapes
from charlm.settings.loading import load_settings
from charlm.settings.model import ModelSettings
from charlm.settings.schema import Settings
from charlm.training import footprint
from charlm.training.averaging import WeightAverage
from charlm.training.footprint import physical_memory, require_memory, training_size
from charlm.training.optimizer import build_optimizer
from charlm.training.step import window_loss

SIZES = {"hidden_size": 6, "num_layers": 2}
IMPLEMENTATIONS = [pytest.param("native", marks=pytest.mark.kernels), "torch", "reference"]


def implementations(direction: str) -> list[str]:
    """Return the implementations that can run a direction."""
    return ["torch"] if direction == "leaky" else ["reference", "torch"]


@pytest.mark.parametrize("direction", ["forward", "backward", "bidirectional", "leaky"])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_the_shapes_are_those_of_a_network_that_is_built(cell: str, direction: str) -> None:
    for num_layers, embedding, implementation in product((1, 3), (None, 4), implementations(direction)):
        model = ModelSettings.model_validate(
            {"cell": cell, "direction": direction, "num_layers": num_layers, "embedding_size": embedding}
            | {"hidden_size": 5, "implementation": implementation}
        )
        built = build_model(model, 7, seed=0).state_dict()
        assert list(parameter_shapes(model, 7).items()) == [(name, weight.shape) for name, weight in built.items()]


@pytest.mark.kernels
@pytest.mark.parametrize("direction", ["forward", "backward", "bidirectional"])
def test_the_shapes_are_those_the_kernels_have(direction: str) -> None:
    model = ModelSettings.model_validate({**SIZES, "direction": direction, "implementation": "native"})
    built = build_model(model, 7, seed=0).state_dict()
    assert parameter_shapes(model, 7) == {name: weight.shape for name, weight in built.items()}


@pytest.mark.parametrize(
    "settings",
    [
        {"cell": "rnn", "activation": "sigmoid", "implementation": "torch"},
        {"cell": "rnn", "activation": "sigmoid", "direction": "leaky"},
        {"cell": "gru", "reset_after": False, "implementation": "torch"},
        {"cell": "gru", "reset_after": False, "direction": "leaky"},
        {"implementation": "native", "direction": "leaky"},
        {"dropout": 0.5},
    ],
    ids=str,
)
def test_shapes_are_known_even_for_what_cannot_be_built_here(settings: dict[str, object]) -> None:
    model = ModelSettings.model_validate({**SIZES, **settings})
    plain = ModelSettings.model_validate({**SIZES, "cell": model.cell, "direction": model.direction})
    assert parameter_shapes(model, 7) == parameter_shapes(plain, 7)


@pytest.mark.parametrize("direction", ["forward", "bidirectional", "leaky"])
def test_the_shapes_of_the_largest_model_take_no_memory_and_no_random_number(direction: str) -> None:
    sizes = {"hidden_size": 65_536, "num_layers": 256, "embedding_size": 65_536, "cell": "lstm"}
    before = torch.get_rng_state()
    shapes = parameter_shapes(ModelSettings.model_validate({**sizes, "direction": direction}), 1_114_112)
    assert num_numbers(shapes.values()) > 8e12
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize(("direction", "lookahead"), [("forward", 0), ("bidirectional", 6)])
def test_a_window_is_never_thought_larger_than_what_autograd_keeps(
    cell: str, direction: str, lookahead: int, implementation: str
) -> None:
    settings = Settings.model_validate(
        {
            "model": {"cell": cell, "direction": direction, "lookahead": lookahead, "implementation": implementation}
            | {"hidden_size": 24, "num_layers": 3},
            "sampling": {"batch_size": 16, "seq_len": 32},
        }
    )
    network = build_model(settings.model, 40, seed=0)
    weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    inputs, targets, beyond = (torch.zeros(length, 16, dtype=torch.long) for length in (32, 32, lookahead))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        readouts = network.read_window(inputs, targets, beyond, network.initial_state(16))
        window_loss(readouts, inputs, targets, settings.model.loss_weights)
    # The gradients need as much again as the logits, of which autograd only keeps the log probabilities.
    logits = [part for part in (readouts.forward, readouts.backward, readouts.both) if part is not None]
    num_bytes = sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) + sum(
        4 * part.numel() for part in logits
    )
    assert 0.25 * num_bytes < 4 * training_size(settings, 40).window <= num_bytes


@pytest.mark.parametrize(
    "overrides", [["method=adam"], ["method=adamw"], ["method=sgd"], ["method=sgd", "momentum=0.9"], ["method=rmsprop"]]
)
def test_parameters_count_with_all_that_the_optimiser_keeps(overrides: list[str]) -> None:
    settings = load_settings(overrides=["model.hidden_size=8", *(f"optimizer.{override}" for override in overrides)])
    network = build_model(settings.model, 7, seed=0)
    optimizer = build_optimizer(network.parameters(), settings.optimizer)
    for weight in network.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    state = optimizer.state_dict()["state"].values()
    moments = sum(part.numel() for slot in state for part in slot.values() if isinstance(part, Tensor) and part.ndim)
    num_parameters = sum(weight.numel() for weight in network.parameters())
    assert training_size(settings, 7).parameters == 2 * num_parameters + moments


@pytest.mark.parametrize("average", ["{method: ema}", "{method: triggered}"])
def test_an_average_of_the_weights_is_counted_too(average: str) -> None:
    plain, averaged = (
        load_settings(overrides=["model.hidden_size=8", "optimizer.method=sgd", f"optimizer.average={each}"])
        for each in ("{method: none}", average)
    )
    network = build_model(averaged.model, 7, seed=0)
    twin = WeightAverage(network, averaged.optimizer.average).network
    num_more = sum(weight.numel() for weight in twin.parameters())
    assert training_size(averaged, 7).parameters == training_size(plain, 7).parameters + num_more
    assert training_size(averaged, 7).window == training_size(plain, 7).window


@pytest.mark.parametrize(
    ("overrides", "keys"),
    [
        (["model.hidden_size=65536"], "lower model.hidden_size or model.num_layers"),
        (
            ["model.hidden_size=65536", "model.num_layers=256", "model.embedding_size=65536"],
            "lower model.hidden_size, model.num_layers or model.embedding_size",
        ),
        (
            ["sampling.batch_size=1000000", "sampling.seq_len=1000000"],
            "lower sampling.batch_size, sampling.seq_len, model.hidden_size or model.num_layers",
        ),
    ],
)
def test_what_is_larger_than_the_machine_is_refused_with_what_to_lower(overrides: list[str], keys: str) -> None:
    settings = load_settings(overrides=overrides)
    with pytest.raises(ConfigError, match=r"^training takes at least [\d,]+\.\d GB of memory \(") as caught:
        require_memory(settings, 100)
    assert str(caught.value).endswith(f"GB: {keys}")


def test_what_just_fits_is_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    needed = training_size(settings, 80).num_bytes
    monkeypatch.setattr(footprint, "physical_memory", lambda: needed)
    require_memory(settings, 80)
    monkeypatch.setattr(footprint, "physical_memory", lambda: needed - 1)
    with pytest.raises(ConfigError):
        require_memory(settings, 80)


def test_a_containers_limit_counts_where_it_is_lower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(footprint, "CONTAINER_LIMIT", limit)
    machine = physical_memory()
    assert machine is not None
    assert machine > 10**8
    for text, expected in (("max\n", machine), ("1000000\n", 1_000_000), (f"{machine * 9}\n", machine)):
        limit.write_text(text)
        assert physical_memory() == expected


@pytest.mark.parametrize("setting", ["model.hidden_size=65536", "model.num_layers=256", "model.embedding_size=65536"])
def test_train_refuses_a_model_larger_than_memory_and_leaves_nothing(
    setting: str,
    charlm_command: Callable[..., Result],
    tiny_options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(footprint, "physical_memory", lambda: 100_000)
    result = charlm_command("train", *tiny_options, f"--set={setting}", f"--runs-dir={tmp_path / 'runs'}")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("charlm: training takes at least ")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()
