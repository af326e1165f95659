"""Results: what follows from a plan and a ledger, without a single run."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from charlm.settings.loading import load_settings
from charlm.sweeps.halving import entrants, value_at
from charlm.sweeps.ledger import Ledger
from charlm.sweeps.output import BEST, RESULTS, TABLE, mean_text, table_csv, write_results
from charlm.sweeps.plan import Plan, Trial, make_trials
from charlm.sweeps.results import Results, figure_names, summarise, varied_keys
from charlm.sweeps.sweep_file import read_plan
from charlm.sweeps.tasks import Outcome

GRID = "seeds: 2\nspace:\n  model.hidden_size: [8, 16, 32, 64]\n"
RUNGS = "stop_early: {rungs: [10, 30, 90], keep: 0.5}\n"


class Told:
    """A sweep whose trials have the results that a test sets."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder, path = folder / "runs", folder / "sizes.yaml"
        self.folder.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        self.plan: Plan = read_plan(path)
        self.trials: list[Trial] = [
            trial for number, point in enumerate(self.plan.points()) for trial in make_trials(self.plan, number, point)
        ]
        self.ledger = Ledger(self.folder)

    def of(self, number: int) -> list[Trial]:
        """Return the trials of a point."""
        return [trial for trial in self.trials if trial.number == number]

    def tell(self, number: int, *values: float | None, rung: int | None = None, **figures: Any) -> None:
        """Set the result of each of a point's trials; None means that it failed."""
        for trial, value in zip(self.of(number), values, strict=False):
            known = {} if value is None else {self.plan.metric: value, "steps": rung or 99, **figures}
            status, reason, code = ("failed", "it diverged", 5) if value is None else ("reached", None, 0)
            self.ledger.add(Outcome(trial.name, rung, status, reason, code, known, 1.0))

    def results(self, **options: Any) -> Results:
        """Return the results of the sweep."""
        return summarise(self.plan, self.trials, self.ledger, **options)

    def write(self) -> Results:
        """Write the results and return them."""
        results = self.results()
        write_results(results, {trial.name: trial for trial in self.trials}, self.folder)
        return results


@pytest.fixture
def told(tmp_path: Path) -> Callable[[str], Told]:
    """Return a function that makes a sweep from a text."""
    return lambda text: Told(tmp_path, text)


def states(results: Results) -> Mapping[int, str]:
    return {each.number: each.state for each in results.configurations}


def order(results: Results) -> list[int]:
    return [each.number for each in results.configurations]


def test_configurations_are_ordered_by_their_means_and_those_that_are_not_complete_come_last(told) -> None:
    sweep = told(GRID.replace("64", "64, 128"))
    sweep.tell(0, 3.0, None)
    sweep.tell(1, 2.0, 2.2)
    sweep.tell(2, 0.1)
    sweep.tell(3, 1.0, 3.0)
    results = sweep.results()
    assert order(results) == [3, 1, 0, 2, 4]
    assert states(results) == {0: "failed", 1: "finished", 2: "open", 3: "finished", 4: "open"}
    assert [(each.num_finished, each.num_trials) for each in results.configurations] == [
        *((2, 2), (2, 2), (1, 2), (1, 2), (0, 2)),
    ]
    assert [row.state for row in results.trials] == [
        *("finished", "failed", "finished", "finished", "finished", "new", "finished", "finished", "new", "new"),
    ]
    assert results.best is results.configurations[0]
    assert results.best_trials == tuple(trial.name for trial in sweep.of(3))
    assert [row.trial for row in results.failed] == [sweep.of(0)[1].name]


def test_a_trial_whose_run_has_begun_is_cut(told) -> None:
    sweep = told(GRID)
    run = sweep.folder / sweep.trials[1].name
    run.mkdir()
    (run / "config.yaml").touch()
    assert [row.state for row in sweep.results().trials[:3]] == ["new", "cut", "new"]


def test_more_is_better_where_the_metric_says_so(told) -> None:
    sweep = told(GRID + "objective: {metric: chars_per_second}\n")
    for number, value in enumerate([2.0, 4.0, 1.0, 3.0]):
        sweep.tell(number, value, value)
    assert order(sweep.results()) == [1, 3, 0, 2]
    assert sweep.results().direction == "maximize"


