"""The networks and texts of these tests: every cell, and the settings that change what a layer reads or keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from charlm.networks.building import build_model
from charlm.networks.language_model import CharLM
from charlm.settings.model import ModelSettings
from charlm.text.vocabulary import Ids

V, H = 7, 5
CELLS: dict[str, dict[str, Any]] = {
    "rnn tanh": {"cell": "rnn"},
    "rnn relu": {"cell": "rnn", "activation": "relu"},
    "rnn sigmoid": {"cell": "rnn", "activation": "sigmoid"},
    "gru": {"cell": "gru"},
    "gru before": {"cell": "gru", "reset_after": False},
    "lstm": {"cell": "lstm"},
}
OTHERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "embedding": {"embedding_size": 3, "learned_state": True},
    "tied": {"embedding_size": H, "tied_embeddings": True},
    "layer norm": {"layer_norm": True},
    "zoneout": {"zoneout": 0.25},
    "residual": {"residual": True, "num_layers": 3, "dropout": 0.5},
}
BOUNDARY = 0


def every_network() -> list[Any]:
    """Return each cell with each of the other settings; two of them for each cell are quick, and together all are."""
    kinds = list(OTHERS)
    return [
        pytest.param(cell, other, marks=[pytest.mark.slow] * ((kinds.index(other) - number) % len(kinds) > 1))
        for number, cell in enumerate(CELLS)
        for other in kinds
    ]


def build(cell: str, other: str = "plain", *, seed: int = 0, **more: Any) -> CharLM:
    """Return a small network of two or three layers in float64, with a learned state that is not zero."""
    settings = {"hidden_size": H, "num_layers": 2} | CELLS[cell] | OTHERS[other] | more
    if other == "layer norm" and cell == "gru before":
        settings |= {"reset_after": None}  # the two do not go together
    if other == "zoneout" and cell == "lstm":
        settings |= {"zoneout_cells": 0.4}
    network = build_model(ModelSettings(**settings), V, seed=seed)
    assert isinstance(network, CharLM)
    random = np.random.default_rng(seed)
    for part in network.initial:
        part.data[:] = part.data.new_tensor(random.standard_normal(part.shape))
    return network.double()


def draw_text(length: int = 40, seed: int = 0) -> Ids:
    """Return a random text without boundaries."""
    return np.random.default_rng(seed).integers(1, V, length).astype(np.uint8)


def draw_items(number: int = 12, seed: int = 0) -> Ids:
    """Return random items of 1 to 8 characters, with boundaries before, between and after them."""
    random = np.random.default_rng(seed)
    items = (np.append(random.integers(1, V, random.integers(1, 9)), BOUNDARY) for _ in range(number))
    return np.concatenate([[BOUNDARY], *items]).astype(np.uint8)
