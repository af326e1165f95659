"""The display of a sweep: the live table and its bar, plain lines elsewhere, and the closing table at any width."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from charlm.console import sweep_results, sweeps
from charlm.console.sweep_results import show_results
from charlm.console.sweeps import SweepView
from charlm.evaluation.spread import Spread
from charlm.settings.schema import Settings
from charlm.sweeps.events import (
    RungDecided,
    SweepEnd,
    SweepProgress,
    SweepStart,
    TrialEnd,
    TrialStart,
    Waiting,
    WorkerLost,
)
from charlm.sweeps.plan import Plan, Trial
from charlm.sweeps.results import Configuration, Results
from charlm.sweeps.sweep_file import read_plan
from charlm.sweeps.tasks import Outcome

SWEEP = """
name: made-up
seeds: 2
space:
  model.cell: [rnn, gru, lstm]
stop_early: {rungs: [100, 300], keep: 0.5}
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Return a plan of three cells with two rungs."""
    (tmp_path / "sweep.yaml").write_text(SWEEP, encoding="utf-8")
    return read_plan(tmp_path / "sweep.yaml")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Console:
    """Replace both streams with a terminal of 100 x 12 that records what is drawn on it."""
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=12, color_system=None, highlight=False)
    for module in (sweeps, sweep_results):
        monkeypatch.setattr(module, "is_live", lambda _: True)
        monkeypatch.setattr(module, "console_for", lambda _: console)
    return console


def drawn(console: Console) -> str:
    """Return what has been drawn since the last call."""
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    console.file.seek(0)
    console.file.truncate()
    return text


def trial(cell: str, seed: int = 0) -> Trial:
    """Return a made-up trial."""
    name = f"{cell}-seed{seed}-{'0' * 8}"
    return Trial(name, 0, (), {"model.cell": cell}, seed, Settings())


def ended(
    cell: str, value: float | None, progress: SweepProgress, seed: int = 0, reason: str | None = None
) -> TrialEnd:
    """Return a made-up trial's end at step 100."""
    figures = {} if value is None else {"val_bpc": value}
    status = "failed" if reason else "cut" if value is None else "reached"
    outcome = Outcome(trial(cell, seed).name, 100, status, reason, 5 if reason else 0, figures, 1.25)
    return TrialEnd(trial(cell, seed), outcome, progress)


def start(plan: Plan, num_ended: int = 0) -> SweepStart:
    """Return the first report of a sweep of six trials."""
    return SweepStart(
        plan, Path("runs/made-up"), 6, num_ended, "2 workers of 1 thread", SweepProgress(100, 6, num_ended)
    )


def configuration(number: int, cell: str, bpc: float, **options: Any) -> Configuration:
    """Return a made-up configuration of two seeds."""
    figures = {
        "val_bpc": Spread(bpc, 0.0125, 2),
        "test_bpc": Spread(bpc + 0.1, 0.02, 2),
        "chars_per_second": Spread(1e6 / (number + 1), 10.0, 2),
    }
    values = {"state": "finished", "num_steps": 1200, "num_finished": 2, "num_trials": 2, "num_parameters": 5000}
    return Configuration(number=number, settings={"model.cell": cell}, figures=figures, **{**values, **options})


def results(*configurations: Configuration, **options: Any) -> Results:
    """Return made-up results."""
    values: dict[str, Any] = {
        "name": "made-up",
        "metric": "val_bpc",
        "direction": "minimize",
        "configurations": configurations,
        "trials": (),
        "importance": None,
        "fronts": {"chars_per_second": [], "num_parameters": []},
        "warnings": (),
    }
    return Results(**{**values, **options})


# While the sweep runs.


