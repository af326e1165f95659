"""What an automatic recipe and fitted minutes decide before the first step, and what stays with the user."""

from __future__ import annotations

from pathlib import Path

import pytest

import charlm
from charlm.settings.loading import load_settings
from charlm.settings.schema import Settings
from charlm.training.deciding import decide
from charlm.training.events import Refit, Start

MACHINE = ("train.threads=1", "eval.baselines=false", "sample.every=100000", "sample.length=1")
SMALL = ("model.hidden_size=8", "model.num_layers=1", "sampling.batch_size=2", "sampling.seq_len=16")


def automatic(corpus_file: Path, *overrides: str) -> Settings:
    """Return the settings of `charlm train TEXT` with overrides."""
    return load_settings("auto", overrides=[f"corpus.path='{corpus_file}'", *MACHINE, *overrides])


def test_what_is_written_stays_and_the_recipe_fills_in_the_rest(corpus_file: Path) -> None:
    asked = automatic(corpus_file, "model.cell=gru", "train.max_steps=7", "optimizer.learning_rate=0.123")
    settings = decide(asked).resolved.settings
    assert (settings.model.cell, settings.train.max_steps, settings.optimizer.learning_rate) == ("gru", 7, 0.123)
    assert settings.train.fit_minutes is None
    assert settings.optimizer.schedule.method == "cosine"
    assert settings.model.embedding_size is not None
    # A run from what was decided is the same again: nothing is open any more.
    assert decide(settings).resolved.settings == settings


@pytest.mark.parametrize(
    "override",
    [
        "model.num_layers=1",
        "model.direction=leaky",
        "model.direction=bidirectional",
        "optimizer.method=sgd",
        "corpus.split=none",
        "optimizer={average: {method: none}}",
        "model.embedding_size=null",
        "optimizer.schedule.method=plateau",
        "model.cell=rnn",
        "train.eval_every={epochs: 1}",
    ],
)
def test_whatever_is_fixed_the_rest_goes_with_it(override: str, corpus_file: Path) -> None:
    assert decide(automatic(corpus_file, override, "train.epochs=1")).resolved.planned_steps


@pytest.mark.parametrize("num_chars", [200, 300, 700, 3_000])
def test_a_short_text_is_trained_on_with_windows_that_fit(num_chars: int, corpus_text: str, tmp_path: Path) -> None:
    text = tmp_path / "short.txt"
    text.write_text(corpus_text[:num_chars])
    decided = decide(automatic(text))
    assert decided.resolved.steps_per_epoch >= 3
    assert decided.split.val is not None
    assert len(decided.split.val.ids) > 50


def test_the_steps_that_fit_are_decided_before_the_first_and_stored(corpus_file: Path, tmp_path: Path) -> None:
    settings = load_settings(
        "defaults",
        overrides=[
            f"corpus.path='{corpus_file}'",
            *MACHINE,
            *SMALL,
            "train.fit_minutes=0.01",
            "optimizer.schedule.method=cosine",
            "optimizer.schedule.warmup_steps=10000",
        ],
    )
    reports = list(charlm.train_reports(settings, name="run", runs_dir=tmp_path))
    start = next(each for each in reports if isinstance(each, Start))
    stored = charlm.open_run(tmp_path / "run").run.settings()
    steps = stored.train.max_steps
    assert start.plan is not None
    assert start.plan.steps == steps == stored.optimizer.schedule.total_steps
    assert steps is not None
    assert stored.optimizer.schedule.warmup_steps <= steps // 10
    assert stored.train.fit_minutes == 0.01
    # The end is only ever moved by what is written down.
    moved = [(each.step, each.last_step) for each in reports if isinstance(each, Refit)]
    assert stored.train.refits == tuple(moved)
