"""Settings in words: each is described, and says truly what it belongs to."""

from __future__ import annotations

import pytest

from charlm.errors import ConfigError
from charlm.settings.diagnosis import known_keys
from charlm.settings.loading import dotted_values, load_settings
from charlm.settings.reference import NEEDS, entries, reference
from charlm.settings.schema import Settings

# A value of each that is not its default.
VALUES = {
    "corpus.separator": "x",
    "model.activation": "relu",
    "model.reset_after": "true",
    "model.forget_bias": "1.0",
    "model.zoneout_cells": "0.1",
    "model.lookahead": "3",
    "model.loss_weights.forward": "2.0",
    "model.loss_weights.backward": "2.0",
    "model.loss_weights.both": "2.0",
    "optimizer.momentum": "0.9",
    "optimizer.schedule.every": "5",
    "optimizer.schedule.factor": "0.3",
    "optimizer.schedule.patience": "2",
    "optimizer.schedule.total_steps": "9",
    "optimizer.average.decay": "0.9",
    "optimizer.average.patience": "2",
}
CHOICES = {
    "corpus.items": {"lines", "files", "separated"},
    "model.cell": {"rnn", "gru", "lstm"},
    "model.direction": {"forward", "backward", "bidirectional", "leaky"},
    "optimizer.method": {"adam", "adamw", "sgd", "rmsprop"},
    "optimizer.schedule.method": {"constant", "step", "exponential", "cosine", "plateau"},
    "optimizer.average.method": {"none", "ema", "triggered"},
}


def test_every_setting_is_described():
    described = entries()
    assert described.keys() >= dotted_values(Settings()).keys() - {"train.eval_every.epochs", "sample.every.epochs"}
    assert described.keys() <= set(known_keys())
    assert all(entry.description and entry.values and entry.default for entry in described.values())
    assert described["optimizer.learning_rate"].values == "a number, above 0"
    assert described["train.eval_every"].values == "a number of steps, or {epochs: N}"
    assert described["model.activation"].values == "tanh, relu or sigmoid, or null"
    assert described["optimizer.schedule.factor"].needs == "optimizer.schedule.method step, exponential or plateau"


def test_sections_follow_the_one_that_they_are_in():
    keys = [section.key for section in reference()]
    assert keys.index("optimizer.schedule") == keys.index("optimizer") + 1
    assert all(section.description for section in reference())


@pytest.mark.parametrize("key", NEEDS)
def test_a_setting_is_refused_without_what_it_needs(key):
    decider, values = NEEDS[key]
    # Averages that listen to validation need sgd, which is not what is asked here.
    base = ["optimizer.method=sgd"] if key.startswith("optimizer.average") else []
    given = f"{key}={VALUES[key]}"
    load_settings(overrides=[*base, f"{decider}={values[0]}", given])
    for other in CHOICES[decider] - set(values):
        with pytest.raises(ConfigError, match=other):
            load_settings(overrides=[*base, f"{decider}={other}", given])
