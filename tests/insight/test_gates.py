"""Shares and time constants equal plain counts over the traced gates, and what gates wired by hand must have."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from inspected import BOUNDARY, CELLS, H, build, draw_items, draw_text, every_network

from charlm.insight.gates import GATES, MAX_CHARS, QUANTILES, GateCounter
from charlm.insight.traces import trace_text
from charlm.networks.language_model import CharLM
from charlm.text.vocabulary import Ids


def counted(network: CharLM, ids: Ids, *, boundary: int | None = None, piece_chars: int = 16) -> GateCounter:
    counter = GateCounter(network.model)
    for piece in trace_text(network, ids, boundary=boundary, piece_chars=piece_chars):
        counter.add(piece)
    return counter


def scale(network: CharLM, factor: float) -> CharLM:
    """Make weights larger, so that gates shut and open."""
    for parameter in network.recurrent.parameters():
        parameter.data *= factor
    return network


@pytest.mark.parametrize(("cell", "other"), every_network())
def test_shares_equal_plain_counts(cell: str, other: str) -> None:
    network, ids = scale(build(cell, other), 4), draw_text()
    (piece,) = trace_text(network, ids)
    found = counted(network, ids).shares()
    letters = GATES[network.model.cell]
    assert [(share.layer, share.letter) for share in found] == [
        (layer, letter) for layer in range(1, network.model.num_layers + 1) for letter in letters
    ]
    for share in found:
        trace = piece.layers[share.layer - 1]
        values = (trace.after[0] if share.letter == "h" else trace.gates[share.letter])[:, 0].tolist()
        if cell == "rnn relu":
            expected = [(sum(row[k] == 0 for row in values) / len(ids), 0.0) for k in range(H)]
        else:
            low = -0.9 if cell == "rnn tanh" else 0.1
            expected = [
                (sum(row[k] < low for row in values) / len(ids), sum(row[k] > 0.9 for row in values) / len(ids))
                for k in range(H)
            ]
        assert share.units == tuple(expected)
        means = tuple(sum(unit[side] for unit in expected) / H for side in (0, 1))
        assert (share.below, share.above) == pytest.approx(means)
    # Of the scaled weights something is shut or open, or the test would prove nothing.
    assert any(share.below + share.above > 0 for share in found)


@pytest.mark.parametrize("other", ["plain", "zoneout", "layer norm"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "gru before"])
def test_time_constants_are_how_long_an_undisturbed_value_lasts(cell: str, other: str) -> None:
    network, ids = build(cell, other), draw_text()
    (piece,) = trace_text(network, ids)
    rate = network.model.zoneout if network.model.cell == "gru" else network.model.zoneout_cells or 0.0
    for found in counted(network, ids).time_constants():
        assert found.gate == {"f": "forget", "z": "update"}[found.letter]
        for unit, tau in enumerate(found.units):
            # What is left of 1 after the text is exp(-N / tau).
            left = 1.0
            for gate in piece.layers[found.layer - 1].gates[found.letter][:, 0, unit].tolist():
                left *= rate + (1 - rate) * gate
            assert math.exp(-len(ids) / tau) == pytest.approx(left)
        assert found.quantiles == pytest.approx(np.quantile(found.units, QUANTILES))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(("bias", "tau"), [(math.log(9), -1 / math.log(0.9)), (800, MAX_CHARS), (-800, 0.0)])
def test_a_constant_gate_has_its_time_constant(cell: str, bias: float, tau: float) -> None:
    network = scale(build(cell), 0)
    rows = slice(H, 2 * H)  # the second block is f of the LSTM and z of the GRU
    for layer in range(2):
        getattr(network.recurrent, f"bias_ih_l{layer}").data[rows] = bias
    for found in counted(network, draw_text()).time_constants():
        assert found.units == pytest.approx([tau] * H)


def test_dead_units_of_relu_are_counted() -> None:
    network = scale(build("rnn relu"), 0)
    bias = network.recurrent.get_parameter("bias_ih_l1")
    bias.data[:] = torch.tensor([1.0, -1.0, 1.0, 0.0, 1.0])
    first, second = counted(network, draw_text()).shares()
    assert (first.num_never, second.num_never) == (H, 2)
    assert second.units == ((0, 0), (1, 0), (0, 0), (1, 0), (0, 0))
    assert counted(network, draw_text()).time_constants() == ()


@pytest.mark.parametrize("cell", CELLS)
def test_the_size_of_pieces_and_the_order_of_items_change_nothing(cell: str) -> None:
    network, ids = scale(build(cell), 4), draw_items()
    first, second = (counted(network, ids, boundary=BOUNDARY, piece_chars=size) for size in (1, 64))
    assert first.shares() == second.shares()
    for one, other in zip(first.time_constants(), second.time_constants(), strict=True):
        assert one.units == pytest.approx(other.units)
