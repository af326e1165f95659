"""What a recipe and fitted minutes come to is decided once for all trials of a sweep, and kept with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import charlm
from charlm.recipes.automatic import Task, automatic
from charlm.runs.run import Run
from charlm.settings.layers import keyed_layer, merge
from charlm.settings.loading import check_layer, load_run_settings
from charlm.settings.schema import Settings
from charlm.sweeps import decisions
from charlm.sweeps.plan import make_trials
from charlm.sweeps.sweep_file import read_plan
from charlm.training import fitting
from charlm.training.timetable import Pace

SWEEP = "{base: auto, seeds: 2, space: {optimizer.learning_rate: [0.1, 0.2]}}"
SMALL = ("train.device=cpu", "model.hidden_size=4", "sampling.batch_size=2")
Decide = Callable[..., tuple[Settings, list[str]]]


@pytest.fixture
def decided(tmp_path: Path, corpus_file: Path) -> Decide:
    """Return a function that decides what a sweep leaves open; it returns the base, and the names of the trials."""

    def decide(*overrides: str, sweep: str = SWEEP, fixed: tuple[str, ...] = SMALL) -> tuple[Settings, list[str]]:
        (tmp_path / "few.yaml").write_text(sweep)
        plan = read_plan(tmp_path / "few.yaml", overrides=[f"corpus.path='{corpus_file}'", *fixed, *overrides])
        plan = decisions.with_decided_base(plan, tmp_path, threads=1)
        trials = [trial for number, point in enumerate(plan.points()) for trial in make_trials(plan, number, point)]
        return check_layer(plan.base), [trial.name for trial in trials]

    return decide


def test_a_second_start_has_the_same_choices_and_finds_its_trials(
    decided: Decide, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, names = decided("train.max_steps=9")
    assert (base.train.max_steps, base.train.fit_minutes, base.optimizer.schedule.method) == (9, None, "cosine")
    # Where trials run is as open as before.
    assert base.train.threads is None
    # Nothing is measured again.
    monkeypatch.setattr(decisions, "decide", None)
    assert decided("train.max_steps=9") == (base, names)


def test_fitted_minutes_are_steps_for_all_trials_and_other_minutes_are_decided_anew(
    decided: Decide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "measure_pace", lambda *_: Pace(step=0.01))
    base, names = decided("train={epochs: null, fit_minutes: 0.2}", "corpus.max_chars=2000", "train.recipe=null")
    assert base.train.max_steps is not None
    assert base.train.fit_minutes is None
    assert load_run_settings(tmp_path / decisions.DECIDED).train.fit_minutes == 0.2
    more, others = decided("train={epochs: null, fit_minutes: 0.4}", "corpus.max_chars=2000", "train.recipe=null")
    assert more.train.max_steps is not None
    assert more.train.max_steps > 1.3 * base.train.max_steps
    assert not set(names) & set(others)


@pytest.mark.parametrize(
    ("space", "minutes"),
    [
        ("model.dropout: [0.1, 0.2]", None),
        ("model.num_layers: [2, 3]", 0.2),
        ("sampling.batch_size: [2, 3]", 0.2),
        ("optimizer.accumulation: [1, 2]", 0.2),
    ],
)
def test_only_what_changes_the_speed_has_steps_of_its_own(
    decided: Decide, monkeypatch: pytest.MonkeyPatch, space: str, minutes: float | None
) -> None:
    monkeypatch.setattr(fitting, "measure_pace", lambda *_: Pace(step=0.01))
    asked = ("train={epochs: null, fit_minutes: 0.2}", "train.recipe=null", "model.num_layers=2")
    free = [each for each in asked if each.partition("=")[0] not in space]
    base, _ = decided(*free, sweep=f"{{base: auto, space: {{{space}}}}}", fixed=("train.device=cpu",))
    assert (base.train.fit_minutes, base.train.max_steps is None) == (minutes, minutes is not None)
    # Steps that are given are those of every trial.
    base, _ = decided(*free[1:], "train.max_steps=9", sweep=f"{{base: auto, space: {{{space}}}}}", fixed=())
    assert (base.train.fit_minutes, base.train.max_steps) == (None, 9)


def test_the_bundled_search_goes_with_whatever_the_recipe_chooses() -> None:
    plan = read_plan("recipe")
    for reference_chars in (1e4, 1e6, 1e8):
        choices = automatic(Task(300_000, 80, reference_chars), {})
        layers = [keyed_layer(key.split("."), value, "the recipe") for key, value in choices.items()]
        decided_plan = replace(plan, base=merge([plan.base, *layers]))
        trials = [
            trial
            for number, point in enumerate(plan.space.corners())
            for trial in make_trials(decided_plan, number, point)
        ]
        assert {trial.settings.model.num_layers for trial in trials} == {1, 2}


@pytest.mark.usefixtures("_in_threads")
def test_trials_of_different_speed_share_the_choices_and_take_the_same_time(
    decided: Decide, write_sweep: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = "{base: auto, space: {model.cell: [gru, lstm]}}"
    minutes = ("train={epochs: null, fit_minutes: 0.2}", "optimizer.schedule.method=cosine", "train.recipe=null")
    base, names = decided(*minutes, sweep=sweep)
    assert (base.train.fit_minutes, base.train.max_steps, base.optimizer.schedule.total_steps) == (0.2, None, None)
    assert decided(*minutes, sweep=sweep) == (base, names)
    # A larger network takes fewer steps.
    monkeypatch.setattr(fitting, "measure_pace", lambda settings, *_: Pace(step=settings.model.hidden_size / 400))
    overrides = ("train={max_steps: null, fit_minutes: 0.01}", "optimizer.schedule.method=cosine")
    path = write_sweep("{base: base.yaml, space: {model.hidden_size: [4, 8]}}", *overrides)
    results = charlm.sweep(path, runs_dir=tmp_path / "runs")
    runs = {
        trial.settings["model.hidden_size"]: Run(tmp_path / "runs" / "sweep" / trial.trial) for trial in results.trials
    }
    planned = {units: run.settings().train.max_steps for units, run in runs.items()}
    assert planned[8] is not None
    assert planned[4] is not None
    # How long the preparation of each takes is part of its minutes.
    assert planned[4] <= 60
    assert planned[8] <= 30
    assert planned[4] > planned[8] > 1
    monkeypatch.setattr(fitting, "measure_pace", None)
    assert charlm.sweep(path, runs_dir=tmp_path / "runs").trials == results.trials
