"""The page about gradients: the product of Jacobians does what it says."""

from __future__ import annotations

import math
import re

import pytest
import torch
from prose import GUIDE, fences

from charlm.library import load_settings
from charlm.networks.building import build_model

PAGE = GUIDE / "gradients.md"


def test_a_uniform_start_vanishes_an_orthogonal_one_hardly_and_a_stretched_one_explodes_first(capsys):
    exec(next(fence.text for fence in fences(PAGE) if fence.language == "python"), {})
    shown = capsys.readouterr().out
    found = {
        name: [float(each) for each in re.findall(r"'([^']+)'", row)]
        for name, row in re.findall(r"^(.*?) (\[.*\])$", shown, re.M)
    }
    assert found["uniform"][-1] < 1e-4
    assert 0.1 < found["orthogonal"][-1] <= 1
    assert max(found["orthogonal * 1.5"]) > 1.3


@pytest.mark.parametrize(("bias", "told"), [(0, 1e-6), (1, 0.012), (2, 0.53)])
def test_the_forget_bias_decides_how_far_back_an_untrained_lstm_reaches(bias, told):
    overrides = ["model.cell=lstm", "model.hidden_size=59", "model.num_layers=1", "model.dropout=0"]
    settings = load_settings(overrides=[*overrides, *([f"model.forget_bias={bias}"] if bias else [])])
    network = build_model(settings.model.model_copy(update={"implementation": "reference"}), 62, seed=0).double()
    ids = torch.randint(62, (36, 1), generator=torch.Generator().manual_seed(0))
    _, before = network(ids[:4])
    state = tuple(part.detach().requires_grad_() for part in before)
    hidden, _ = network.read(ids[4:], state)
    last = hidden[-1, 0]
    rows = [torch.autograd.grad(each, state, retain_graph=True) for each in last]
    jacobian = torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])
    norm = torch.linalg.matrix_norm(jacobian, 2).item()
    # The characters differ from the page's, and with them the norm.
    assert abs(math.log(norm / told)) < math.log(3)