def test_equal_configurations_stay_in_the_files_order(told) -> None:
    sweep = told(GRID)
    for number in (3, 2, 1, 0):
        sweep.tell(number, 1.0, 1.0)
    assert order(sweep.results()) == [0, 1, 2, 3]


def test_there_is_no_best_configuration_without_a_complete_one(told) -> None:
    sweep = told(GRID)
    sweep.tell(0, 1.0)
    sweep.tell(1, 1.0, None)
    assert sweep.results().best is None
    assert sweep.results().best_trials == ()


def test_a_result_that_no_trial_has_makes_no_configuration_best(told) -> None:
    sweep = told(GRID)
    for trial in sweep.of(0):
        sweep.ledger.add(Outcome(trial.name, None, "reached", None, 0, {"val_bpc": None}, 1.0))
    results = sweep.results()
    assert states(results)[0] == "finished"
    assert results.best is None


def test_means_come_with_their_deviation_where_there_are_several_seeds(told) -> None:
    sweep = told(GRID)
    sweep.tell(0, 1.0, 2.0, num_parameters=7, chars_per_second=10.0)
    results = sweep.results()
    (first, *_) = results.configurations
    assert mean_text(first, results) == "1.5000 +- 0.7071 over 2 seeds"
    assert (first.num_parameters, first.num_steps) == (7, 99)
    sweep = told(GRID.replace("seeds: 2\n", ""))
    sweep.tell(0, 1.23456)
    assert mean_text(sweep.results().configurations[0], sweep.results()) == "1.2346"


def test_a_rung_is_decided_when_all_its_trials_have_reached_it_or_failed(told) -> None:
    sweep = told(GRID + RUNGS)
    sweep.tell(0, 4.0, 4.0, rung=10)
    sweep.tell(1, 3.0, None, rung=10)
    sweep.tell(2, 2.0, 2.0, rung=10)
    sweep.tell(3, 1.0, rung=10)
    assert entrants(sweep.plan, sweep.trials, sweep.ledger) == [{0, 1, 2, 3}]
    assert set(states(sweep.results()).values()) == {"open", "failed"}
    assert [row.state for row in sweep.results().trials][:2] == ["waiting", "waiting"]
    # What waits has been measured.
    assert [each.num_finished for each in sweep.results().configurations] == [2, 1, 2, 1]
    sweep.tell(3, 1.0, 5.0, rung=10)
    # Half of four points, the failed one among those that the share is of.
    assert entrants(sweep.plan, sweep.trials, sweep.ledger) == [{0, 1, 2, 3}, {2, 3}]
    assert states(sweep.results()) == {0: "stopped", 1: "failed", 2: "open", 3: "open"}
    assert [row.state for row in sweep.results().trials] == [
        *("stopped", "stopped", "stopped", "failed", "new", "new", "new", "new"),
    ]
    # Points that are still to come might be better.
    assert entrants(sweep.plan, sweep.trials, sweep.ledger, are_all=False) == [{0, 1, 2, 3}]


def test_further_rungs_come_before_better_results(told) -> None:
    sweep = told(GRID + RUNGS)
    for number in range(4):
        sweep.tell(number, 1.0 + number, 1.0 + number, rung=10)
    sweep.tell(0, 9.0, 9.0, rung=30)
    sweep.tell(1, 8.0, 8.0, rung=30)
    assert entrants(sweep.plan, sweep.trials, sweep.ledger)[2:] == [{1}]
    sweep.tell(1, 7.5, 7.5, rung=90)
    results = sweep.results()
    assert order(results) == [1, 0, 2, 3]
    assert [each.state for each in results.configurations] == ["finished", "stopped", "stopped", "stopped"]
    assert [each.num_steps for each in results.configurations] == [90, 30, 10, 10]
    assert [each.figures["val_bpc"].mean for each in results.configurations] == [7.5, 9.0, 3.0, 4.0]


def test_a_rung_that_nobody_survives_ends_the_sweep(told) -> None:
    sweep = told(GRID + RUNGS)
    for number in range(4):
        sweep.tell(number, None, None, rung=10)
    assert entrants(sweep.plan, sweep.trials, sweep.ledger) == [{0, 1, 2, 3}, set(), set()]
    assert sweep.results().best is None


