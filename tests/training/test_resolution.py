"""What the settings leave open is decided once, and nothing else in them changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from charlm.settings.schema import Settings
from charlm.text.corpus import Corpus, load_corpus
from charlm.text.splits import Split, split_corpus
from charlm.training.budget import planned_steps
from charlm.training.experiment import prepare
from charlm.training.resolution import OPEN, Machine, Resolved, keep_resolved, resolve

MakeSettings = Callable[..., Settings]
CPU = torch.device("cpu")
FREE = ("train.threads=null", "optimizer.schedule.method=cosine")


@pytest.fixture
def open_settings(tiny_settings: MakeSettings) -> MakeSettings:
    """Return settings that leave as much as possible to the run."""
    return lambda *overrides: tiny_settings(*FREE, *overrides)


def texts(asked: Settings) -> tuple[Corpus, Split]:
    """Return the corpus and its splits."""
    corpus = load_corpus(asked.corpus, asked.vocabulary)
    return corpus, split_corpus(corpus, asked.corpus)


def resolved(asked: Settings) -> Resolved:
    """Resolve settings on a made-up machine."""
    return resolve(asked, *texts(asked), Machine(CPU, "reference"))


def dotted(settings: Settings, keys: list[str]) -> dict[str, Any]:
    """Return the values of some settings by their keys."""
    plain: dict[str, Any] = {}
    for key in keys:
        value: Any = settings
        for name in key.split("."):
            value = getattr(value, name)
        plain[key] = value
    return plain


def test_everything_open_is_decided_and_all_else_stays(open_settings: MakeSettings) -> None:
    asked = open_settings()
    found = resolved(asked).settings
    decided = dotted(found, list(OPEN))
    assert decided["model.implementation"] == "reference"
    assert decided["train.threads"] >= 1
    assert decided["optimizer.schedule.total_steps"] == planned_steps(asked.train, resolved(asked).steps_per_epoch)
    assert found.replaced(dotted(asked, list(OPEN))) == asked


def test_what_is_decided_is_not_decided_again(open_settings: MakeSettings) -> None:
    asked = open_settings("train.max_steps=100")
    first = resolved(asked).settings
    assert resolved(first).settings == first
    longer = first.replaced({"train.max_steps": 900})
    assert resolved(longer).settings == longer


@pytest.mark.parametrize("train", [("epochs=3",), ("max_steps=17",), ("epochs=3", "max_steps=17")])
def test_a_cosine_without_a_length_takes_it_from_the_budget(
    open_settings: MakeSettings, train: tuple[str, ...]
) -> None:
    blank = ("train.epochs=null", "train.max_steps=null")
    asked = open_settings(*blank, *(f"train.{budget}" for budget in train))
    found = resolved(asked)
    assert found.settings.optimizer.schedule.total_steps == found.planned_steps
    assert found.planned_steps == planned_steps(asked.train, found.steps_per_epoch)


@pytest.mark.parametrize("method", ["constant", "step", "exponential", "plateau"])
def test_other_schedules_have_no_length(tiny_settings: MakeSettings, method: str) -> None:
    found = resolved(tiny_settings(f"optimizer.schedule.method={method}", "train.max_steps=100"))
    assert found.settings.optimizer.schedule.total_steps is None


def test_periods_are_in_steps_whatever_they_were_written_in(tiny_settings: MakeSettings) -> None:
    written = ("train.eval_every={epochs: 2}", "sample.every=7", "checkpoint.keep_every={epochs: 3}")
    found = resolved(tiny_settings(*written))
    steps = found.steps_per_epoch
    assert (found.eval_every, found.sample_every, found.keep_every) == (2 * steps, 7, 3 * steps)
    assert resolved(tiny_settings("checkpoint.keep_every=null")).keep_every is None


@pytest.mark.parametrize("accumulation", [1, 2, 3])
def test_an_epoch_has_as_many_steps_as_groups_of_windows(tiny_settings: MakeSettings, accumulation: int) -> None:
    windows = resolved(tiny_settings()).steps_per_epoch
    found = resolved(tiny_settings(f"optimizer.accumulation={accumulation}"))
    assert found.steps_per_epoch == -(-windows // accumulation)


def test_a_run_computes_with_the_threads_that_were_decided(open_settings: MakeSettings) -> None:
    torch.set_num_threads(2)
    experiment = prepare(open_settings())
    assert torch.get_num_threads() == experiment.settings.train.threads
    assert experiment.settings == experiment.resolved.settings


def test_what_is_asked_for_again_keeps_what_was_decided_where_it_is_open(open_settings: MakeSettings) -> None:
    stored = resolved(open_settings()).settings.replaced({"train.device": "cpu"})
    assert keep_resolved(open_settings(), stored) == stored
    asked = open_settings("train.threads=7", "model.implementation=torch", "optimizer.schedule.total_steps=9")
    kept = keep_resolved(asked, stored)
    assert kept == asked.replaced({"train.device": "cpu"})
