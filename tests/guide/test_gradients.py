"""The page about gradients: the product of Jacobians is what the page says, and what autograd computes."""

from __future__ import annotations

import re
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import pytest
import torch
from prose import GUIDE, fences

from charlm.networks.building import build_model
from charlm.settings.loading import load_settings

PAGE = GUIDE / "gradients.md"
TEXT = PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """Return the names that the page's first block defines, and what it prints by the name of each network."""
    block = next(fence.text for fence in fences(PAGE) if fence.language == "python")
    names: dict[str, Any] = {}
    with redirect_stdout(StringIO()) as shown:
        exec(block, names)
    lines = re.findall(r"^(.*?) \[(.*)\]$", shown.getvalue(), re.MULTILINE)
    names["printed"] = {name: [float(each) for each in re.findall(r"'([^']+)'", values)] for name, values in lines}
    return names


def test_untrained_networks_forget_as_the_table_says(page: dict[str, Any]) -> None:
    table = re.findall(r"^\| (.+?) \| untrained \| (.+) \|$", TEXT, re.MULTILINE)
    told = {name.removesuffix(" start").lower(): [float(each) for each in row.split(" | ")] for name, row in table}
    assert set(told) == {"rnn", "rnn, orthogonal", "gru", "lstm"}
    for name, expected in told.items():
        # Another text: to the order of magnitude.
        for norm, value in zip(page["printed"][name], expected, strict=True):
            assert value / 5 < norm < value * 5, name


def test_the_forget_bias_decides_how_far_back_an_untrained_lstm_reaches(page: dict[str, Any]) -> None:
    (told,) = re.findall(r"norm at t - k = 32 is (\S+), (\S+)\s+and\s+(\S+)\.", TEXT)
    names = ("lstm", "lstm, forget bias 1", "lstm, forget bias 2")
    assert [page["printed"][name][3] for name in names] == pytest.approx([float(each) for each in told], rel=0.05)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_its_norms_are_those_of_autograd(page: dict[str, Any], cell: str) -> None:
    overrides = [f"model.cell={cell}", "model.hidden_size=7", "model.num_layers=1", "model.dropout=0"]
    settings = load_settings(overrides=[*overrides, "model.implementation=reference"])
    network = build_model(settings.model, 11, seed=0).double()
    ids = torch.randint(11, (12, 1), generator=torch.Generator().manual_seed(0))
    _, before = network(ids[:4])
    state = tuple(part.detach().requires_grad_() for part in before)
    hidden, _ = network.read(ids[4:], state)
    found = page["norms"](network, cell, ids[:, 0], (1, 8))
    for lag, norm in zip((1, 8), found, strict=True):
        rows = [torch.autograd.grad(each, state, retain_graph=True) for each in hidden[lag - 1, 0]]
        jacobian = torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])
        expected = torch.linalg.matrix_norm(jacobian, 2).item()
        assert norm == pytest.approx(expected, rel=1e-9)