def test_rungs_keep_a_share_of_all_by_their_means(told) -> None:
    sweep = told(GRID + RUNGS)
    sweep.tell(0, None, None, rung=10)
    sweep.tell(1, 1.0, 9.0, rung=10)
    sweep.tell(2, 4.0, 4.0, rung=10)
    sweep.tell(3, None, 1.0, rung=10)
    assert entrants(sweep.plan, sweep.trials, sweep.ledger)[1] == {1, 2}
    sweep = told(GRID + RUNGS.replace("0.5", "0.25"))
    sweep.tell(1, 1.0, 9.0, rung=10)
    sweep.tell(2, 4.0, 4.0, rung=10)
    assert entrants(sweep.plan, sweep.trials, sweep.ledger)[1:] == []
    for number in (0, 3):
        sweep.tell(number, 8.0, 8.0, rung=10)
    assert entrants(sweep.plan, sweep.trials, sweep.ledger)[1] == {2}


def test_rungs_keep_the_highest_where_more_is_better(told) -> None:
    sweep = told(GRID + RUNGS + "objective: {metric: chars_per_second}\n")
    for number in range(4):
        sweep.tell(number, 1.0 + number, 1.0 + number, rung=10)
    assert entrants(sweep.plan, sweep.trials, sweep.ledger)[1] == {2, 3}
    assert value_at(sweep.plan, sweep.of(3), sweep.ledger, 10) == -4.0
    assert value_at(sweep.plan, sweep.of(3), sweep.ledger, 30) is None


def test_fronts_are_of_complete_configurations_by_speed_and_by_size(told) -> None:
    sweep = told(GRID)
    sweep.tell(0, 1.0, 1.0, chars_per_second=100.0, num_parameters=400)
    sweep.tell(1, 2.0, 2.0, chars_per_second=300.0, num_parameters=500)
    sweep.tell(2, 3.0, 3.0, chars_per_second=200.0, num_parameters=300)
    sweep.tell(3, 0.5, None, chars_per_second=900.0, num_parameters=1)
    fronts = sweep.results().fronts
    assert {figure: list(numbers) for figure, numbers in fronts.items()} == {
        "chars_per_second": [0, 1],
        "num_parameters": [0, 2],
    }


def test_the_table_as_csv_is_exactly_what_is_known(told) -> None:
    text = "seeds: 2\nspace:\n  size:\n    - {model.cell: rnn}\n    - {train.eval_every: {epochs: 2}}\n"
    sweep = told(text + "  optimizer.clip_norm: [null, 1.0]\n")
    sweep.tell(0, 3.0, 4.0, num_parameters=5, test_bpc=2.0, chars_per_second=10.0)
    sweep.tell(3, 1.0, 1.0, num_parameters=6)
    lines = table_csv(sweep.results()).splitlines()
    assert lines[0] == (
        "model.cell,optimizer.clip_norm,train.eval_every,state,num_steps,num_finished,num_trials,num_parameters,"
        "val_bpc,val_bpc_deviation,test_bpc,test_bpc_deviation,chars_per_second,chars_per_second_deviation"
    )
    assert next(csv.reader([lines[1]])) == [
        *("", "1.0", '{"epochs": 2}', "finished", "99", "2", "2", "6", "1.0", "0.0", "", "", "", ""),
    ]
    assert next(csv.reader([lines[2]])) == [
        *("rnn", "null", "", "finished", "99", "2", "2", "5", "3.5", "0.7071067811865476"),
        *("2.0", "0.0", "10.0", "0.0"),
    ]
    assert next(csv.reader([lines[3]])) == ["rnn", "1.0", "", "open", "", "0", "2", "", "", "", "", "", "", ""]
    assert varied_keys(sweep.results().configurations) == ["model.cell", "optimizer.clip_norm", "train.eval_every"]


def test_the_objective_is_the_first_result_and_appears_once(told) -> None:
    assert figure_names(told(GRID).results()) == ["val_bpc", "test_bpc", "chars_per_second"]
    other = told(GRID + "objective: {metric: train_bpc}\n").results()
    assert figure_names(other) == ["train_bpc", "val_bpc", "test_bpc", "chars_per_second"]


