"""The page about gradients: the untrained networks of its table are what the command measures."""

from __future__ import annotations

import re

import pytest
from pairs import one_in
from prose import GUIDE

from charlm.insight.gradients import gradients_by_lag
from charlm.insight.jacobians import jacobian_products
from charlm.networks.building import build_model
from charlm.networks.language_model import CharLM
from charlm.settings.schema import Settings
from charlm.sweeps.plan import make_trials
from charlm.sweeps.sweep_file import read_plan
from charlm.text.corpus import load_corpus
from charlm.text.splits import split_corpus

TABLE = re.findall(
    r"^\| (.+?) \| start \| (.+) \|$", (GUIDE / "gradients.md").read_text(encoding="utf-8"), re.MULTILINE
)
LAGS = (1, 4, 16, 32, 64, 128)


def network_settings(name: str) -> Settings:
    """Return the settings of a network of the sweep by its name in the table."""
    plan = read_plan("lags")
    swept = [make_trials(plan, number, point)[0].settings for number, point in enumerate(plan.points())]
    is_meant = {
        "RNN, tanh": lambda model: (model.cell, model.init) == ("rnn", "torch"),
        "orthogonal start": lambda model: model.init == "orthogonal",
        "ReLU, identity start": lambda model: model.init == "identity",
        "GRU": lambda model: model.cell == "gru",
        "LSTM": lambda model: model.cell == "lstm",
    }[name]
    return next(each for each in swept if is_meant(each.model))


def test_the_table_has_all_starts_of_the_sweep() -> None:
    # Weight decay has no start of its own: it begins as the plain RNN does.
    assert [name for name, _ in TABLE] == ["RNN, tanh", "orthogonal start", "ReLU, identity start", "GRU", "LSTM"]


@pytest.mark.parametrize("place", one_in(5, range(5)))
def test_untrained_networks_have_the_gradients_of_the_table(place: int) -> None:
    name, row = TABLE[place]
    told = [float(cell) for cell in row.split(" | ")]
    settings = network_settings(name)
    corpus = load_corpus(settings.corpus, settings.vocabulary)
    part = split_corpus(corpus, settings.corpus).val
    assert part is not None
    network = build_model(settings.model, len(corpus.vocabulary), seed=settings.train.seed)
    assert isinstance(network, CharLM)
    (layer,) = gradients_by_lag(network, part.ids).layers
    assert [layer.hidden[lag] for lag in LAGS] == pytest.approx(told[:6], rel=0.06)
    (products,) = jacobian_products(network, part.ids, lags=(1, 2, 4, 8, 16, 32, 64, 128))
    assert [products.lags[at].largest for at in (5, 7)] == pytest.approx(told[6:], rel=0.06)
