"""Trials start from a run next to their sweep; what they cannot start from is refused before anything begins."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import charlm
from charlm.errors import ConfigError, RunError
from charlm.runs.run import Run
from charlm.settings.loading import load_settings
from charlm.settings.schema import Settings
from charlm.sweeps.plan import trial_name
from charlm.sweeps.sweep_file import plan_seeds

RATES = "base: base.yaml\nspace:\n  optimizer.learning_rate: [0.01, 0.001]\n"


@pytest.fixture
def runs(trained: Run, tmp_path: Path) -> Path:
    """Return a runs folder with a copy of the trained run, called a."""
    shutil.copytree(trained.path, tmp_path / "runs" / "a")
    return tmp_path / "runs"


@pytest.mark.usefixtures("_in_threads")
def test_each_trial_starts_from_the_run_and_a_finished_sweep_does_not_need_it(
    write_sweep: Callable[..., Path], runs: Path
) -> None:
    path = write_sweep(RATES, "start.run=a", "train.max_steps=2")
    results = charlm.sweep(path, runs_dir=runs, jobs=1)
    assert [each.state for each in results.configurations] == ["finished", "finished"]
    parents = [Run(runs / "sweep" / row.trial).environment().parent for row in results.trials]
    assert [(parent.name, parent.path) for parent in parents] == [("a", str(runs / "a"))] * 2
    assert results.trials[0].figures["parent_val_bpc"] == parents[0].val.bpc
    shutil.rmtree(runs / "a")
    again = charlm.sweep(path, runs_dir=runs, jobs=1)
    assert [row.figures for row in again.trials] == [row.figures for row in results.trials]


@pytest.mark.usefixtures("_in_threads")
def test_seeds_start_from_the_run(runs: Path, tiny_settings: Callable[..., Settings]) -> None:
    plan = plan_seeds(tiny_settings("start.run=a", "train.max_steps=2", "eval.baselines=false"), 2, name="seeds")
    results = charlm.sweep(plan, runs_dir=runs, jobs=1)
    assert {Run(runs / "seeds" / row.trial).environment().parent.name for row in results.trials} == {"a"}


def test_a_network_that_contradicts_the_run_or_a_missing_run_is_refused_at_once(
    write_sweep: Callable[..., Path], runs: Path
) -> None:
    path = write_sweep("base: base.yaml\nspace:\n  model.hidden_size: [8, 16]\n", "start.run=a")
    with pytest.raises(ConfigError, match="hidden_size is 8 there, and 16 was asked for"):
        charlm.sweep(path, runs_dir=runs, jobs=1)
    path = write_sweep("base: base.yaml\nspace:\n  start.run: [a, b]\n")
    with pytest.raises(RunError, match="there is no run b"):
        charlm.sweep(path, runs_dir=runs, jobs=1)
    assert [entry.name for entry in runs.iterdir()] == ["a"]


def test_a_sweep_that_starts_from_no_run_keeps_the_names_of_its_trials() -> None:
    # The name that a version without this section gave; its trials must be found again.
    assert trial_name((), None, load_settings("quickstart")) == "07bf80b6"
