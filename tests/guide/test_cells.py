"""The page about the cells: its counts of parameters are those of the networks."""

from __future__ import annotations

import re
from pathlib import Path

import charlm
from charlm.networks.shapes import num_numbers, parameter_shapes
from charlm.settings.loading import load_settings

PAGE = (Path(charlm.__file__).parent / "guide" / "cells.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (RNN|GRU|LSTM) (\d) × (\d+) \| ([\d,]{7}) \|", PAGE, re.MULTILINE)
BLOCKS = {"RNN": 1, "GRU": 3, "LSTM": 4}
SYMBOLS = 62


def test_its_networks_have_as_many_parameters_as_it_says():
    assert len(ROWS) == 6
    for cell, layers, units, told in ROWS:
        overrides = [
            "model.dropout=0",
            f"model.cell={cell.lower()}",
            f"model.num_layers={layers}",
            f"model.hidden_size={units}",
        ]
        shapes = parameter_shapes(load_settings(overrides=overrides).model, SYMBOLS)
        assert num_numbers(shapes.values()) == int(told.replace(",", "")), (cell, layers)


def test_a_layer_has_as_many_parameters_as_its_formula_says():
    for cell, blocks in BLOCKS.items():
        settings = load_settings(
            overrides=["model.dropout=0", "model.num_layers=1", f"model.cell={cell.lower()}", "model.hidden_size=7"]
        )
        shapes = parameter_shapes(settings.model, SYMBOLS)
        formula = blocks * (SYMBOLS * 7 + 7 * 7 + 2 * 7)
        assert num_numbers(shapes.values()) == formula + 7 * SYMBOLS + SYMBOLS
