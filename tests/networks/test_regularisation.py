"""Regularised networks: they are the same in every implementation and honest, and their parts equal simpler ones."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from pairs import by_pairs
from predicting import sample_text, sample_texts
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.testing import assert_close

from charlm.errors import ConfigError
from charlm.evaluation.reading import measure_text
from charlm.generation.filters import Filters
from charlm.networks import support
from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.building import Network, build_model, num_parameters
from charlm.networks.implementations import choose_implementation
from charlm.networks.language_model import CharLM
from charlm.networks.native_predictor import NativePredictor
from charlm.networks.recurrent import State, last_outputs
from charlm.networks.shapes import parameter_shapes
from charlm.networks.torch_predictor import predictor_of
from charlm.settings.model import ModelSettings
from charlm.text.vocabulary import Vocabulary

T, B, V, H = 3, 2, 6, 4
CELLS: dict[str, dict[str, Any]] = {
    "rnn tanh": {"cell": "rnn"},
    "rnn relu": {"cell": "rnn", "activation": "relu"},
    "gru": {"cell": "gru"},
    "lstm": {"cell": "lstm"},
}
NATIVE = pytest.param("native", marks=pytest.mark.kernels)
TWINS = ["torch", NATIVE]
IMPLEMENTATIONS = ["reference", *TWINS]
DIRECTIONS = ["forward", "bidirectional"]
RATES = {"dropout": 0.4, "input_dropout": 0.3, "output_dropout": 0.3, "recurrent_dropout": 0.2}
FEATURES: dict[str, dict[str, Any]] = {
    **{name: {name: rate} for name, rate in RATES.items()},
    "locked dropout": {"dropout": 0.4, "locked_dropout": True},
    "locked input_dropout": {"input_dropout": 0.3, "locked_dropout": True},
    "locked output_dropout": {"output_dropout": 0.3, "locked_dropout": True},
    "residual": {"residual": True},
    "tied_embeddings": {"tied_embeddings": True},
    "learned_state": {"learned_state": True},
    "all": {**RATES, "locked_dropout": True, "residual": True, "tied_embeddings": True, "learned_state": True},
    "all, unlocked": {**RATES, "residual": True, "learned_state": True},
}
ONLY_IN_CELLS: dict[str, dict[str, Any]] = {
    "zoneout": {"zoneout": 0.2},
    "zoneout_cells": {"cell": "lstm", "zoneout_cells": 0.3},
    "layer_norm": {"layer_norm": True},
}
EXACT = {"rtol": 0, "atol": 0}
# Two orders of summation of a few dozen numbers near 1, over T steps; the kernels have float32 alone.
CLOSE = {"rtol": 1e-10, "atol": 1e-12}
NATIVE_CLOSE = {"rtol": 1e-4, "atol": 2e-6}


def settings_of(name: str, feature: dict[str, Any], *, embedding_size: int | None = None, **others: Any):
    """Return the settings of a small model; with a single layer, what acts between layers is left out."""
    model = {"hidden_size": H, "embedding_size": embedding_size, **CELLS[name], **feature, **others}
    if model.get("num_layers", 1) == 1:
        model |= {"dropout": 0.0, "residual": False}
    if model.get("tied_embeddings"):
        model |= {"embedding_size": H}
        if model.get("direction") == "bidirectional":
            model |= {"tied_embeddings": False}
    return ModelSettings.model_validate(model)


def depths(feature: dict[str, Any]) -> tuple[int, ...]:
    """Return the numbers of layers with which a feature acts."""
    return (2, 3) if feature.keys() <= {"dropout", "locked_dropout", "residual"} else (1, 2, 3)


def move_learned_states(network: Network) -> None:
    """Move the learned states away from zero, differently in each half."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "initial" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))


def build(model: ModelSettings, *, seed: int = 0) -> Network:
    """Return a model, in float64 unless the kernels run it, with learned states that are not zero."""
    network = build_model(model, V, seed=seed)
    move_learned_states(network)
    return network if model.implementation == "native" else network.double()


