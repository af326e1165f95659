"""Traces are what the network does: its states and outputs, from which the gates recompose each step."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable

import inspected
import numpy as np
import pytest
import torch
from inspected import BOUNDARY, CELLS, build, draw_items, draw_text, every_network
from torch.testing import assert_close

from charlm.errors import DivergedError
from charlm.insight.readings import item_starts, readings
from charlm.insight.traces import Piece, trace_text
from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.building import build_model
from charlm.networks.inputs import as_tensor
from charlm.networks.language_model import CharLM
from charlm.networks.recurrent import last_outputs
from charlm.networks.variants import normalise, zone_out
from charlm.settings.model import ModelSettings
from charlm.text.vocabulary import Ids

CLOSE = {"rtol": 1e-11, "atol": 1e-13}


def states_after(network: CharLM, ids: Ids) -> list[torch.Tensor]:
    """Return the parts of the state after a text, (L, H), from the network's own reading."""
    network.eval()
    with torch.no_grad():
        _, state = network.read(as_tensor(ids[:, None], network), network.initial_state(1))
    return [part[:, 0] for part in state]


def traced(pieces: list[Piece], place: int) -> list[torch.Tensor]:
    """Return the parts of the traced state after the character at a place, (L, H)."""
    for piece in pieces:
        for t, column in np.argwhere(piece.places == place):
            parts = zip(*(trace.after for trace in piece.layers), strict=True)
            return [torch.stack([layer[t, column] for layer in part]) for part in parts]
    raise AssertionError(place)


@pytest.mark.parametrize(("cell", "other"), every_network())
def test_states_are_those_of_the_network_itself(cell: str, other: str) -> None:
    network, ids = build(cell, other), draw_text(13)
    pieces = list(trace_text(network, ids, piece_chars=5))
    assert [len(piece.places) for piece in pieces] == [5, 5, 3]
    for place in (0, 4, 5, 12):
        assert_close(traced(pieces, place), states_after(network, ids[: place + 1]), **CLOSE)


@pytest.mark.parametrize(("cell", "other"), every_network())
def test_each_item_is_read_from_the_initial_state(cell: str, other: str) -> None:
    network, ids = build(cell, other), draw_items()
    pieces = list(trace_text(network, ids, boundary=BOUNDARY, piece_chars=16))
    assert any(piece.places.shape[1] > 1 for piece in pieces)
    begins = np.flatnonzero(ids == BOUNDARY)
    for place in (0, 1, int(begins[1]) - 1, int(begins[1]), len(ids) - 2, len(ids) - 1):
        begin = max(each for each in begins if each <= place)
        assert_close(traced(pieces, place), states_after(network, ids[begin : place + 1]), **CLOSE)


@pytest.mark.parametrize(("cell", "other"), every_network())
def test_gates_recompose_the_states(cell: str, other: str) -> None:
    network = build(cell, other)
    model, kind = network.model, network.model.cell
    network.requires_grad_(False)
    for piece in trace_text(network, draw_text(), piece_chars=16):
        for layer, trace in enumerate(piece.layers):
            gates, (h, *c) = trace.gates, trace.before
            assert "".join(gates) == {"lstm": "ifgo", "gru": "rzn", "rnn": ""}[kind]
            if kind == "gru":
                after = [(1 - gates["z"]) * gates["n"] + gates["z"] * h]
            elif kind == "lstm":
                new_c = gates["f"] * c[0] + gates["i"] * gates["g"]
                norm = [getattr(network.recurrent, f"{name}_c_l{layer}", None) for name in ("gain", "bias")]
                after = [gates["o"] * (normalise(new_c, *norm) if model.layer_norm else new_c).tanh(), new_c]
            else:
                continue
            rates = (model.zoneout, model.zoneout_cells or 0.0)
            expected = tuple(
                zone_out(new, old, rate, is_training=False)
                for new, old, rate in zip(after, trace.before, rates, strict=False)
            )
            assert_close(trace.after, expected, **CLOSE)


@pytest.mark.parametrize(("cell", "other"), every_network())
def test_the_last_layers_states_give_the_networks_outputs(cell: str, other: str) -> None:
    network, ids = build(cell, other), draw_text(9)
    (piece,) = trace_text(network, ids)
    with torch.no_grad():
        hidden, _ = network.eval().read(as_tensor(ids[:, None], network), network.initial_state(1))
        state = tuple(torch.stack(parts) for parts in zip(*(trace.after for trace in piece.layers), strict=True))
        outputs = last_outputs(network.model, tuple(part[..., 0, :] for part in state))
    assert_close(outputs, hidden[:, 0], **CLOSE)


@pytest.mark.parametrize("piece_chars", [1, 7, 100])
def test_the_size_of_pieces_changes_no_value(piece_chars: int) -> None:
    network = build("lstm")
    for ids, boundary in ((draw_text(), None), (draw_items(), BOUNDARY)):
        options = {"boundary": boundary}
        whole, cut = (list(trace_text(network, ids, piece_chars=size, **options)) for size in (512, piece_chars))
        for place in range(len(ids)):
            assert_close(traced(cut, place), traced(whole, place), **CLOSE)


def test_readings_hold_each_place_once_and_never_cross_an_item() -> None:
    ids = draw_items(30)
    seen = list(readings(ids, BOUNDARY, 32))
    assert sorted(np.concatenate([places.ravel() for places in seen])) == list(range(len(ids)))
    for places in seen:
        assert (ids[places[0]] == BOUNDARY).all()
        assert not (ids[places[1:]] == BOUNDARY).any()
    # Whatever stands before the first boundary is an item too.
    assert item_starts(ids[2:], BOUNDARY)[0] == 0


def test_tracing_leaves_modes_and_threads_alone_and_draws_nothing(set_threads: Callable[[int], None]) -> None:
    network = build("gru", "residual").train()
    set_threads(2)
    before = torch.get_rng_state()
    done: list[tuple[int, int]] = []
    for _ in trace_text(network, draw_text(10), piece_chars=4, report=lambda *told: done.append(told)):
        assert network.training
        assert not torch.is_inference_mode_enabled()
        assert torch.get_num_threads() == 2
    assert done == [(4, 10), (8, 10), (10, 10)]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_half_of_a_bidirectional_model_is_traced_like_a_causal_model() -> None:
    both = build_model(ModelSettings(hidden_size=4, direction="bidirectional"), inspected.V, seed=0)
    assert isinstance(both, BidirectionalLM)
    ids = draw_text(6)
    (piece,) = trace_text(both.backward_half, ids[::-1])
    found = [part[-1, 0] for part in piece.layers[0].after]
    assert_close(found, [part[0] for part in states_after(both.backward_half, ids[::-1])])


def test_the_caller_need_not_read_to_the_end() -> None:
    network = build("lstm").train()
    pieces = trace_text(network, draw_text(100), piece_chars=5)
    next(pieces)
    assert inspect.getgeneratorstate(pieces) == "GEN_SUSPENDED"
    pieces.close()
    assert network.training


@pytest.mark.parametrize("cell", CELLS)
def test_a_diverged_network_is_refused(cell: str) -> None:
    network = build(cell)
    network.recurrent.get_parameter("bias_hh_l1").data[-1] = math.nan
    with pytest.raises(DivergedError, match="diverged"):
        list(trace_text(network, draw_text()))