def test_outside_a_terminal_each_trial_is_a_line_with_its_number_result_and_time(
    plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    view = SweepView()
    with view.showing():
        view.show(start(plan))
        view.show(TrialStart(trial("rnn"), 100))
        view.show(ended("rnn", 2.5, SweepProgress(100, 6, 1)))
        view.show(ended("gru", None, SweepProgress(100, 6, 2), reason="loss is not a number"))
        view.show(ended("lstm", None, SweepProgress(100, 6, 2)))
        view.show(WorkerLost(1))
        view.show(WorkerLost(2))
        view.show(RungDecided(100, 1, 3, SweepProgress(300, 2, 0)))
        view.show(Waiting((trial("rnn"),)))
    out, lines = capsys.readouterr()
    assert out == ""
    assert lines.splitlines() == [
        "sweep made-up: grid over model.cell, each with 2 random seeds; 6 trials",
        "rungs at 100, 300 steps replace the budget of the base; 50% of the trials continue at each",
        "2 workers of 1 thread; minimize val_bpc; runs/made-up",
        "1/6 at step 100  rnn-seed0-00000000 step 100  val_bpc 2.5000  1.2 s",
        "2/6 at step 100  gru-seed0-00000000 step 100  failed: loss is not a number  1.2 s",
        "2/6 at step 100  lstm-seed0-00000000 step 100  cut  1.2 s",
        "warning: a worker died; its trial resumes from the last checkpoint",
        "warning: a worker died; 2 trials resume from the last checkpoint",
        "rung 100 is decided: 1 of 3 trials continue",
    ]


def test_a_restarted_sweep_says_how_many_trials_ended_earlier(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    SweepView().show(start(plan, 4))
    assert "; 6 trials, of which 4 ended earlier\n" in capsys.readouterr().err


def test_quiet_draws_nothing(plan: Plan, terminal: Console) -> None:
    view = SweepView(quiet=True)
    with view.showing():
        view.show(start(plan))
        view.show(ended("rnn", 2.5, SweepProgress(100, 6, 1)))
    assert drawn(terminal) == ""


def test_the_live_table_shows_the_bar_running_trials_and_ended_trials(plan: Plan, terminal: Console) -> None:
    view = SweepView()
    with view.showing():
        view.show(start(plan))
        view.show(TrialStart(trial("rnn"), 100))
        view.show(TrialStart(trial("gru", 1), 100))
        drawn(terminal)
        view.show(ended("rnn", 2.5, SweepProgress(100, 6, 1)))
        shown = drawn(terminal)
        assert "1/6 at step 100" in shown
        titles, first, second = [line.split() for line in shown.splitlines() if "seed" in line or "trial" in line]
        assert titles == ["trial", "cell", "rung", "val_bpc", "time"]
        assert first == ["rnn-seed0-00000000", "rnn", "100", "2.5000", "1.2", "s"]
        assert second[:3] == ["gru-seed1-00000000", "gru", "100"]
        # A failure is printed above the table, where it stays visible.
        view.show(ended("gru", None, SweepProgress(100, 6, 2), seed=1, reason="loss is not a number"))
        assert "gru-seed1-00000000 step 100  failed: loss is not a number" in drawn(terminal)
        view.show(RungDecided(100, 1, 3, SweepProgress(300, 2, 0)))
        assert "0/2 at step 300" in drawn(terminal)
        view.show(SweepEnd(Path(), None, results()))
    assert "trial" not in drawn(terminal)


def test_the_live_table_never_outgrows_the_terminal(plan: Plan, terminal: Console) -> None:
    view = SweepView()
    with view.showing():
        view.show(start(plan))
        for seed in range(40):
            view.show(ended("rnn", 2.5, SweepProgress(100, 60, seed + 1), seed=seed))
        for seed in range(5):
            view.show(TrialStart(trial("gru", seed), 100))
        drawn(terminal)
        view.show(Waiting(()))
        rows = [line for line in drawn(terminal).splitlines() if "-seed" in line]
    # Twelve lines without the bar and the titles: the running trials and the last ones that ended.
    assert len(rows) == 8
    assert [row.split()[0] for row in rows[:3]] == [f"rnn-seed{seed}-00000000" for seed in (37, 38, 39)]
    assert all("gru-seed" in row for row in rows[3:])


def test_the_live_table_shortens_only_names_on_a_narrow_terminal(plan: Plan, terminal: Console) -> None:
    terminal.width = 40
    view = SweepView()
    with view.showing():
        view.show(start(plan))
        drawn(terminal)
        view.show(ended("lstm", 2.5, SweepProgress(100, 6, 1)))
        (row,) = [line for line in drawn(terminal).splitlines() if "lstm-" in line]
    name, *rest = row.split()
    assert name.endswith("…")
    assert rest == ["lstm", "100", "2.5000", "1.2", "s"]


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(("direction", "best"), [("minimize", "rnn"), ("maximize", "gru")])
def test_the_best_so_far_stands_out(plan: Plan, direction: str, best: str) -> None:
    view = SweepView()
    view.show(start(replace(plan, direction=direction)))  # pyright: ignore[reportArgumentType]
    view.show(ended("lstm", 2.75, SweepProgress(100, 6, 1)))
    view.show(ended("rnn", 2.5, SweepProgress(100, 6, 2)))
    view.show(ended("gru", 3.0, SweepProgress(100, 6, 3)))
    assert [line.style for line in view.ended] == [
        "green",
        *("green" if each == best else "dim" for each in ("rnn", "gru")),
    ]


# When the sweep has ended.


def test_the_closing_table_has_means_deviations_and_the_best_for_each_cost(capsys: pytest.CaptureFixture[str]) -> None:
    found = results(
        configuration(1, "lstm", 2.0),
        configuration(0, "rnn", 2.25, num_parameters=4000),
        configuration(2, "gru", 2.5, state="failed", num_finished=1),
        fronts={"chars_per_second": [1, 0], "num_parameters": [1, 0]},
        importance={"model.cell": 0.755, "size": 0.245},
        warnings=("two texts",),
    )
    show_results(found, Path("runs/made-up"))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "cell trials steps val_bpc test_bpc chars/s parameters best for its",
        "lstm 2/2 1,200 2.000 ± 0.013 2.100 ± 0.020 500,000 ± 10 5,000 speed, size",
        "rnn 2/2 1,200 2.250 ± 0.013 2.350 ± 0.020 1,000,000 ± 10 4,000 speed, size",
        "gru 1/2 failed 1,200 2.500 ± 0.013 2.600 ± 0.020 333,333 ± 10 5,000 -",
        "(mean ± standard deviation over seeds, n - 1)",
        "(best for its speed or size: no other configuration has fewer bits and is as fast, or as small)",
        "importance of model.cell: 76%",
        "importance of size: 24%",
        "warning: two texts",
        "best: runs/made-up/best.yaml",
    ]


def test_a_terminal_shows_the_columns_that_fit_and_names_the_others(terminal: Console) -> None:
    terminal.width = 40
    fronts = {"chars_per_second": [1, 0], "num_parameters": [1]}
    found = results(
        configuration(1, "lstm", 2.0), configuration(0, "rnn", 2.25), fronts=fronts, importance={"size": 0.5}
    )
    show_results(found, Path("runs/made-up"))
    titles, first, *lines = drawn(terminal).splitlines()
    assert titles.split() == ["cell", "trials", "steps", "val_bpc"]
    assert first.split() == ["lstm", "2/2", "1,200", "2.000", "±", "0.013"]
    text = " ".join(" ".join(lines).split())
    assert "no room for these columns: test_bpc, chars/s, parameters, best for its; results.json has all" in text
    assert "best for its speed: lstm; rnn" in text
    assert "best for its size: lstm " in text
    assert "importance of size: 50% ██████████ best" in text


def test_nothing_is_called_best_before_a_trial_has_finished(capsys: pytest.CaptureFixture[str]) -> None:
    show_results(results(configuration(0, "rnn", 2.25, state="open", num_finished=1)), Path("runs/made-up"))
    out = capsys.readouterr().out
    assert "best" not in out
    assert "1/2" in out


def test_settings_with_the_same_last_word_are_shown_with_their_full_keys(capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"optimizer.method": "adam", "optimizer.schedule.method": "cosine"}
    show_results(results(replace(configuration(0, "rnn", 2.25), settings=settings)), Path())
    assert capsys.readouterr().out.split()[:2] == ["optimizer.method", "optimizer.schedule.method"]


def test_a_sweep_stopped_before_any_trial_ended_still_has_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    show_results(results(), Path("runs/made-up"))
    assert "best" not in capsys.readouterr().out
