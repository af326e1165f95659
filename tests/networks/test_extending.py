"""A network with added symbols predicts the old ones as before, but for a share that is known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from charlm.networks.building import build_model
from charlm.networks.extending import SHARE, extend_weights
from charlm.networks.readouts import Readouts
from charlm.networks.shapes import parameter_shapes
from charlm.runs.restoring import to_arrays, to_tensors
from charlm.settings.loading import load_settings

OLD, NEW = [0, 2, 3, 5], 7


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.cell=rnn"],
        ["model.cell=gru", "model.num_layers=2", "model.layer_norm=true"],
        ["model.embedding_size=5", "model.learned_state=true"],
        ["model.embedding_size=6", "model.tied_embeddings=true"],
        ["model.direction=bidirectional"],
        ["model.direction=bidirectional", "model.embedding_size=5"],
    ],
)
def test_old_symbols_keep_nearly_all_their_probability_and_all_their_odds(overrides: list[str]) -> None:
    model = load_settings(overrides=["model.hidden_size=6", "model.implementation=reference", *overrides]).model
    small, large = (build_model(model, size, seed=0).double().eval() for size in (len(OLD), NEW))
    for weight in small.parameters():
        # As far from uniform as those of a trained network.
        torch.nn.init.normal_(weight, std=2.0, generator=torch.Generator().manual_seed(weight.numel()))
    large.load_state_dict(to_tensors(extend_weights(to_arrays(small.state_dict()), model, OLD, NEW)))
    ids = torch.randint(len(OLD), (20, 3), generator=torch.Generator().manual_seed(1))
    beyond = ids[:0]
    before = small.read_window(ids[:-1], ids[1:], beyond, small.initial_state(3))
    new_ids = torch.tensor(OLD)[ids]
    after = large.read_window(new_ids[:-1], new_ids[1:], beyond, large.initial_state(3))
    for old, new in zip(readouts(before), readouts(after), strict=True):
        torch.testing.assert_close(new[..., OLD], old)
        kept = new.softmax(-1)[..., OLD].sum(-1)
        assert 1 - SHARE <= kept.min() < 1


def readouts(window: Readouts) -> list[torch.Tensor]:
    """Return the logits of a window, (T, B, V) each."""
    return [each for each in (window.forward, window.backward, window.both) if each is not None]


def test_every_parameter_gets_its_shape_and_nothing_changes_without_new_symbols() -> None:
    model = load_settings(overrides=["model.hidden_size=4", "model.direction=bidirectional"]).model
    weights = to_arrays(build_model(model, len(OLD), seed=0).state_dict())
    extended = extend_weights(weights, model, OLD, NEW)
    assert {name: weight.shape for name, weight in extended.items()} == parameter_shapes(model, NEW)
    same = extend_weights(weights, model, range(len(OLD)), len(OLD))
    assert all(np.array_equal(same[name], weight) for name, weight in weights.items())