def draw_ids(length: int, rows: int = B, seed: int = 0) -> Tensor:
    return torch.randint(V, (length, rows), generator=torch.Generator().manual_seed(seed))


def draw_like(tensors: tuple[Tensor, ...], seed: int) -> tuple[Tensor, ...]:
    """Return normal numbers in the shapes of some tensors, the same in each dtype."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(tensor.shape, generator=generator).to(tensor.dtype) for tensor in tensors)


def run_with_gradients(network: Network, *, beyond: int) -> dict[str, Tensor]:
    """Return a training window's outputs, state and the gradients of a random sum of them all, by name."""
    text = draw_ids(T + 1 + beyond)
    moved = tuple(part.requires_grad_() for part in draw_like(network.initial_state(B), 1))
    start = tuple(part + move for part, move in zip(network.initial_state(B), moved, strict=True))
    torch.manual_seed(0)
    readouts = network.read_window(text[:T], text[1 : T + 1], text[T + 1 :], start)
    named = {"forward": readouts.forward, "backward": readouts.backward, "both": readouts.both}
    named |= {f"final state {number}": part for number, part in enumerate(readouts.state)}
    outputs = {name: part for name, part in named.items() if part is not None}
    weights = draw_like(tuple(outputs.values()), 2)
    total = torch.stack([(part * weight).sum() for part, weight in zip(outputs.values(), weights, strict=True)]).sum()
    parameters = dict(network.named_parameters())
    gradients = torch.autograd.grad(total, [*parameters.values(), *moved])
    names = [*parameters, *(f"initial state {number}" for number in range(len(moved)))]
    return outputs | {f"gradient of {name}": part for name, part in zip(names, gradients, strict=True)}


# Each implementation.


@pytest.mark.parametrize(
    ("feature", "name", "twin", "direction"),
    by_pairs(tuple(FEATURES), tuple(CELLS), ("torch", "native"), tuple(DIRECTIONS)),
)
def test_each_implementation_trains_and_evaluates_as_the_reference(
    feature: str, name: str, twin: str, direction: str
) -> None:
    close = NATIVE_CLOSE if twin == "native" else CLOSE
    text = draw_ids(8)[:, 0].numpy().astype(np.uint8)
    for num_layers, embedding_size in product(depths(FEATURES[feature]), (None, 5)):
        others = {"num_layers": num_layers, "embedding_size": embedding_size, "direction": direction}
        beyond = 2 if direction == "bidirectional" else 0
        models = [settings_of(name, FEATURES[feature], implementation=which, **others) for which in ("reference", twin)]
        reference, other = networks = [build(model) for model in models]
        if twin == "native":
            reference.float()
        expected, expected_draws = run_with_gradients(reference, beyond=beyond), torch.get_rng_state()
        found, draws = run_with_gradients(other, beyond=beyond), torch.get_rng_state()
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_close(found[key], value, msg=lambda text, key=key, others=others: f"{key} {others}: {text}", **close)
        assert torch.equal(draws, expected_draws)
        if num_layers < 3:
            continue
        figures = [measure_text(network.eval(), text, chunk_chars=4) for network in networks]
        for part in ("main", "backward", "cloze"):
            ours, theirs = (getattr(figure, part) for figure in figures)
            assert (ours is None) == (theirs is None) == (direction == "forward" and part != "main")
            if ours:
                assert theirs.nats == pytest.approx(ours.nats, rel=1e-5 if twin == "native" else 1e-10)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("feature", FEATURES)
