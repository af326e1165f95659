"""The forms of dropout: what is dropped together and how often, and that nothing is dropped in evaluation."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import embedding, one_hot
from torch.testing import assert_close

from charlm.networks.affine import OneHot
from charlm.networks.building import build_model
from charlm.networks.cells import gru_cell, lstm_cell, rnn_cell
from charlm.networks.dropping import drop, drop_symbols
from charlm.networks.language_model import CharLM
from charlm.networks.layers import enter_layer, leave_layer
from charlm.networks.recurrent import LayerWeights, State
from charlm.networks.reference import ReferenceStack
from charlm.networks.variants import zone_out
from charlm.settings.model import ModelSettings
from charlm.settings.schema import Settings
from charlm.text.windows import Window
from charlm.training.optimizer import build_optimizer
from charlm.training.step import take_step

T, B, V, E, H = 30, 20, 6, 5, 7
IMPLEMENTATIONS = ["reference", "torch", pytest.param("native", marks=pytest.mark.kernels)]
CELLS = ["rnn", "gru", "lstm"]
RATES = [0.1, 0.5, 0.75]
EXACT = {"rtol": 0, "atol": 0}
CLOSE = {"rtol": 1e-12, "atol": 1e-13}
# Each rate by itself, with what it needs to act.
DRAWS: dict[str, dict[str, Any]] = {
    "dropout": {"dropout": 0.5},
    "input_dropout": {"input_dropout": 0.5},
    "input_dropout, embedded": {"input_dropout": 0.5, "embedding_size": E},
    "output_dropout": {"output_dropout": 0.5},
    "locked": {"dropout": 0.5, "input_dropout": 0.5, "output_dropout": 0.5, "locked_dropout": True},
    "recurrent_dropout": {"recurrent_dropout": 0.5},
    "zoneout": {"cell": "gru", "zoneout": 0.5},
    "zoneout_cells": {"zoneout_cells": 0.5},
}


def draw_normal(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def draw_ids(length: int = T, rows: int = B, seed: int = 0) -> Tensor:
    return torch.randint(V, (length, rows), generator=torch.Generator().manual_seed(seed))


def assert_share(is_dropped: Tensor, rate: float) -> None:
    """Assert that a share is within 4 standard deviations of a binomial distribution."""
    deviation = math.sqrt(rate * (1 - rate) / is_dropped.numel())
    assert abs(is_dropped.double().mean().item() - rate) < 4 * deviation


# The functions.


@pytest.mark.parametrize("is_locked", [False, True])
@pytest.mark.parametrize("rate", RATES)
def test_a_unit_is_dropped_at_the_rate_and_scaled_up_otherwise(rate: float, is_locked: bool) -> None:
    features = draw_normal(T, 50, H)
    torch.manual_seed(0)
    dropped = drop(features, rate, is_locked=is_locked)
    is_dropped = dropped == 0
    assert_close(dropped[~is_dropped], features[~is_dropped] / (1 - rate), **CLOSE)
    assert_share(is_dropped[0] if is_locked else is_dropped, rate)


@pytest.mark.parametrize("is_locked", [False, True])
def test_a_mask_differs_between_rows_and_units_and_over_time_unless_it_is_locked(is_locked: bool) -> None:
    torch.manual_seed(0)
    is_dropped = drop(torch.ones(T, B, 64), 0.5, is_locked=is_locked) == 0
    assert len(is_dropped[:, 0].unique(dim=0)) == (1 if is_locked else T)
    assert len(is_dropped[0].unique(dim=0)) == B
    assert len(is_dropped[0].unique(dim=1).t()) == 64


@pytest.mark.parametrize("is_locked", [False, True])
def test_the_mean_over_masks_is_the_features(is_locked: bool) -> None:
    features, rate, number = draw_normal(2, 3, H), 0.3, 4000
    torch.manual_seed(0)
    mean = torch.stack([drop(features, rate, is_locked=is_locked) for _ in range(number)]).mean(0)
    deviation = features.abs() * math.sqrt(rate / (1 - rate) / number)
    assert ((mean - features).abs() < 4.5 * deviation).all()


def explicit_product(ids: Tensor, weight: Tensor, is_kept: Tensor, rate: float) -> Tensor:
    """Return W x for one-hot vectors x that are multiplied by a mask and scaled up, (T, B, rows)."""
    vectors = one_hot(ids, V).double() * is_kept / (1 - rate)
    return vectors @ weight.t()


@pytest.mark.parametrize("is_locked", [False, True])
@pytest.mark.parametrize("rate", RATES)
def test_dropped_symbols_equal_one_hot_vectors_times_a_mask(rate: float, is_locked: bool) -> None:
    ids, weight = draw_ids(), draw_normal(9, V).requires_grad_()
    torch.manual_seed(0)
    new_ids, columns = drop_symbols(ids, weight, rate, is_locked=is_locked)
    is_dropped = new_ids == V
    assert torch.equal(new_ids[~is_dropped], ids[~is_dropped])
    found = embedding(new_ids, columns.t())
    expected = explicit_product(ids, weight, ~is_dropped[..., None], rate)
    assert_close(found, expected, **CLOSE)
    assert found[is_dropped].eq(0).all()
    upstream = draw_normal(*found.shape, seed=1)
    gradients = [torch.autograd.grad((part * upstream).sum(), weight)[0] for part in (found, expected)]
    assert_close(*gradients, **CLOSE)


def by_symbol(ids: Tensor, is_dropped: Tensor) -> list[Tensor]:
    """Return what became of each symbol of each row, wherever it occurs."""
    return [is_dropped[ids[:, row] == symbol, row] for row in range(ids.shape[1]) for symbol in range(V)]


@pytest.mark.parametrize("rate", RATES)
def test_a_row_drops_a_symbol_all_over_its_window_where_masks_are_locked(rate: float) -> None:
    ids = draw_ids(rows=200)
    weight = draw_normal(3, V)
    torch.manual_seed(0)
    is_locked, is_free = (drop_symbols(ids, weight, rate, is_locked=locked)[0] == V for locked in (True, False))
    groups = [group for group in by_symbol(ids, is_locked) if len(group)]
    assert all(len(group.unique()) == 1 for group in groups)
    assert_share(torch.stack([group[0] for group in groups]), rate)
    # Neither a whole row nor a symbol in all rows is dropped.
    assert (is_locked.any(0) & ~is_locked.all(0)).any()
    for symbol in range(V):
        assert is_locked[ids == symbol].unique().tolist() == [False, True]
    assert_share(is_free, rate)
    assert any(len(group.unique()) == 2 for group in by_symbol(ids, is_free))


@pytest.mark.parametrize("is_locked", [False, True])
def test_a_rate_of_zero_draws_nothing_and_changes_nothing(is_locked: bool) -> None:
    features, ids, weight = draw_normal(3, B, H), draw_ids(), draw_normal(9, V)
    before = torch.get_rng_state()
    assert drop(features, 0.0, is_locked=is_locked) is features
    same_ids, same_weight = drop_symbols(ids, weight, 0.0, is_locked=is_locked)
    assert same_ids is ids
    assert same_weight is weight
    assert zone_out(features, -features, 0.0, is_training=True) is features
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("rate", RATES)
def test_zoneout_keeps_a_share_of_the_units_and_their_mean_in_evaluation(rate: float) -> None:
    new, old = draw_normal(B, H), draw_normal(B, H, seed=1)
    torch.manual_seed(0)
    drawn = zone_out(new, old, rate, is_training=True)
    torch.manual_seed(0)
    uniform = torch.rand(B, H, dtype=torch.float64)
    expected, mean = torch.empty(B, H), torch.empty(B, H)
    for b in range(B):
        for k in range(H):
            expected[b, k] = old[b, k] if uniform[b, k] < rate else new[b, k]
            mean[b, k] = rate * old[b, k].item() + (1 - rate) * new[b, k].item()
    assert_close(drawn.float(), expected, **EXACT)
    assert_share(drawn == old, rate)
    before = torch.get_rng_state()
    assert_close(zone_out(new, old, rate, is_training=False).float(), mean)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_mean_over_what_zoneout_draws_is_what_it_is_in_evaluation() -> None:
    new, old, rate, number = draw_normal(3, H), draw_normal(3, H, seed=1), 0.3, 4000
    torch.manual_seed(0)
    mean = torch.stack([zone_out(new, old, rate, is_training=True) for _ in range(number)]).mean(0)
    deviation = (new - old).abs() * math.sqrt(rate * (1 - rate) / number)
    assert ((mean - zone_out(new, old, rate, is_training=False)).abs() < 4.5 * deviation).all()


# What reaches each layer of a stack.


def stack_of_ones(**others: Any) -> ReferenceStack:
    """Return three layers whose weights are all 1."""
    stack = ReferenceStack(ModelSettings(cell="rnn", embedding_size=E, hidden_size=H, num_layers=3, **others), V)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.fill_(1.0)
    return stack


def watch(stack: ReferenceStack, rows: int = B) -> tuple[list[Tensor], list[LayerWeights]]:
    """Return what reaches each layer, and with which weights, if the inputs and all layers' outputs are ones."""
    inputs, weights, below = [], [], torch.ones(T, rows, E)
    for layer in range(3):
        features, used = enter_layer(stack, layer, below)
        inputs.append(features)
        weights.append(used)
        below = leave_layer(stack, layer, below, torch.ones(T, rows, H))
    return inputs, weights


