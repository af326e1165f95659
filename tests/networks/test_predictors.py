"""A network on its own, and the kernels without torch, give the same bits, however a text is cut into pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pairs import covering
from predicting import CELLS

from charlm.networks.building import build_model
from charlm.networks.language_model import CharLM
from charlm.networks.native_predictor import NativePredictor
from charlm.networks.torch_predictor import TorchPredictor, predictor_of
from charlm.settings.model import ModelSettings

V, T = 29, 23
INPUTS: dict[str, dict[str, Any]] = {
    "one-hot": {},
    "small embedding": {"embedding_size": 5},
    "large embedding": {"embedding_size": 130},
    "tied": {"embedding_size": 37, "tied_embeddings": True},
}
FORMS: dict[str, dict[str, Any]] = {
    "one layer": {"hidden_size": 37},
    "two layers": {"hidden_size": 37, "num_layers": 2},
    "residual, learned state": {"hidden_size": 37, "num_layers": 3, "residual": True, "learned_state": True},
}
CASES = sorted(covering(tuple(CELLS), tuple(INPUTS), tuple(FORMS), (1, 2, 3, 4, 9)))


def build(*settings: dict[str, Any]) -> CharLM:
    """Return a network in evaluation mode whose learned states are not zero."""
    merged = {key: value for each in settings for key, value in each.items()}
    network = build_model(ModelSettings(**merged, implementation="native"), V, seed=0).eval()
    assert isinstance(network, CharLM)
    with torch.no_grad():
        for part in network.initial:
            part.normal_(generator=torch.Generator().manual_seed(1))
    return network


def draw_ids(num_texts: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, V, (T, num_texts))


def in_pieces(predictor: NativePredictor, ids: np.ndarray, *sizes: int) -> tuple[np.ndarray, Any]:
    """Return the logits after each character and the last state, reading pieces of some sizes in turn."""
    state, found, start = predictor.initial_state(ids.shape[1]), [], 0
    while start < len(ids):
        size = sizes[len(found) % len(sizes)]
        logits, state = predictor.predict(ids[start : start + size], state)
        found.append(logits)
        start += size
    return np.concatenate(found), state


@pytest.mark.kernels
@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize(("cell", "inputs", "form", "num_texts"), CASES)
def test_pieces_single_steps_and_the_network_agree_to_the_bit(
    cell: str, inputs: str, form: str, num_texts: int
) -> None:
    network = build(CELLS[cell], INPUTS[inputs], FORMS[form])
    predictor, ids = predictor_of(network, V), draw_ids(num_texts)
    assert isinstance(predictor, NativePredictor)
    with torch.inference_mode():
        expected, state = network(torch.from_numpy(ids))
        steps = [network(torch.from_numpy(ids[:1]))]
        for place in range(1, T):
            steps.append(network(torch.from_numpy(ids[place : place + 1]), steps[-1][1]))
    assert np.array_equal(torch.cat([logits for logits, _ in steps]), expected)
    for sizes in ((T,), (1,), (2, 5), (1, 10)):
        logits, after = in_pieces(predictor, ids, *sizes)
        assert np.array_equal(logits, expected)
        assert all(map(np.array_equal, after, state))
    for length in (1, 2, T):
        last, after = predictor.read(ids[:length], predictor.initial_state(num_texts))
        assert np.array_equal(last, expected[length - 1])
    assert all(map(np.array_equal, after, state))


@pytest.mark.kernels
@pytest.mark.parametrize("cell", CELLS)
def test_a_text_has_the_same_bits_alone_and_among_others_whatever_the_number_of_threads(cell: str) -> None:
    network = build(CELLS[cell], FORMS["two layers"])
    predictor, ids = predictor_of(network, V), draw_ids(9)
    assert isinstance(predictor, NativePredictor)
    together, _ = predictor.predict(ids, predictor.initial_state(9))
    for number in range(9):
        alone, _ = predictor.predict(ids[:, number : number + 1], predictor.initial_state(1))
        assert np.array_equal(alone[:, 0], together[:, number])
    for num_texts in (1, 9):
        for threads in (1, 2, 3):
            given, logits = np.ascontiguousarray(ids[:, :num_texts]), np.empty((T, num_texts, V), np.float32)
            predictor.run(predictor.initial_state(num_texts), given, threads, logits=logits.ctypes.data)
            assert np.array_equal(logits, together[:, :num_texts])


@pytest.mark.kernels
def test_reading_changes_neither_the_ids_nor_the_state() -> None:
    predictor, ids = predictor_of(build(CELLS["lstm"], FORMS["two layers"]), V), draw_ids(2)
    state = tuple(np.ones_like(part) for part in predictor.initial_state(2))
    first, _ = predictor.predict(ids, state)
    assert np.array_equal(ids, draw_ids(2))
    assert all((part == 1).all() for part in state)
    assert np.array_equal(predictor.predict(ids.astype(np.uint8), state)[0], first)


@pytest.mark.kernels
def test_what_does_not_fit_is_refused_before_the_kernels_see_it() -> None:
    predictor = predictor_of(build(CELLS["gru"], FORMS["two layers"]), V)
    for wrong in (V, -1):
        with pytest.raises(IndexError, match="an id is not in the vocabulary"):
            predictor.read(np.array([[3], [wrong]]), predictor.initial_state(1))
    for state in (predictor.initial_state(2), predictor.initial_state(1) * 2):
        with pytest.raises(ValueError, match=r"a state must be of size \(2, 1, 37\)"):
            predictor.read(np.array([[3]]), state)


@pytest.mark.parametrize("implementation", ["torch", "reference"])
def test_a_torch_network_predicts_what_it_computes(implementation: str) -> None:
    model = ModelSettings(cell="lstm", hidden_size=7, num_layers=2, implementation=implementation)
    network = build_model(model, V, seed=0)
    predictor, ids = predictor_of(network, V), draw_ids(2)
    assert isinstance(predictor, TorchPredictor)
    with torch.inference_mode():
        expected, _ = network(torch.from_numpy(ids))
    state = predictor.initial_state(2)
    assert np.array_equal(predictor.predict(ids, state)[0], expected)
    torch.testing.assert_close(torch.from_numpy(predictor.read(ids, state)[0]), expected[-1])
