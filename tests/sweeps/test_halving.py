"""Rungs: which points are promoted, that a sweep cut anywhere agrees, and that a trial does not notice its rungs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import charlm
from charlm.runs.run import Run
from charlm.settings.loading import load_settings
from charlm.sweeps.events import RungDecided, SweepEnd, TrialEnd
from charlm.sweeps.halving import best_share
from charlm.sweeps.sweep_file import read_plan

CLOCK = ("seconds", "chars_per_second")
SWEEP = """
base: base.yaml
name: rungs
method: random
seeds: 2
space:
  optimizer.learning_rate: {log: [1e-3, 1e-1]}
  model.cell: [rnn, gru]
stop_early: {method: halving, rungs: [4, 9, 20], keep: 0.5}
budget: {num_trials: 5}
"""


pytestmark = pytest.mark.usefixtures("_in_threads")


@pytest.fixture
def sweep_file(write_sweep: Callable[..., Path]) -> Callable[..., Path]:
    """Return what writes a sweep file of an epoch, where it has no rungs."""

    def write(text: str = SWEEP, *overrides: str) -> Path:
        return write_sweep(text, "train.max_steps=null", "train.epochs=1", *overrides)

    return write


def figures(results: Any) -> list[Any]:
    """Return the rows of a table without what the clock says."""
    return [
        (row.trial, row.state, {key: value for key, value in row.figures.items() if key not in CLOCK})
        for row in results.trials
    ]


@pytest.mark.parametrize(
    ("values", "keep", "kept"),
    [
        ({0: 3.0, 1: 1.0, 2: 2.0}, 0.33, [1]),
        ({0: 3.0, 1: 1.0, 2: 2.0}, 0.5, [1, 2]),
        ({0: 3.0, 1: 1.0, 2: 2.0}, 0.01, [1]),
        ({number: float(-number) for number in range(9)}, 0.33, [8, 7, 6]),
        # Equal: the first.
        ({0: 1.0, 1: 1.0, 2: 1.0}, 0.34, [0]),
        # A failed trial is never promoted, but counts among those that the share is taken of.
        ({0: None, 1: 1.0, 2: 2.0, 3: 3.0}, 0.5, [1, 2]),
        ({0: None, 1: None}, 0.9, []),
    ],
)
def test_a_share_of_the_best_is_promoted(values: dict[int, float | None], keep: float, kept: list[int]) -> None:
    assert best_share(values, keep) == kept


def test_rungs_keep_the_best_by_their_means_and_the_rest_stop_there(tmp_path: Path, sweep_file: Any) -> None:
    reports = list(charlm.sweep_reports(sweep_file(), runs_dir=tmp_path))
    reached: dict[int, dict[int, list[float]]] = {}
    order = []
    for report in reports:
        if isinstance(report, TrialEnd):
            outcome = report.outcome
            reached.setdefault(outcome.rung, {}).setdefault(report.trial.number, []).append(outcome.figures["val_bpc"])
            order.append(outcome.rung)
        elif isinstance(report, RungDecided):
            order.append("decided")
    # Synchronous: nobody starts for the next rung before all have reached this one.
    assert order == [4] * 10 + ["decided"] + [9] * 6 + ["decided"] + [20] * 4
    for rung, later in ((4, 9), (9, 20)):
        ranked = sorted(reached[rung], key=lambda number: sum(reached[rung][number]) / 2)
        assert set(reached[later]) == set(ranked[: len(reached[later])])
    results = reports[-1].results
    assert [each.state for each in results.configurations] == ["finished"] * 2 + ["stopped"] * 3
    assert [each.num_steps for each in results.configurations] == [20, 20, 9, 4, 4]
    assert results.best.number in reached[20]


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_trial_that_climbs_all_rungs_is_the_run_that_knows_of_none(
    tmp_path: Path, sweep_file: Any, schedule: str
) -> None:
    text = SWEEP.replace("num_trials: 5", "num_trials: 2")
    path = sweep_file(text, f"optimizer.schedule.method={schedule}", "model.num_layers=2", "model.dropout=0.3")
    results = charlm.sweep(path, runs_dir=tmp_path)
    for name in results.best_trials:
        climbed = Run(tmp_path / "rungs" / name)
        asked = climbed.settings()
        assert asked.train.max_steps == 20
        straight = charlm.train(
            load_settings(
                tmp_path / "base.yaml",
                overrides=[
                    "train.epochs=null",
                    "train.max_steps=20",
                    f"train.seed={asked.train.seed}",
                    f"model.cell={asked.model.cell}",
                    f"optimizer.learning_rate={asked.optimizer.learning_rate}",
                ],
            ),
            name=name,
            runs_dir=tmp_path / "straight",
        )
        assert straight.settings() == asked
        for mine, theirs in zip(climbed.metrics(), straight.metrics(), strict=True):
            clock = (*CLOCK, "epoch_seconds")
            assert {k: v for k, v in mine.items() if k not in clock} == {
                k: v for k, v in theirs.items() if k not in clock
            }


@pytest.mark.slow
def test_a_sweep_with_rungs_cut_anywhere_ends_with_the_same_table(tmp_path: Path, sweep_file: Any) -> None:
    path = sweep_file()
    whole = charlm.sweep(path, runs_dir=tmp_path / "whole")
    num_starts = 0
    while True:
        num_starts += 1
        ended = 0
        reports = charlm.sweep_reports(path, runs_dir=tmp_path / "cut")
        for report in reports:
            last = report
            ended += isinstance(report, TrialEnd)
            if ended == 3:
                # As a kill would: the report is the last that anybody sees.
                reports.close()
                break
        if num_starts == 2:
            ledger = tmp_path / "cut" / "rungs" / "trials.jsonl"
            ledger.write_bytes(ledger.read_bytes()[:-7])
        if isinstance(last, SweepEnd):
            break
    assert num_starts > 5
    assert figures(last.results) == figures(whole)


def test_a_trial_that_fails_at_a_rung_stops_its_point_there(tmp_path: Path, sweep_file: Any) -> None:
    text = SWEEP.replace("{log: [1e-3, 1e-1]}", "{uniform: [1e20, 1e29]}").replace("[rnn, gru]", "[rnn]")
    results = charlm.sweep(sweep_file(text, "optimizer.method=sgd", "optimizer.clip_norm=null"), runs_dir=tmp_path)
    assert {row.state for row in results.trials} == {"failed"}
    assert results.best is None


@pytest.mark.parametrize(
    ("early", "problem"),
    [
        ("{rungs: [5]}", "stop_early.rungs must be two or more rising numbers of steps, got [5] (sweep.yaml:2)"),
        ("{rungs: [5, 5]}", "must be two or more rising numbers"),
        ("{rungs: [9, 5]}", "must be two or more rising numbers"),
        ("{rungs: [0, 5]}", "must be at least 1, got 0"),
        ("{rungs: 5}", "stop_early.rungs must be a list, got 5"),
        ("{keep: 0.3}", "stop_early.rungs is missing (sweep.yaml:2)"),
        ("{rungs: [5, 9], keep: 1}", "stop_early.keep must be less than 1.0, got 1"),
        ("{rungs: [5, 9], method: hyperband}", "stop_early.method must be"),
        ("{rung: [5, 9]}", "did you mean stop_early.rungs?"),
    ],
)
def test_impossible_rungs_are_refused_with_their_line(
    tmp_path: Path, charlm_command: Any, monkeypatch: pytest.MonkeyPatch, early: str, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sweep.yaml").write_text(f"space: {{model.cell: [rnn]}}\nstop_early: {early}\n", encoding="utf-8")
    result = charlm_command("sweep", "sweep.yaml")
    assert result.exit_code == 2
    assert problem in result.stderr
    assert not Path("runs").exists()


def test_nothing_else_sets_the_budget_of_rungs(tmp_path: Path, sweep_file: Any, charlm_command: Any) -> None:
    result = charlm_command("sweep", sweep_file(), "--set=train.max_steps=5", f"--runs-dir={tmp_path / 'runs'}")
    assert result.exit_code == 2
    assert "stop_early.rungs set the budget, and --set train.max_steps=5 would set train.max_steps" in result.stderr
    text = SWEEP.replace("model.cell: [rnn, gru]", "train.epochs: [1, 2]")
    result = charlm_command("sweep", sweep_file(text), f"--runs-dir={tmp_path / 'runs'}")
    assert "train.epochs cannot vary: stop_early.rungs set the budget" in result.stderr
    endless = SWEEP.replace("num_trials: 5", "minutes: 5")
    result = charlm_command("sweep", sweep_file(endless), f"--runs-dir={tmp_path / 'runs'}")
    assert "stop_early needs budget.num_trials" in result.stderr
    assert not (tmp_path / "runs").exists()


def test_the_length_of_a_cosine_is_the_last_rung(sweep_file: Any) -> None:
    from charlm.sweeps.plan import make_trials, run_settings

    plan = read_plan(sweep_file(SWEEP, "optimizer.schedule.method=cosine"))
    trial = make_trials(plan, 0, next(plan.points()))[0]
    for rung in plan.rungs:
        settings = run_settings(trial, rung, threads=1)
        assert (settings.train.max_steps, settings.train.epochs, settings.train.threads) == (rung, None, 1)
        assert settings.optimizer.schedule.total_steps == 20
    asked = read_plan(
        sweep_file(SWEEP, "optimizer.schedule.method=cosine", "optimizer.schedule.total_steps=50", "train.max_steps=50")
    )
    assert make_trials(asked, 0, next(asked.points()))[0].settings.optimizer.schedule.total_steps == 50