@pytest.mark.parametrize("is_locked", [False, True])
def test_each_rate_drops_its_own_inputs(is_locked: bool) -> None:
    torch.manual_seed(0)
    inputs, weights = watch(stack_of_ones(input_dropout=0.5, dropout=0.75, locked_dropout=is_locked), rows=200)
    for features, rate in zip(inputs, (0.5, 0.75, 0.75), strict=True):
        assert set(features.unique().tolist()) == {0.0, 1 / (1 - rate)}
        assert_share((features[0] if is_locked else features) == 0, rate)
        assert (len(features[:, :3].unique(dim=0)) == 1) == is_locked
    assert not torch.equal(inputs[1], inputs[2])
    assert all(part.eq(1).all() for layer in weights for part in layer)


def test_recurrent_dropout_draws_the_recurrent_weights_once_for_each_layer_and_window() -> None:
    stack = stack_of_ones(recurrent_dropout=0.75)
    torch.manual_seed(0)
    (inputs, first), (_, second) = watch(stack), watch(stack)
    assert all(features.eq(1).all() for features in inputs)
    masks = [layer.weight_hh for layer in (*first, *second)]
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) == 6
    for layer in (*first, *second):
        assert set(layer.weight_hh.unique().tolist()) == {0.0, 4.0}
        assert all(part.eq(1).all() for part in (layer.weight_ih, layer.bias_ih, layer.bias_hh))
    assert_share(torch.stack(masks) == 0, 0.75)
    assert all(parameter.eq(1).all() for parameter in stack.parameters())


