"""What an automatic recipe and fitted minutes decide before the first step, and what stays with the user."""

from __future__ import annotations

from pathlib import Path

import pytest

import charlm
from charlm.errors import RunError
from charlm.settings.loading import load_settings
from charlm.settings.schema import Settings
from charlm.training.deciding import decide
from charlm.training.events import Refit, Start
from charlm.training.experiment import prepare
from charlm.training.forecast import forecast

MACHINE = ("train.threads=1", "eval.baselines=false", "sample.every=100000", "sample.length=1")
SMALL = ("model.hidden_size=8", "model.num_layers=1", "sampling.batch_size=2", "sampling.seq_len=16")


@pytest.fixture(scope="module")
def long_file(corpus_text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a text that is read less often in the time than the recipe allows."""
    path = tmp_path_factory.mktemp("long") / "long.txt"
    path.write_text(corpus_text * 700)
    return path


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


@pytest.mark.slow
def test_a_stopped_and_resumed_run_is_the_one_given_its_recorded_list(long_file: Path, tmp_path: Path) -> None:
    settings = automatic(long_file, *SMALL, "train.fit_minutes=0.04", "train.eval_every=200")
    stop_at = iter((150, 350))
    next_stop = next(stop_at)
    steps = 0

    def should_stop() -> str | None:
        return "interrupt" if steps >= next_stop else None

    for resume in (False, True, True):
        reports = charlm.train_reports(settings, name="a", runs_dir=tmp_path, resume=resume, should_stop=should_stop)
        for report in reports:
            steps = getattr(report, "step", steps)
        next_stop = next(stop_at, 10**9)
    first = charlm.open_run(tmp_path / "a").run
    charlm.train(charlm.load_settings(first.path / "config.yaml"), name="b", runs_dir=tmp_path, progress=False)
    second = charlm.open_run(tmp_path / "b").run
    ends = [run.summary() for run in (first, second)]
    assert ends[0] is not None
    assert ends[1] is not None
    assert (ends[0].steps, ends[0]["val_bpc"]) == (ends[1].steps, ends[1]["val_bpc"])
    weights = [(run.checkpoint_paths()[-1] / "model.safetensors").read_bytes() for run in (first, second)]
    assert weights[0] == weights[1]
    assert second.settings().train.fit_minutes is None


def test_other_minutes_move_the_end_of_a_run_that_is_resumed_and_are_refused_after_it(
    long_file: Path, tmp_path: Path
) -> None:
    settings = automatic(long_file, *SMALL, "train.fit_minutes=0.05", "train.eval_every=100000")
    steps = 0

    def should_stop() -> str | None:
        return "interrupt" if steps >= 10 else None

    for report in charlm.train_reports(settings, name="a", runs_dir=tmp_path, should_stop=should_stop):
        steps = getattr(report, "step", steps)
    planned = charlm.open_run(tmp_path / "a").run.settings().train.max_steps
    run = charlm.train(name="a", runs_dir=tmp_path, resume=True, overrides=["train.fit_minutes=0.02"], progress=False)
    train, summary = run.settings().train, run.summary()
    assert train.max_steps == planned
    assert summary is not None
    assert train.refits[0][0] >= 10
    assert summary.steps == train.refits[-1][1]
    with pytest.raises(RunError, match=r"0\.3 minutes would change nothing: train on from it"):
        charlm.train(name="a", runs_dir=tmp_path, resume=True, overrides=["train.fit_minutes=0.3"], progress=False)


def test_a_forecast_writes_nothing_and_agrees_with_the_run(corpus_file: Path, tmp_path: Path) -> None:
    settings = automatic(corpus_file, *SMALL, "train.max_steps=3")
    found = forecast(settings, runs_dir=tmp_path / "runs")
    assert list(tmp_path.iterdir()) == []
    run = charlm.train(settings, name="run", runs_dir=tmp_path / "runs", progress=False)
    summary = run.summary()
    assert summary is not None
    assert (found.num_parameters, found.plan and found.plan.steps) == (summary.num_parameters, 3)
    # Besides the numbers of every parameter, a checkpoint has a few small files.
    (size,) = {sum(file.stat().st_size for file in path.glob("*.safetensors")) for path in run.checkpoint_paths()[-1:]}
    assert found.checkpoint_bytes <= size < found.checkpoint_bytes + 10_000


@pytest.mark.parametrize("split", ["[200, 100]", "[280, 20]"])
def test_a_forecast_tells_what_the_run_would_tell(corpus_file: Path, tmp_path: Path, split: str) -> None:
    settings = automatic(corpus_file, *SMALL, "train.max_steps=3", "corpus.max_chars=300", f"corpus.split={split}")
    told = [notice.sentence for notice in forecast(settings, runs_dir=tmp_path / "runs").notices]
    assert told == [notice.sentence for notice in prepare(settings).notices]
    assert "a network will learn it by heart" in told[0]


def test_minutes_that_cut_a_schedule_off_are_warned_of(corpus_file: Path) -> None:
    timed = ("train.minutes=0.001", "train.max_steps=100000", "optimizer.schedule.method=cosine")
    settings = load_settings("defaults", overrides=[f"corpus.path='{corpus_file}'", *MACHINE, *SMALL, *timed])
    (warned,) = [notice for notice in decide(settings).notices if notice.is_warning]
    assert "train.minutes 0.001 will end the run after about" in warned.sentence
    assert "of 100,000 steps, at a learning rate of about 0.005: --minutes" in warned.sentence
    ample = settings.replaced({"train.minutes": 1e6})
    assert not [notice for notice in decide(ample).notices if notice.is_warning]


def test_a_run_whose_steps_no_clock_decided_is_given_no_clock_later(corpus_file: Path, tmp_path: Path) -> None:
    budget = ("train.max_steps=2", "optimizer.schedule.method=cosine")
    settings = load_settings("defaults", overrides=[f"corpus.path='{corpus_file}'", *MACHINE, *SMALL, *budget])
    charlm.train(settings, name="a", runs_dir=tmp_path, progress=False)
    with pytest.raises(RunError, match=r"train\.fit_minutes was None and is 5"):
        charlm.train(name="a", runs_dir=tmp_path, resume=True, overrides=["train.fit_minutes=5"], progress=False)
