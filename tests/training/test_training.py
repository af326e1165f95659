"""Training as a whole, on a text of 3,000 characters: what changes a run, what ends it and what it keeps."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import charlm
from charlm.errors import ConfigError, DivergedError, TextError
from charlm.generation.filters import Filters
from charlm.runs.checkpoints import load_checkpoint
from charlm.runs.run import Run
from charlm.settings.loading import load_settings
from charlm.settings.schema import Settings
from charlm.training.events import End, Evaluation, Samples, Start, Step, TrainingEvent
from charlm.training.launch import train_reports

Kind = TypeVar("Kind", bound=TrainingEvent)
MakeSettings = Callable[..., Settings]
# Of the tiny settings: 2,700 characters of training text in windows of 4 x 16.
STEPS_PER_EPOCH = 42
ONE_WINDOW_EPOCHS = ("sampling.seq_len=600",)
FROZEN = ("optimizer.learning_rate=1e-30", "train.eval_every=1")


@dataclass(frozen=True)
class Training:
    """A finished run and everything it reported."""

    run: Run
    reports: Sequence[TrainingEvent]

    def of(self, kind: type[Kind]) -> list[Kind]:
        """Return its reports of one kind."""
        return [report for report in self.reports if isinstance(report, kind)]

    @property
    def end(self) -> End:
        """Its last report."""
        (end,) = self.of(End)
        return end

    @property
    def losses(self) -> list[float]:
        """The nats of each step's own windows."""
        return [step.figures.main.nats for step in self.of(Step)]


@pytest.fixture
def fit(tiny_settings: MakeSettings, tmp_path: Path) -> Callable[..., Training]:
    """Return a function that trains a run with tiny settings and overrides."""
    numbers = iter(range(100))

    def run(*overrides: str, settings: Settings | None = None, **options: Any) -> Training:
        chosen = settings or tiny_settings(*overrides)
        reports = list(train_reports(chosen, name=f"run{next(numbers)}", runs_dir=tmp_path / "runs", **options))
        assert isinstance(reports[0], Start)
        return Training(Run(reports[0].run), reports)

    return run