def test_what_a_residual_connection_adds_is_not_dropped() -> None:
    stack, below, reached = stack_of_ones(dropout=0.5, residual=True), torch.ones(T, B, E), []
    torch.manual_seed(0)
    for layer in range(3):
        reached.append(enter_layer(stack, layer, below)[0])
        below = leave_layer(stack, layer, below, torch.ones(T, B, H) if layer == 0 else torch.zeros(T, B, H))
    assert below.eq(1).all()
    assert all(set(features.unique().tolist()) == {0.0, 2.0} for features in reached[1:])


def test_in_evaluation_nothing_is_dropped_and_nothing_drawn() -> None:
    rates = {"input_dropout": 0.5, "dropout": 0.5, "recurrent_dropout": 0.5, "zoneout": 0.5, "locked_dropout": True}
    stack = stack_of_ones(**rates).eval()
    before = torch.get_rng_state()
    inputs, weights = watch(stack)
    assert all(features.eq(1).all() for features in inputs)
    assert all(part.eq(1).all() for layer in weights for part in layer)
    assert torch.equal(torch.get_rng_state(), before)


# In a network.


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_dropped_symbol_is_an_input_of_zeros(implementation: str) -> None:
    model = ModelSettings(cell="rnn", hidden_size=H, input_dropout=0.5, implementation=implementation)
    network = build_model(model, V, seed=0)
    weights = {name: parameter.detach() for name, parameter in network.recurrent.named_parameters()}
    ids, state = draw_ids(2, 100), (draw_normal(1, 100, H).float(),)
    torch.manual_seed(0)
    hidden, _ = network.read(ids, state)
    from_state = state[0][0] @ weights["weight_hh_l0"].t() + weights["bias_ih_l0"] + weights["bias_hh_l0"]
    without, doubled = torch.tanh(from_state), torch.tanh(from_state + 2 * weights["weight_ih_l0"].t()[ids[0]])
    is_dropped = (hidden[0] - without).abs().amax(-1) < 1e-5
    assert_close(hidden[0], torch.where(is_dropped[:, None], without, doubled), rtol=1e-5, atol=1e-6)
    assert_share(is_dropped, 0.5)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("is_locked", [False, True])