def test_each_feature_changes_what_is_trained(feature: str, implementation: str) -> None:
    shape = {"num_layers": 2, "embedding_size": H, "implementation": implementation}
    with_it, without = (build(settings_of("gru", each, **shape)) for each in (FEATURES[feature], {}))
    assert isinstance(with_it, CharLM)
    if with_it.embedding is None:
        without.load_state_dict(
            {**with_it.state_dict(), "embedding.weight": without.get_parameter("embedding.weight")}, strict=False
        )
    found, plain = (run_with_gradients(network, beyond=0)["forward"] for network in (with_it, without))
    assert (found - plain).abs().max() > 1e-3


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("feature", FEATURES | ONLY_IN_CELLS)
def test_shapes_are_known_in_advance_and_weights_start_the_same(feature: str, name: str) -> None:
    settings = (FEATURES | ONLY_IN_CELLS)[feature]
    which = ["reference"] if feature in ONLY_IN_CELLS else ["reference", "torch"]
    for num_layers, embedding_size, direction in product((1, 3), (None, 5), DIRECTIONS):
        others = {"num_layers": num_layers, "embedding_size": embedding_size, "direction": direction}
        models = [settings_of(name, settings, implementation=each, **others) for each in which]
        states = [build_model(model, V, seed=3).state_dict() for model in models]
        for model, state in zip(models, states, strict=True):
            assert parameter_shapes(model, V) == {key: value.shape for key, value in state.items()}
            assert_close(dict(state), dict(states[0]), **EXACT)


@pytest.mark.kernels
@pytest.mark.parametrize("feature", FEATURES)
def test_weights_start_the_same_for_the_kernels(feature: str) -> None:
    states = []
    for which in ("native", "reference"):
        model = settings_of("lstm", FEATURES[feature], num_layers=2, implementation=which)
        states.append(dict(build_model(model, V, seed=3).state_dict()))
    assert_close(*states, **EXACT)


