"""The weights of a page are as exact as their format allows, and no larger than it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from charlm.pages.weights import MANY_PARAMETERS, PackedWeights, pack_weights

DECODE = """(t, [base64, tensors]) => {
    const arrays = Object.entries(t.decodeTensors(base64, tensors));
    return Object.fromEntries(arrays.map(([name, values]) => [name, Array.from(values)]));
}"""


def made_weights(size: int = 5) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    weights = {
        "matrix": random.normal(size=(size, 7)),
        "odd": random.normal(size=3),
        "rows": random.normal(size=(3, 1)),
    }
    weights["matrix"][1] = 0
    return {name: array.astype(np.float32) for name, array in weights.items()}


def decoded(engine: Callable[..., Any], packed: PackedWeights) -> dict[str, list[float]]:
    return engine(DECODE, [packed.base64, [asdict(place) for place in packed.places]])


def test_small_networks_are_exact(engine: Callable[..., Any]) -> None:
    weights = made_weights()
    packed = pack_weights(weights)
    assert (packed.format, packed.num_parameters, len(packed.data)) == ("float32", 41, 4 * 41)
    assert decoded(engine, packed) == {name: array.ravel().tolist() for name, array in weights.items()}


def test_large_networks_have_half_floats(engine: Callable[..., Any]) -> None:
    weights = {**made_weights(), "large": np.zeros((MANY_PARAMETERS, 1), np.float32)}
    packed = pack_weights(weights)
    assert packed.format == "float16"
    assert len(packed.data) < 2 * packed.num_parameters + 16
    small = pack_weights(weights | {"large": np.zeros(MANY_PARAMETERS - 42, np.float32)})
    assert small.format == "float32"
    del weights["large"]
    # The places stay where they are, whatever comes after them.
    first = PackedWeights("float16", 41, packed.data[:200], packed.places[:3])
    halves = {name: array.astype(np.float16).astype(np.float32).ravel() for name, array in weights.items()}
    assert decoded(engine, first) == {name: array.tolist() for name, array in halves.items()}


def test_every_half_float_is_decoded(engine: Callable[..., Any]) -> None:
    found = engine("(t) => Array.from({ length: 65536 }, (_, bits) => t.halfFloat(bits))")
    expected = np.arange(65_536, dtype=np.uint16).view(np.float16).astype(np.float64)
    is_finite = np.isfinite(expected)
    assert np.array_equal(np.array(found)[is_finite], expected[is_finite])


def test_what_half_floats_cannot_hold_stays_whole() -> None:
    weights = {"large": np.full((MANY_PARAMETERS, 1), 0.1, np.float32), "bias": np.array([1e6], np.float32)}
    assert [place.format for place in pack_weights(weights).places] == ["float16", "float32"]


def test_bytes_are_off_by_half_a_step_of_their_row(engine: Callable[..., Any]) -> None:
    weights = made_weights(50)
    packed = pack_weights(weights, int8=True)
    assert [place.format for place in packed.places] == ["int8", "float32", "int8"]
    found = decoded(engine, packed)
    assert found["odd"] == weights["odd"].tolist()
    matrix = np.array(found["matrix"]).reshape(50, 7)
    steps = np.abs(weights["matrix"]).max(axis=1, keepdims=True) / 127
    assert np.all(np.abs(matrix - weights["matrix"]) <= 0.501 * steps)
    assert np.abs(matrix).argmax(axis=1).tolist() == np.abs(weights["matrix"]).argmax(axis=1).tolist()


@pytest.mark.parametrize("int8", [False, True])
def test_packing_changes_no_weight_of_the_network(int8: bool) -> None:
    weights, before = made_weights(), made_weights()
    pack_weights(weights, int8=int8)
    assert all(np.array_equal(weights[name], before[name]) for name in weights)