def test_output_dropout_drops_what_the_output_layer_reads_and_not_what_is_carried(
    implementation: str, is_locked: bool
) -> None:
    model = ModelSettings(
        hidden_size=H, output_dropout=0.5, locked_dropout=is_locked, cell="gru", implementation=implementation
    )
    network = build_model(model, H, seed=0)
    with torch.no_grad():
        network.decoder.weight.copy_(torch.eye(H))
        network.decoder.bias.zero_()
    ids = draw_ids(rows=50)
    logits, state = network(ids, network.initial_state(50))
    hidden, expected_state = network.eval().read(ids, network.initial_state(50))
    is_dropped = logits == 0
    assert_close(logits[~is_dropped], 2 * hidden[~is_dropped], rtol=1e-5, atol=1e-6)
    assert_close(state, expected_state, rtol=1e-5, atol=1e-6)
    assert_share(is_dropped[0] if is_locked else is_dropped, 0.5)
    assert (len(is_dropped.unique(dim=0)) == 1) == is_locked


def plain_step(cell: str, network: CharLM, ids: Tensor, state: State) -> State:
    """Return the state that a cell of one layer would reach without zoneout."""
    weights = [network.get_parameter(f"recurrent.{kind}_l0") for kind in LayerWeights._fields]
    x = OneHot(weights[0].t()[ids])
    if cell == "lstm":
        return lstm_cell(x, (state[0], state[1]), *weights)
    return ((gru_cell if cell == "gru" else rnn_cell)(x, state[0], *weights),)


def zoneout_network(cell: str, rates: tuple[float, ...]) -> CharLM:
    zoneout_cells = rates[1] if cell == "lstm" else None
    model = ModelSettings(cell=cell, hidden_size=H, zoneout=rates[0], zoneout_cells=zoneout_cells)
    return build_model(model, V, seed=0).double()


@pytest.mark.parametrize("rates", [(0.25, 0.0), (0.0, 0.5), (0.25, 0.5)])
@pytest.mark.parametrize("cell", CELLS)
def test_zoneout_in_a_network_leaves_each_unit_where_it_was_or_moves_it_as_the_cell_does(
    cell: str, rates: tuple[float, ...]
) -> None:
    network = zoneout_network(cell, rates)
    state = tuple(draw_normal(*part.shape, seed=seed) for seed, part in enumerate(network.initial_state(B)))
    kept: list[list[Tensor]] = [[] for _ in state]
    torch.manual_seed(0)
    for ids in draw_ids(20):
        hidden, after = network.read(ids[None], state)
        assert_close(hidden[0], after[0][0], **EXACT)
        moved = plain_step(cell, network, ids, tuple(part[0] for part in state))
        for part, old, new, group in zip(after, state, moved, kept, strict=True):
            is_kept = part[0] == old[0]
            assert_close(part[0][~is_kept], new[~is_kept], **CLOSE)
            group.append(is_kept)
        state = after
    for group, rate in zip(kept, rates, strict=False):
        if rate == 0.0:
            assert not torch.stack(group).any()
        else:
            assert_share(torch.stack(group), rate)
            assert len(torch.stack(group).flatten(1).unique(dim=0)) == len(group)
    if cell == "lstm" and all(rates):
        assert not torch.equal(torch.stack(kept[0]) & torch.stack(kept[1]), torch.stack(kept[0]))