@pytest.mark.parametrize("twin", ["torch", "native"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("feature", ONLY_IN_CELLS)
def test_an_implementation_that_cannot_is_refused_by_name(feature: str, direction: str, twin: str) -> None:
    settings = {"direction": direction, **ONLY_IN_CELLS[feature]}
    said = {
        "torch": rf"^torch\.nn has no model\.{feature}: set model\.implementation to auto or reference$",
        "native": rf"^model\.implementation native: the native kernels have no model\.{feature}; use auto$",
    }
    with pytest.raises(ConfigError, match=said[twin]):
        build_model(ModelSettings(**settings, implementation=twin), V, seed=0)
    for device in ("cpu", "cuda"):
        assert choose_implementation(ModelSettings(**settings), device) == "reference"


@pytest.mark.parametrize("feature", FEATURES)
def test_auto_takes_a_faster_implementation_for_all_the_others(feature: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = settings_of("lstm", FEATURES[feature], num_layers=2)
    assert choose_implementation(model, "cuda") == "torch"
    monkeypatch.setattr(support, "load_kernels", lambda: "there are no kernels")
    assert choose_implementation(model) == "torch"
    monkeypatch.setattr(support, "load_kernels", lambda: None)
    assert choose_implementation(model) == "native"


# Residual connections.


@pytest.mark.parametrize("num_layers", [2, 3])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("name", CELLS)
def test_a_residual_stack_equals_layers_put_together_by_hand(name: str, implementation: str, num_layers: int) -> None:
    network = build(settings_of(name, {"residual": True}, num_layers=num_layers, implementation=implementation))
    close = NATIVE_CLOSE if implementation == "native" else CLOSE
    ids, start = draw_ids(T), draw_like(network.initial_state(B), 1)
    hidden, final = network.read(ids, start)
    features, finals = one_hot(ids, V).to(start[0].dtype), []
    for layer in range(num_layers):
        kind = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[CELLS[name]["cell"]]
        options = {"nonlinearity": CELLS[name].get("activation", "tanh")} if kind is nn.RNN else {}
        single = kind(features.shape[-1], H, **options).to(start[0].dtype)
        single.load_state_dict(
            {key: network.get_parameter(f"recurrent.{key[:-1]}{layer}") for key, _ in single.named_parameters()}
        )
        state = tuple(part[layer, None] for part in start)
        outputs, after = single(features, state if kind is nn.LSTM else state[0])
        features = outputs + features if layer > 0 else outputs
        finals.append(after if kind is nn.LSTM else (after,))
    assert_close(hidden, features, **close)
    assert_close(final, tuple(torch.cat(parts) for parts in zip(*finals, strict=True)), **close)
    # One step without gradients takes another code path.
    with torch.no_grad():
        assert_close(network.read(ids[:1], start)[0], hidden[:1], **close)


@pytest.mark.parametrize("is_training", [False, True])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_the_last_outputs_follow_from_the_state(implementation: str, residual: bool, is_training: bool) -> None:
    feature = {"residual": residual, "dropout": 0.5, "recurrent_dropout": 0.5}
    for name, num_layers in product(("gru", "lstm"), (1, 2, 3)):
        network = build(settings_of(name, feature, num_layers=num_layers, implementation=implementation))
        hidden, state = network.train(is_training).read(draw_ids(T), network.initial_state(B))
        assert_close(last_outputs(network.model, state), hidden[-1], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("feature", [{}, {"residual": True}, {"learned_state": True}, FEATURES["all"]], ids=str)
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("name", CELLS)
def test_the_cloze_prediction_is_right_after_no_character_at_all(
    name: str, implementation: str, feature: dict[str, Any]
) -> None:
    model = settings_of(name, feature, num_layers=3, direction="bidirectional", implementation=implementation)
    network = build(model).eval()
    assert isinstance(network, BidirectionalLM)
    text = draw_ids(T + 1)
    readouts = network.read_window(text[:-1], text[1:], text[:0], network.initial_state(B))
    ahead, _ = network.forward_half.read(text[:-1], network.forward_half.initial_state(B))
    before_any = torch.zeros(3, B, H).to(ahead.dtype)
    if feature.get("learned_state"):
        before_any += network.get_parameter("backward_half.initial.0")[:, None]
    behind = before_any[0] + before_any[1] + before_any[2] if feature.get("residual") else before_any[2]
    weights = [half.decoder.weight for half in (network.forward_half, network.backward_half)]
    both = ahead[-1] @ weights[0].t() + behind @ weights[1].t() + network.both_bias
    assert_close(readouts.both[-1], both, rtol=1e-5, atol=1e-6)


# Honesty.


@pytest.mark.parametrize("is_training", [False, True])
@pytest.mark.parametrize("beyond", [0, 2])
@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, "reference with zoneout and norms"])
@pytest.mark.parametrize("name", CELLS)
def test_no_readout_sees_its_target_or_its_hidden_side(
    name: str, implementation: str, beyond: int, is_training: bool
) -> None:
    # Locked masks of one-hot inputs belong to symbols: the same seed drops the same ones in any text.
    feature = {**FEATURES["all"], "direction": "bidirectional"}
    which, _, others = implementation.partition(" with ")
    if others:
        feature |= {"zoneout": 0.3, "layer_norm": True}
    network = build_model(settings_of(name, feature, num_layers=2, implementation=which), V, seed=0)
    move_learned_states(network)
    network.train(is_training)

    def read(text: Tensor):
        torch.manual_seed(0)
        end = len(text) - beyond
        return network.read_window(text[: end - 1], text[1:end], text[end:], network.initial_state(B))

    text = draw_ids(T + 1 + beyond)
    before = read(text)
    for t in range(T + 1):
        changed = text.clone()
        changed[t] = (changed[t] + 1) % V
        after = read(changed)
        assert torch.equal(after.forward[:t], before.forward[:t])
        assert torch.equal(after.backward[t:], before.backward[t:])
        if t > 0:
            assert torch.equal(after.both[t - 1], before.both[t - 1])
        if not is_training:
            others = [k for k in range(T) if k != t - 1]
            assert all(not torch.equal(after.both[k], before.both[k]) for k in others)


@pytest.mark.parametrize("implementation", [*IMPLEMENTATIONS, "reference with zoneout and norms"])
@pytest.mark.parametrize("name", CELLS)
def test_chunked_evaluation_equals_whole(name: str, implementation: str) -> None:
    which, _, others = implementation.partition(" with ")
    text = draw_ids(30)[:, 0].numpy().astype(np.uint8)
    for direction in DIRECTIONS:
        feature = {**FEATURES["all"], **({"zoneout": 0.3, "layer_norm": True} if others else {})}
        network = build(settings_of(name, feature, num_layers=2, direction=direction, implementation=which))
        whole = measure_text(network, text, chunk_chars=1000)
        for chunk_chars in (1, 7, 29):
            chunked = measure_text(network, text, chunk_chars=chunk_chars)
            for part in ("main", "backward", "cloze"):
                if figure := getattr(whole, part):
                    close = 1e-6 if which == "native" else 1e-12
                    assert getattr(chunked, part).nats == pytest.approx(figure.nats, rel=close)


# Tied embeddings.


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("name", CELLS)
def test_a_tied_embedding_is_one_parameter_whose_gradient_is_that_of_both_uses(name: str, implementation: str) -> None:
    shape = {"num_layers": 2, "embedding_size": H, "implementation": implementation}
    tied, untied = (build(settings_of(name, {"tied_embeddings": is_tied}, **shape)) for is_tied in (True, False))
    assert num_parameters(untied) - num_parameters(tied) == V * H
    assert untied.state_dict().keys() - tied.state_dict().keys() == {"embedding.weight"}
    untied.load_state_dict({**tied.state_dict(), "embedding.weight": tied.decoder.weight.detach()})
    found, expected = (run_with_gradients(network, beyond=0) for network in (tied, untied))
    of_embedding = expected.pop("gradient of embedding.weight")
    assert of_embedding.abs().max() > 0
    expected["gradient of decoder.weight"] = expected["gradient of decoder.weight"] + of_embedding
    assert_close(found, expected, **(NATIVE_CLOSE if implementation == "native" else CLOSE))


# Writing.


VOCABULARY = Vocabulary("abcdefghijklm")
PREFIX = VOCABULARY.encode("abc")
WRITING: dict[str, dict[str, Any]] = {
    "tied": {"tied_embeddings": True, "embedding_size": 17, "num_layers": 2},
    "residual": {"residual": True, "num_layers": 2},
    "deep residual": {"residual": True, "num_layers": 3, "embedding_size": 5},
    "learned state": {"learned_state": True},
    "all": {**FEATURES["all"], "embedding_size": 17, "num_layers": 3},
}


def writer(name: str, feature: dict[str, Any], implementation: str) -> CharLM:
    """Return a model whose distributions are neither flat nor certain."""
    model = ModelSettings.model_validate({"hidden_size": 17, **CELLS[name], **feature})
    network = build_model(model.model_copy(update={"implementation": implementation}), 13, seed=0)
    move_learned_states(network)
    assert isinstance(network, CharLM)
    with torch.no_grad():
        network.decoder.weight *= 6 if not model.tied_embeddings else 2
    return network


@pytest.mark.kernels
@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("feature", WRITING)
def test_the_kernels_write_what_the_plain_loop_writes(feature: str, name: str) -> None:
    native, plain = (writer(name, WRITING[feature], which) for which in ("native", "reference"))
    assert isinstance(predictor_of(native, V), NativePredictor)
    assert not isinstance(predictor_of(plain, V), NativePredictor)
    for options in ({"filters": Filters()}, {"filters": Filters(temperature=0.8, top_k=5), "seed": 1}):
        texts = [
            list(sample_texts(network, VOCABULARY, PREFIX, num_samples=3, length=80, **options))
            for network in (native, plain)
        ]
        assert texts[0] == texts[1]
        assert len(set(texts[0])) == 3


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("feature", [*WRITING, "zoneout and norms"])
def test_what_is_written_is_drawn_from_what_the_model_predicts(feature: str, implementation: str) -> None:
    settings = WRITING.get(feature)
    if settings is None:
        settings, implementation = {"zoneout": 0.3, "layer_norm": True, "learned_state": True}, "reference"
    network = writer("gru", settings, implementation).eval()
    text = "".join(sample_text(network, VOCABULARY, PREFIX, length=40, filters=Filters(temperature=0.0)))
    ids = np.concatenate([PREFIX, VOCABULARY.encode(text)]).astype(np.int64)
    start: State = tuple(part.expand(-1, 1, -1) for part in network.initial_state(1))
    logits, _ = network(torch.from_numpy(ids[:-1, None]), start)
    assert logits[len(PREFIX) - 1 :, 0].argmax(-1).tolist() == ids[len(PREFIX) :].tolist()