def test_the_best_configuration_is_a_file_that_train_takes(told) -> None:
    sweep = told(GRID)
    sweep.tell(2, 1.0, 2.0)
    results = sweep.write()
    text = (sweep.folder / BEST).read_text(encoding="utf-8")
    first = sweep.of(2)[0]
    assert text.splitlines()[:2] == [
        "# The best configuration of the sweep sizes: val_bpc 1.5000 +- 0.7071 over 2 seeds.",
        f"# The settings of the trial {first.name}; train from them: charlm train --config best.yaml",
    ]
    assert load_settings(sweep.folder / BEST) == first.settings
    assert json.loads((sweep.folder / RESULTS).read_text()) == json.loads(json.dumps(results.as_record()))
    assert (sweep.folder / TABLE).read_text(encoding="utf-8") == table_csv(results)


def test_the_best_of_an_earlier_file_does_not_stay_where_there_is_none(told) -> None:
    sweep = told(GRID)
    sweep.tell(2, 1.0, 2.0)
    sweep.write()
    other = told(GRID.replace("8, 16, 32, 64", "9, 10"))
    other.write()
    assert sorted(path.name for path in other.folder.iterdir()) == [RESULTS, TABLE, "trials.jsonl"]


def test_the_record_contains_the_best_the_failed_and_every_trial(told) -> None:
    sweep = told(GRID)
    sweep.tell(0, 1.0, 2.0)
    sweep.tell(1, None, 2.0)
    record = sweep.results().as_record()
    assert (record["kind"], record["name"]) == ("sweep", "sizes")
    assert record["objective"] == {"metric": "val_bpc", "direction": "minimize"}
    assert record["best"]["settings"] == {"model.hidden_size": 8}
    assert record["best"]["trials"] == [trial.name for trial in sweep.of(0)]
    assert record["failed"] == [{"trial": sweep.of(1)[0].name, "reason": "it diverged", "exit_code": 5}]
    assert [row["seed"] for row in record["trials"]] == [0, 1] * 4
    assert [row["exit_code"] for row in record["trials"]] == [0, 0, 5, 0, 0, 0, 0, 0]
    assert len(record["configurations"]) == 4
    assert record["importance"] is None
    assert record["pareto"] == {"chars_per_second": [], "num_parameters": []}
    assert told(GRID).results().as_record()["best"] is None


def test_warnings_about_results_are_reported_for_each_trial(told) -> None:
    sweep = told(GRID)
    sweep.tell(0, 1.0, 2.0, warning="it reads its own target", val_sha256="a")
    assert sweep.results().warnings == tuple(f"{trial.name}: it reads its own target" for trial in sweep.of(0))
    sweep.tell(1, 1.0, 2.0, val_sha256="a")
    assert len(sweep.results().warnings) == 2
    sweep.tell(2, 1.0, 2.0, val_sha256="b")
    assert sweep.results().warnings[2:] == (
        "the trials were measured on 2 different validation texts: their results cannot be compared",
    )


def test_importance_is_by_what_all_points_have_in_common_the_first_rung(told) -> None:
    pytest.importorskip("optuna")
    text = "space:\n  model.hidden_size: [8, 16, 32, 64]\n  optimizer.learning_rate: [0.1, 0.2, 0.3, 0.4]\n"
    sweep = told(text + "  model.cell: [gru]\n" + RUNGS)
    for trial in sweep.trials:
        size, rate = trial.varied["model.hidden_size"], trial.varied["optimizer.learning_rate"]
        sweep.tell(trial.number, rate + 0.0001 * size, rung=10)
        # Later rungs would have the other one matter.
        sweep.tell(trial.number, size + 0.0001 * rate, rung=30)
    shares = sweep.results().importance
    assert shares is not None
    assert list(shares) == ["optimizer.learning_rate", "model.hidden_size"]
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-3)


def test_importance_needs_four_different_results_and_two_settings(told) -> None:
    pytest.importorskip("optuna")
    text = "space:\n  model.hidden_size: [8, 16]\n  optimizer.learning_rate: [0.1, 0.2, 0.3]\n"
    sweep = told(text)
    for number, value in enumerate([1.0, 2.0, 3.0, 3.0, 3.0]):
        sweep.tell(number, value)
    assert sweep.results().importance is None
    sweep.tell(5, 4.0)
    assert sweep.results().importance is not None
    alone = told(GRID.replace("seeds: 2\n", "") + "  model.cell: [gru]\n")
    for number in range(4):
        alone.tell(number, float(number))
    assert alone.results().importance is None