@pytest.mark.parametrize("cell", CELLS)
def test_a_network_with_zoneout_evaluates_with_the_means(cell: str) -> None:
    rates = (0.25, 0.5)
    network = zoneout_network(cell, rates).eval()
    ids = draw_ids(6, 3)
    start = tuple(draw_normal(*part.shape, seed=seed) for seed, part in enumerate(network.initial_state(3)))
    hidden, final = network.read(ids, start)
    state, expected = tuple(part[0] for part in start), []
    for x in ids:
        moved = plain_step(cell, network, x, state)
        state = tuple(
            rate * old + (1 - rate) * new for old, new, rate in zip(state, moved, rates, strict=False)
        )  # h and c
        expected.append(state[0])
    assert_close(hidden, torch.stack(expected), **CLOSE)
    assert_close(final, tuple(part[None] for part in state), **CLOSE)


# In a step.


def outcome_of(rates: dict[str, Any], seed: int, step: int, *, drawn_before: int = 0) -> tuple[float, float]:
    """Return the loss and gradient norm of one step, always with the same weights and text."""
    model = {"hidden_size": H, "num_layers": 2, **rates}
    settings = Settings.model_validate({"model": model, "sampling": {"batch_size": B}, "train": {"seed": seed}})
    network = build_model(settings.model, V, seed=0)
    text = draw_ids(9).numpy().astype(np.uint8)
    torch.manual_seed(drawn_before)
    torch.rand(drawn_before + 1)
    outcome = take_step(
        network,
        build_optimizer(network.parameters(), settings.optimizer),
        [Window(text[:-1], text[1:], text[:0])],
        network.initial_state(B),
        settings=settings,
        step=step,
        learning_rate=0.1,
    )
    return outcome.figures.main.nats, outcome.gradient_norm


@pytest.mark.parametrize("name", DRAWS)
def test_what_is_dropped_is_a_function_of_seed_and_step(name: str) -> None:
    seed, step = Random(name).randrange(2**63), 5
    once = outcome_of(DRAWS[name], seed, step)
    assert outcome_of(DRAWS[name], seed, step, drawn_before=3) == once
    others = [outcome_of(DRAWS[name], seed, 6), outcome_of(DRAWS[name], seed ^ 1, step)]
    assert len({once, *others}) == 3


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("name", DRAWS)
def test_a_network_draws_in_training_and_not_in_evaluation(name: str, implementation: str) -> None:
    rates = DRAWS[name]
    if "zoneout" in name:
        implementation = "reference"
    model = ModelSettings(**{"hidden_size": H, "num_layers": 2, **rates, "implementation": implementation})
    network = build_model(model, V, seed=0)
    ids, state = draw_ids(5), network.initial_state(B)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    drawn = network(ids, state)[0]
    assert not torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(network(ids, state)[0], drawn)
    network.eval()
    before = torch.get_rng_state()
    found = network(ids, state)
    assert torch.equal(torch.get_rng_state(), before)
    if "zoneout" not in name:
        plain = {**model.model_dump(), **{key: 0.0 for key in rates if "dropout" in key and key != "locked_dropout"}}
        without = build_model(ModelSettings.model_validate(plain), V, seed=0).train()
        assert_close(found, without(ids, state), **EXACT)