def untimed(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return records without the run's name and without anything that depends on a clock."""
    clocked = ("run", "seconds", "chars_per_second", "epoch_seconds")
    return [{key: value for key, value in record.items() if key not in clocked} for record in records]


def assert_same_run(one: Training, other: Training) -> None:
    """Check that losses, metrics, samples and weights are equal to the last bit."""
    assert one.losses == other.losses
    assert untimed(one.run.metrics()) == untimed(other.run.metrics())
    assert one.run.samples() == other.run.samples()
    first, second = load_checkpoint(one.run, "last"), load_checkpoint(other.run, "last")
    for tensors, others in ((first.model, second.model), (first.training, second.training)):
        assert tensors.keys() == others.keys()
        for name, tensor in tensors.items():
            assert_close(others[name], tensor, rtol=0, atol=0)


# What a run is a function of.


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("method", ["consecutive", "random"])
def test_the_same_seed_trains_the_same_run(fit: Callable[..., Training], seed: int, method: str) -> None:
    overrides = (
        f"train.seed={seed}",
        f"sampling.method={method}",
        "model.num_layers=2",
        "model.dropout=0.5",
        "sample.every=3",
    )
    one = fit(*overrides)
    torch.manual_seed(1234)
    assert_same_run(one, fit(*overrides))


def test_seeds_0_and_1_train_different_runs(fit: Callable[..., Training]) -> None:
    zero, one = fit("train.seed=0"), fit("train.seed=1")
    assert all(a != b for a, b in zip(zero.losses, one.losses, strict=True))


@pytest.mark.parametrize("direction", ["forward", "backward", "bidirectional"])
@pytest.mark.parametrize("method", ["consecutive", "random"])
def test_evaluating_and_sampling_more_often_changes_no_training_loss(
    fit: Callable[..., Training], method: str, direction: str
) -> None:
    overrides = (f"sampling.method={method}", f"model.direction={direction}", "model.num_layers=2", "model.dropout=0.5")
    seldom = fit(*overrides, "train.eval_every=100", "sample.every=100")
    often = fit(*overrides, "train.eval_every=1", "sample.every=1")
    assert (len(seldom.of(Evaluation)), len(seldom.of(Samples))) == (1, 1)
    assert (len(often.of(Evaluation)), len(often.of(Samples))) == (12, 12)
    assert often.losses == seldom.losses
    first, second = load_checkpoint(seldom.run, "last").model, load_checkpoint(often.run, "last").model
    assert all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_training_from_a_runs_own_configuration_repeats_it(fit: Callable[..., Training], cell: str) -> None:
    first = fit(
        f"model.cell={cell}",
        "train.max_steps=10",
        "optimizer.schedule={method: cosine, warmup_steps: 3, min_learning_rate: 1e-5}",
        "corpus.clean={lowercase: true}",
    )
    again = fit(settings=load_settings(first.run.path / "config.yaml"))
    assert again.run.settings() == first.run.settings()
    assert_same_run(first, again)


def test_the_length_of_a_cosine_is_fixed_when_the_run_is_created(fit: Callable[..., Training]) -> None:
    run = fit("optimizer.schedule.method=cosine", "train.max_steps=5").run
    assert run.settings().optimizer.schedule.total_steps == 5


@pytest.mark.parametrize("implementation", ["torch", "reference", pytest.param("native", marks=pytest.mark.kernels)])
def test_all_implementations_train_the_same_model(fit: Callable[..., Training], implementation: str) -> None:
    auto = fit("train.max_steps=4")
    chosen = fit("train.max_steps=4", f"model.implementation={implementation}")
    # In float32 another order of additions changes a few of the last bits.
    assert chosen.losses == pytest.approx(auto.losses, rel=1e-5)
    assert chosen.run.environment()["implementation"] == implementation


def test_accumulating_two_windows_equals_one_window_of_twice_the_batch(fit: Callable[..., Training]) -> None:
    # Random windows of 4 rows, two at a time, hold the rows of one window of 8 in the same order.
    overrides = ("sampling.method=random", "optimizer.method=sgd", "optimizer.learning_rate=0.5", "train.epochs=1")
    unlimited = (*overrides, "train.max_steps=null")
    whole = fit(*unlimited, "sampling.batch_size=8")
    parts = fit(*unlimited, "sampling.batch_size=4", "optimizer.accumulation=2")
    assert len(parts.losses) == len(whole.losses) == STEPS_PER_EPOCH // 2
    assert parts.losses == pytest.approx(whole.losses, rel=1e-5)
    first, second = load_checkpoint(whole.run, "last").model, load_checkpoint(parts.run, "last").model
    for name, tensor in first.items():
        assert_close(second[name], tensor, rtol=1e-4, atol=1e-5)


def test_an_epoch_that_does_not_divide_by_the_accumulation_ends_with_a_smaller_step(
    fit: Callable[..., Training],
) -> None:
    training = fit("optimizer.accumulation=4", "train.epochs=2", "train.max_steps=null")
    sizes = [step.figures.main.num_predicted // (4 * 16) for step in training.of(Step)]
    assert sizes == [*[4] * 10, 2] * 2
    assert [step.epoch for step in training.of(Step)] == [*[1] * 11, *[2] * 11]


def test_consecutive_windows_carry_the_state_and_random_ones_do_not(fit: Callable[..., Training]) -> None:
    # With frozen weights the loss of a window depends only on the state that it starts from.
    consecutive = fit(*FROZEN[:1], "sampling.method=consecutive", "train.max_steps=43")
    fresh = fit(*FROZEN[:1], "sampling.method=consecutive", "train.max_steps=43", "sampling.seq_len=8")
    # Each window of 16 is two of 8 with the state carried, so the sums agree for any length of window.
    pairs = [sum(fresh.losses[step : step + 2]) for step in range(0, 42, 2)]
    assert pairs == pytest.approx(consecutive.losses[:21], rel=1e-6)
    # Each epoch starts from a zero state, so the first window has the same loss each time.
    assert consecutive.losses[STEPS_PER_EPOCH] == consecutive.losses[0]


# What ends a run.


@pytest.mark.parametrize(
    ("overrides", "stopped_by", "num_steps", "num_epochs"),
    [
        (("train.max_steps=7",), "max_steps", 7, 0),
        (("train.max_steps=21", *ONE_WINDOW_EPOCHS), "max_steps", 21, 21),
        (("train.epochs=3", "train.max_steps=null", *ONE_WINDOW_EPOCHS), "epochs", 3, 3),
        (("train.max_steps=null", *ONE_WINDOW_EPOCHS), "epochs", 20, 20),
        (("train.epochs=1", "train.max_steps=null"), "epochs", STEPS_PER_EPOCH, 1),
        (("train.minutes=1e-9", "train.max_steps=null"), "minutes", 1, 0),
        (("train.epochs=2", "train.max_steps=3"), "max_steps", 3, 0),
        (("train.epochs=2", "train.max_steps=3", *ONE_WINDOW_EPOCHS), "epochs", 2, 2),
        (("train.minutes=1e-9", "train.max_steps=3", "train.epochs=2"), "minutes", 1, 0),
        (("train.minutes=1000", "train.max_steps=3", "train.epochs=2"), "max_steps", 3, 0),
    ],
)
def test_the_first_budget_reached_ends_the_run(
    fit: Callable[..., Training], overrides: tuple[str, ...], stopped_by: str, num_steps: int, num_epochs: int
) -> None:
    training = fit(*overrides)
    end = training.end
    assert (end.stopped_by, end.record["steps"], end.record["epochs"]) == (stopped_by, num_steps, num_epochs)
    assert len(training.losses) == num_steps
    # The last step is evaluated, saved and sampled, whatever ends the run.
    assert training.of(Evaluation)[-1].step == training.of(Samples)[-1].step == num_steps
    assert load_checkpoint(training.run, "last").step == num_steps


def test_minutes_are_counted_on_the_clock(fit: Callable[..., Training], monkeypatch: pytest.MonkeyPatch) -> None:
    # The clock advances by 0.6 seconds each time it is read; a step reads it twice.
    now = iter(0.6 * look for look in range(10_000))
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    training = fit("train.minutes=0.1", "train.max_steps=null")
    steps = training.of(Step)
    assert training.end.stopped_by == "minutes"
    assert steps[-1].seconds >= 6.0 > steps[-2].seconds
    assert all(step.step_seconds == pytest.approx(0.6) for step in steps)


@pytest.mark.parametrize("patience", [1, 3])
def test_early_stopping_waits_for_so_many_evaluations_without_improvement(
    fit: Callable[..., Training], patience: int
) -> None:
    # Frozen weights never improve on their first evaluation.
    training = fit(*FROZEN, f"train.early_stopping={patience}", "train.max_steps=10")
    assert training.end.stopped_by == "early_stopping"
    assert [evaluation.is_best for evaluation in training.of(Evaluation)] == [True, *[False] * patience]
    assert training.end.record["steps"] == patience + 1
    assert training.end.record["best_step"] == load_checkpoint(training.run).step
    assert training.of(Samples)[-1].step == patience + 1


def test_a_run_that_improves_is_not_stopped_early(fit: Callable[..., Training]) -> None:
    assert fit("train.early_stopping=1", "train.eval_every=6").end.stopped_by == "max_steps"


def test_the_rate_falls_after_each_plateau(fit: Callable[..., Training]) -> None:
    training = fit(
        *FROZEN, "train.max_steps=8", "optimizer.schedule={method: plateau, patience: 2, factor: 0.25, warmup_steps: 0}"
    )
    rates = [step.learning_rate for step in training.of(Step)]
    assert rates == pytest.approx([1e-30 * 0.25**plateaus for plateaus in (0, 0, 0, 1, 1, 2, 2, 3)], rel=1e-12, abs=0)


@pytest.mark.parametrize("setting", ["train.early_stopping=1", "optimizer.schedule.method=plateau"])
def test_what_needs_validation_is_refused_without_it(fit: Callable[..., Training], setting: str) -> None:
    with pytest.raises(ConfigError, match="needs a validation split"):
        fit(setting, "corpus.split=[3000, 0]")


@pytest.mark.parametrize("word", ["interrupt", "terminate"])
@pytest.mark.parametrize("after", [0, 1, 6, 7])
def test_a_request_to_stop_saves_a_checkpoint_and_ends(fit: Callable[..., Training], word: str, after: int) -> None:
    # It is called before the run is created, before each step, and in the evaluation after step 6.
    answers = iter([None, *[None] * (after + (after > 6)), word])
    training = fit(should_stop=lambda: next(answers))
    assert training.end.stopped_by == word
    assert len(training.losses) == after
    loaded = load_checkpoint(training.run, "last")
    assert (loaded.step, loaded.settings) == (after, training.run.settings())
    # Whoever interrupts does not want to wait: nothing is measured, and what was due is done on resuming.
    assert [evaluation.step for evaluation in training.of(Evaluation)] == ([6] if after > 6 else [])
    assert training.of(Samples) == []
    assert training.end.record == {"stopped_by": word, "steps": after}
    assert training.run.summary() is None
    assert "".join(charlm.generate(charlm.open_run(training.run, checkpoint="last"), "the ", length=5))


def test_a_run_is_saved_before_its_first_step(tiny_settings: MakeSettings, tmp_path: Path) -> None:
    reports = train_reports(tiny_settings(), name="run", runs_dir=tmp_path)
    run = Run(tmp_path / "run")
    assert isinstance(next(reports), Start)
    assert run.checkpoint_paths() == []
    assert isinstance(next(reports), Step)
    reports.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert [path.name for path in run.checkpoint_paths()] == ["step-00000000"]
    assert "".join(charlm.generate(run, "the ", length=5))


@pytest.mark.parametrize(("num_steps", "evaluation_is_closing", "samples_are"), [(12, 0, 0), (11, 1, 1), (6, 0, 1)])
def test_closing_reports_outside_the_schedule_are_marked(
    fit: Callable[..., Training], num_steps: int, evaluation_is_closing: bool, samples_are: bool
) -> None:
    training = fit(f"train.max_steps={num_steps}", "train.eval_every=6", "sample.every=4")
    *evaluations, _ = training.run.metrics()
    for records, is_closing in ((evaluations, evaluation_is_closing), (training.run.samples(), samples_are)):
        assert records[-1]["step"] == num_steps
        assert [record.get("is_closing", False) for record in records] == [False] * (len(records) - 1) + [is_closing]


# What a run tells.


def test_the_training_perplexity_is_that_of_the_last_whole_epochs_own_batches(fit: Callable[..., Training]) -> None:
    training = fit("train.max_steps=100")
    second_epoch = training.of(Step)[STEPS_PER_EPOCH : 2 * STEPS_PER_EPOCH]
    assert {step.epoch for step in second_epoch} == {2}
    nats = sum(step.figures.main.nats for step in second_epoch)
    chars = sum(step.figures.main.num_predicted for step in second_epoch)
    record = training.end.record
    assert record["train_perplexity"] == pytest.approx(math.exp(nats / chars), rel=1e-12)
    assert record["train_chars"] == chars == STEPS_PER_EPOCH * 4 * 16
    assert (record["epochs"], record["steps"], record["chars_seen"]) == (2, 100, 100 * 4 * 16)


def test_an_evaluation_reports_the_last_whole_epoch_as_the_closing_record_does(fit: Callable[..., Training]) -> None:
    training = fit("train.max_steps=90", "train.eval_every=20")
    *evaluations, end = training.run.metrics()
    keys = ("nats_per_char", "bpc", "perplexity", "chars")
    by_step = {each["step"]: [each[f"epoch_{key}"] for key in keys] for each in evaluations}
    assert by_step[20] == by_step[40] == [None] * len(keys)
    assert by_step[60] == by_step[80] != by_step[90]
    assert by_step[90] == [end[f"train_{key}"] for key in keys]
    assert end["train_bpc"] != evaluations[-1]["recent_bpc"]


def test_before_the_first_whole_epoch_it_is_that_of_all_batches_so_far(fit: Callable[..., Training]) -> None:
    training = fit("train.max_steps=5")
    assert training.end.record["train_perplexity"] == pytest.approx(math.exp(sum(training.losses) / (5 * 64)))
    assert training.end.record["epochs"] == 0


def test_an_evaluation_reports_the_steps_since_the_last_one(fit: Callable[..., Training]) -> None:
    training = fit("train.max_steps=11", "train.eval_every=4")
    evaluations = training.of(Evaluation)
    assert [evaluation.step for evaluation in evaluations] == [4, 8, 11]
    for first, last, evaluation in zip((0, 4, 8), (4, 8, 11), evaluations, strict=True):
        assert evaluation.recent.main.nats == pytest.approx(sum(training.losses[first:last]), rel=1e-12)
        assert evaluation.recent.main.num_predicted == (last - first) * 64
        assert evaluation.chars_seen == last * 64
    for evaluation, record in zip(evaluations, training.run.metrics(), strict=False):
        assert (record["kind"], record["step"], record["epoch"]) == ("evaluation", evaluation.step, 1)
        assert (record["chars_seen"], record["train_chars"]) == (
            evaluation.chars_seen,
            evaluation.recent.main.num_predicted,
        )
        assert record["recent_bpc"] == evaluation.recent.main.bits_per_char
        # Its former name, which it shared with the result of the last epoch.
        assert evaluation.train is evaluation.recent
        assert all(record[f"train_{key}"] == record[f"recent_{key}"] for key in ("nats_per_char", "bpc", "chars"))
        assert evaluation.val is not None
        assert record["val_perplexity"] == evaluation.val.main.perplexity


@pytest.mark.parametrize("direction", ["forward", "backward", "bidirectional", "leaky"])
def test_the_results_of_a_run_are_those_of_its_checkpoint(fit: Callable[..., Training], direction: str) -> None:
    training = fit(f"model.direction={direction}")
    model = charlm.open_run(training.run)
    assert model.checkpoint.step == training.end.record["best_step"]
    for split in ("val", "test"):
        figure = charlm.evaluate(model, split=split).main
        assert figure.nats_per_char == pytest.approx(training.end.record[f"{split}_nats_per_char"], rel=1e-12)
        assert figure.num_predicted == training.end.record[f"{split}_chars"] == 149


def test_a_part_no_longer_than_eval_max_chars_is_read_whole_at_each_evaluation(fit: Callable[..., Training]) -> None:
    training = fit("eval.max_chars=150")
    last = training.of(Evaluation)[-1]
    assert not last.is_partial
    assert last.val is not None
    assert last.val.main.nats_per_char == training.end.record["val_nats_per_char"]


def test_an_evaluation_of_a_part_says_so_and_the_end_reads_everything(fit: Callable[..., Training]) -> None:
    training = fit("eval.max_chars=50")
    assert all(evaluation.is_partial for evaluation in training.of(Evaluation))
    assert [evaluation.val and evaluation.val.main.num_predicted for evaluation in training.of(Evaluation)] == [49, 49]
    assert training.end.record["val_chars"] == 149


@pytest.mark.parametrize("split", ["none", "[3000, 0, 0]"])
def test_a_run_on_the_whole_text_has_no_validation_results(fit: Callable[..., Training], split: str) -> None:
    training = fit(f"corpus.split={split}", "train.eval_every=5")
    assert all(evaluation.val is None and not evaluation.is_best for evaluation in training.of(Evaluation))
    record = training.end.record
    assert [record[key] for key in ("val_bpc", "val_perplexity", "test_bpc", "test_perplexity")] == [None] * 4
    assert list(record["split"]) == ["train"]
    assert record["train_perplexity"] > 1
    # Without a result to choose by, the best checkpoint is the last.
    assert record["best_step"] == 12 == load_checkpoint(training.run, "best").step


def test_the_best_checkpoint_is_kept_when_the_run_goes_on_to_worse_ones(fit: Callable[..., Training]) -> None:
    # The rate jumps from sensible to absurd, so everything after the first evaluations only gets worse.
    training = fit(
        "optimizer={method: sgd, learning_rate: 1000, clip_norm: 1, schedule: {method: constant, warmup_steps: 1000}}",
        "train.max_steps=60",
        "train.eval_every=5",
    )
    values = {evaluation.step: evaluation.val.main.nats for evaluation in training.of(Evaluation) if evaluation.val}
    best = min(values, key=lambda step: values[step])
    assert best < 50
    assert load_checkpoint(training.run, "best").step == training.end.record["best_step"] == best
    assert [path.name for path in training.run.checkpoint_paths()] == [f"step-{step:08d}" for step in (best, 55, 60)]
    assert [evaluation.step for evaluation in training.of(Evaluation) if evaluation.is_best][-1] == best


def test_metrics_and_samples_on_disk_are_what_was_reported(fit: Callable[..., Training]) -> None:
    training = fit("sample.every=5")
    records = [evaluation.as_record() for evaluation in training.of(Evaluation)]
    assert training.run.metrics() == [*records, dict(training.end.record)]
    assert training.run.samples() == [samples.as_record() for samples in training.of(Samples)]
    assert [samples.step for samples in training.of(Samples)] == [5, 10, 12]
    for samples in training.of(Samples):
        assert samples.prefixes == ("the ",)
        assert [len(text) for text in samples.continuations] == [8]


def test_a_sample_is_what_generate_writes_at_that_checkpoint_with_the_seed_moved_on_by_the_step(
    fit: Callable[..., Training],
) -> None:
    training = fit("train.seed=3", "sample.every=6", "sample.length=20", "sample.temperature=1.0")
    for samples in training.of(Samples):
        model = charlm.open_run(training.run, checkpoint=samples.step)
        (text,) = charlm.generate(model, "the ", length=20, seed=3 + samples.step, filters=Filters(temperature=1.0))
        assert text == f"the {samples.continuations[0]}"


@pytest.mark.parametrize(
    ("setting", "num_evaluations"), [("5", 3), ("{epochs: 1}", 2), ("{epochs: 2}", 1), ("1000", 1)]
)
def test_a_period_is_counted_in_steps_or_in_epochs(
    fit: Callable[..., Training], setting: str, num_evaluations: int
) -> None:
    training = fit(
        f"train.eval_every={setting}", "sampling.seq_len=96", "train.epochs=2", "train.max_steps=null"
    )  # 7 steps an epoch
    assert len(training.of(Evaluation)) == num_evaluations


def test_the_start_reports_the_facts_about_the_run(fit: Callable[..., Training], corpus_text: str) -> None:
    training = fit()
    (start,) = training.of(Start)
    assert start.facts == training.run.environment()
    assert start.planned_steps == 12
    assert {name: part["chars"] for name, part in start.facts["split"].items()} == {
        "train": 2700,
        "val": 150,
        "test": 150,
    }
    assert start.facts["corpus_chars"] == len(corpus_text)
    assert start.facts["vocab_size"] == len(set(corpus_text))
    assert start.facts["dropped_chars"] == 2699 - STEPS_PER_EPOCH * 64
    # There are 4 gates of (V + H inputs and two biases) for each of 8 units, and the output layer.
    size = len(set(corpus_text))
    assert start.facts["num_parameters"] == 4 * 8 * (size + 8 + 2) + size * (8 + 1)


@pytest.mark.parametrize("clip", ["clip_norm=1e-3", "clip_norm=null"])
def test_the_gradient_norm_is_reported_before_clipping(fit: Callable[..., Training], clip: str) -> None:
    norms = [step.gradient_norm for step in fit("train.max_steps=1", f"optimizer.{clip}").of(Step)]
    assert norms == [pytest.approx(fit("train.max_steps=1").of(Step)[0].gradient_norm)]
    assert norms[0] > 0.05


# What stops a run for good.


@pytest.mark.parametrize("clip_norm", ["1.0", "null"])
@pytest.mark.parametrize("split", ["default", "none"])
def test_a_diverged_run_names_step_rate_and_the_last_good_checkpoint(
    fit: Callable[..., Training], tmp_path: Path, clip_norm: str, split: str
) -> None:
    overrides = (
        "optimizer.method=sgd",
        "optimizer.learning_rate=1e30",
        f"optimizer.clip_norm={clip_norm}",
        f"corpus.split={split}",
    )
    with pytest.raises(DivergedError, match=r"at step 2 with learning rate 1e\+30 and ") as raised:
        fit(*overrides, "train.eval_every=100")
    (first,) = (tmp_path / "runs" / "run0" / "checkpoints").iterdir()
    assert first.name == "step-00000000"
    assert str(raised.value).endswith(f"the last good checkpoint is {first}")
    assert raised.value.exit_code == 5


@pytest.mark.parametrize(
    ("eval_every", "split", "rate", "named"),
    [
        (1, "default", 1e38, 3),  # the evaluation after the step that went wrong
        (2, "default", 1e38, 4),  # the step after it
        (2, "none", 1e38, 4),
        (1, "none", 1e39, 3),  # nothing to evaluate on, and weights beyond float32
    ],
)
def test_a_diverged_run_keeps_and_names_its_last_good_checkpoint(
    fit: Callable[..., Training],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    eval_every: int,
    split: str,
    rate: float,
    named: int,
) -> None:
    rates = {0: 0.1, 1: 0.1}
    monkeypatch.setattr("charlm.training.timetable.learning_rate_at", lambda step, *_, **__: rates.get(step, rate))
    with pytest.raises(DivergedError) as raised:
        fit("optimizer.method=sgd", f"train.eval_every={eval_every}", f"corpus.split={split}")
    run = Run(tmp_path / "runs" / "run0")
    last = run.checkpoint_paths()[-1]
    assert f"at step {named} with learning rate {rate:g}" in str(raised.value)
    assert str(raised.value).endswith(f"the last good checkpoint is {last}")
    assert last.name == "step-00000002"
    assert all(np.isfinite(weight).all() for weight in load_checkpoint(run, "last").model.values())
    assert charlm.evaluate(charlm.open_run(run), split="train").main.perplexity < 30


def test_no_record_of_a_run_holds_what_is_not_json(fit: Callable[..., Training], tmp_path: Path) -> None:
    with pytest.raises(DivergedError):
        fit("optimizer.method=sgd", "optimizer.learning_rate=1e30", "train.eval_every=1", "train.max_steps=1")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    for file in (tmp_path / "runs" / "run0").rglob("*.json*"):
        for line in file.read_text(encoding="utf-8").splitlines() if file.suffix == ".jsonl" else [file.read_text()]:
            json.loads(line, parse_constant=refuse)


def test_a_text_too_short_for_a_window_leaves_no_run(fit: Callable[..., Training], tmp_path: Path) -> None:
    with pytest.raises(TextError, match="one window of batch_size 4 x seq_len 1000 needs 4,001"):
        fit("sampling.seq_len=1000")
    assert not (tmp_path / "runs").exists()
