"""Losses, gradients and weights that are not numbers: the run ends, skips the step or goes back, as configured."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pairs import one_in

from charlm.errors import DivergedError
from charlm.networks.recurrent import State
from charlm.runs.checkpoints import load_checkpoint, step_of
from charlm.runs.run import Run
from charlm.settings.schema import Settings
from charlm.training import loop, milestones
from charlm.training.events import Divergence, End, Evaluation, Start, Step, TrainingEvent
from charlm.training.launch import train_reports
from charlm.training.step import StepOutcome, read_loss, take_step

MakeSettings = Callable[..., Settings]
Fit = Callable[..., list[TrainingEvent]]
POLICIES = ["stop", "skip", "rollback"]
SMALL = (
    *("sampling.seq_len=96", "train.max_steps=16", "train.eval_every=4", "sample.every=3"),
    "eval.baselines=false",
)


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    """Return the folder for a test's runs."""
    return tmp_path / "runs"


@pytest.fixture
def fit(tiny_settings: MakeSettings, runs_dir: Path) -> Fit:
    """Return a function that trains or resumes a run and returns its reports, including those before an error."""

    def train(
        name: str, *overrides: str, seen: list[TrainingEvent] | None = None, **options: Any
    ) -> list[TrainingEvent]:
        reports = [] if seen is None else seen
        settings = tiny_settings(*SMALL, *overrides)
        reports.extend(train_reports(settings, name=name, runs_dir=runs_dir, resume=True, **options))
        return reports

    return train


def of(kind: type[Any], reports: Sequence[TrainingEvent]) -> list[Any]:
    """Return the reports of one kind."""
    return [report for report in reports if isinstance(report, kind)]


def untimed(run: Run) -> list[dict[str, Any]]:
    """Return a run's metrics without its name and without anything that depends on a clock."""
    clocked = ("run", "seconds", "chars_per_second", "epoch_seconds")
    return [{key: value for key, value in record.items() if key not in clocked} for record in run.metrics()]


def contents(run: Run) -> dict[int, list[bytes]]:
    """Return the weights and moments of all checkpoints."""
    names = ("model.safetensors", "training.safetensors")
    return {step_of(path): [(path / name).read_bytes() for name in names] for path in run.checkpoint_paths()}


@pytest.fixture
def break_steps(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what turns the losses of some steps (from 1) into NaN while the learning rate is above a limit.

    Gradients become so too, as they do in earnest.
    """

    def break_them(steps: Collection[int], *, above: float = 0.0) -> None:
        def broken(*arguments: Any, step: int, learning_rate: float, **options: Any) -> StepOutcome:
            def loss(*inputs: Any) -> tuple[torch.Tensor, torch.Tensor, State]:
                cost, means, state = read_loss(*inputs)
                return cost * math.nan, means * math.nan, state

            with pytest.MonkeyPatch.context() as patch:
                if step + 1 in steps and learning_rate > above:
                    patch.setattr("charlm.training.step.read_loss", loss)
                return take_step(*arguments, step=step, learning_rate=learning_rate, **options)

        monkeypatch.setattr(loop, "take_step", broken)

    return break_them


@pytest.fixture
def break_weights(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what makes a step with a finite loss spoil a weight while the learning rate is above a limit."""

    def break_them(at: int, *, above: float = 0.0) -> None:
        def broken(network: Any, *arguments: Any, step: int, learning_rate: float, **options: Any) -> StepOutcome:
            outcome = take_step(network, *arguments, step=step, learning_rate=learning_rate, **options)
            if step + 1 == at and learning_rate > above:
                with torch.no_grad():
                    next(network.parameters()).view(-1)[0] = math.inf
            return outcome

        monkeypatch.setattr(loop, "take_step", broken)

    return break_them


@pytest.fixture
def break_evaluation(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what turns the validation loss of a step into NaN while the learning rate is above a limit."""
    measure = milestones.measure

    def break_it(at: int, *, above: float = 0.0) -> None:
        def broken(experiment: Any, progress: Any, *arguments: Any, **options: Any) -> Evaluation:
            evaluation = measure(experiment, progress, *arguments, **options)
            if progress.step != at or progress.learning_rate <= above or evaluation.val is None:
                return evaluation
            return replace(evaluation, val=replace(evaluation.val, main=replace(evaluation.val.main, nats=math.nan)))

        monkeypatch.setattr(milestones, "measure", broken)

    return break_it


def all_json(run: Run) -> Iterator[Any]:
    """Parse and yield every piece of JSON in a run, strictly."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    for file in run.path.rglob("*.json*"):
        text = file.read_text(encoding="utf-8")
        for part in text.splitlines() if file.suffix == ".jsonl" else [text]:
            yield json.loads(part, parse_constant=refuse)


def assert_all_saved_is_finite(run: Run) -> None:
    """Read every checkpoint."""
    for path in run.checkpoint_paths():
        checkpoint = load_checkpoint(run, step_of(path))
        for tensors in (checkpoint.model, checkpoint.training):
            assert all(np.isfinite(tensor).all() for tensor in tensors.values()), path


@pytest.mark.parametrize("overrides", [(), ("model.dropout=0.3", "model.num_layers=2"), ("sampling.method=random",)])
def test_where_nothing_diverges_the_policy_changes_no_bit(fit: Fit, runs_dir: Path, overrides: tuple[str, ...]) -> None:
    found: list[Any] = []
    for policy in POLICIES:
        reports = fit(policy, f"train.on_divergence={policy}", *overrides)
        run = Run(runs_dir / policy)
        found.append((of(Step, reports)[-1].figures, untimed(run), run.samples(), contents(run)))
    assert found[0] == found[1] == found[2]


# stop


@pytest.mark.parametrize("loss", ["real", "broken"])
def test_a_run_stops_and_names_step_rate_norm_and_text(
    fit: Fit, break_steps: Callable[..., None], loss: str, corpus_text: str
) -> None:
    if loss == "broken":
        break_steps([2])
    with pytest.raises(DivergedError) as raised:
        fit("run", *(("optimizer.method=sgd", "optimizer.learning_rate=1e30") if loss == "real" else ()))
    assert raised.value.exit_code == 5
    sentence = str(raised.value)
    rate = "1e+30" if loss == "real" else "0.005"
    before, text = sentence.split(" in the text ")
    assert before.startswith(f"the loss is no longer finite at step 2 with learning rate {rate} and gradient norm ")
    text = text.split("; lower optimizer.learning_rate or optimizer.clip_norm; the last good checkpoint is ")[0]
    # Sixty characters of the second window of one stream, as they are in the corpus.
    shown = text[1:-1].encode().decode("unicode_escape")
    assert len(shown) == 60
    assert shown in corpus_text


def test_the_text_named_is_that_of_the_stream_that_cost_most(
    fit: Fit, monkeypatch: pytest.MonkeyPatch, corpus_text: str, break_steps: Callable[..., None]
) -> None:
    # There are four streams, each a quarter of the 2,699 characters that have a next one; only the third is NaN.
    break_steps([1])

    def costs(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        del logits
        return torch.where(torch.arange(targets.shape[1]) == 2, math.nan, 1.0)

    monkeypatch.setattr("charlm.training.divergence._stream_costs", costs)
    with pytest.raises(DivergedError) as raised:
        fit("run")
    start = 2 * (2699 // 4)
    assert repr(corpus_text[start : start + 60]) in str(raised.value)


# skip


def test_a_skipped_step_leaves_weights_and_moments_and_the_next_reads_the_next_window(
    fit: Fit, runs_dir: Path, break_steps: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    windows: list[np.ndarray] = []
    read = loop.read_batches

    def recorded(*arguments: Any) -> Iterator[Any]:
        for batch in read(*arguments):
            windows.append(batch.windows[0].inputs)
            yield batch

    monkeypatch.setattr(loop, "read_batches", recorded)
    options = ("train.on_divergence=skip", "train.eval_every=1", "checkpoint.keep_every=1", "train.max_steps=10")
    fit("plain", *options)
    in_order, windows = windows, []
    break_steps([3, 4, 8])
    reports = fit("run", *options)
    assert all(np.array_equal(one, other) for one, other in zip(windows, in_order, strict=True))
    assert [(item.step, item.went_on) for item in of(Divergence, reports)] == [(s, "skipped") for s in (3, 4, 8)]
    assert [step.step for step in of(Step, reports)] == [1, 2, 5, 6, 7, 9, 10]
    run, plain = Run(runs_dir / "run"), Run(runs_dir / "plain")
    saved = {step: load_checkpoint(run, step) for step in range(1, 11)}
    for step in (3, 4, 8):
        for kind in ("model", "training"):
            before, after = getattr(saved[step - 1], kind), getattr(saved[step], kind)
            # The carried state of such a window may be no numbers: the next starts from zero.
            assert all(np.array_equal(after[name], before[name]) for name in before if not name.startswith("state."))
        assert not any(part.any() for name, part in saved[step].training.items() if name.startswith("state."))
    assert contents(run)[2] == contents(plain)[2]
    assert contents(run)[10] != contents(plain)[10]
    assert reports[-1].record["num_skipped_steps"] == 3
    assert reports[-1].record["steps"] == 10


@pytest.mark.parametrize(("broken", "is_done"), [(range(3, 13), True), (range(3, 14), False)])
def test_ten_skips_in_a_row_are_borne_and_one_more_ends_the_run(
    fit: Fit, break_steps: Callable[..., None], broken: range, is_done: bool, runs_dir: Path
) -> None:
    break_steps(broken)
    reports: list[TrainingEvent] = []
    if is_done:
        fit("run", "train.on_divergence=skip", seen=reports)
        assert isinstance(reports[-1], End)
    else:
        with pytest.raises(DivergedError, match="at step 13 ") as raised:
            fit("run", "train.on_divergence=skip", seen=reports)
        assert raised.value.exit_code == 5
    assert len(of(Divergence, reports)) == 10
    evaluations = of(Evaluation, reports)
    assert [item.train is None for item in evaluations if item.step <= 12] == [False, True, True]
    list(all_json(Run(runs_dir / "run")))


def test_skips_with_steps_between_them_are_borne_however_many(fit: Fit, break_steps: Callable[..., None]) -> None:
    break_steps(range(2, 26, 2))
    end = fit("run", "train.on_divergence=skip", "train.max_steps=26")[-1]
    assert isinstance(end, End)
    assert end.record["num_skipped_steps"] == 12


def test_ten_in_a_row_are_counted_over_a_stop(fit: Fit, break_steps: Callable[..., None]) -> None:
    break_steps(range(3, 14))
    reports: list[TrainingEvent] = []
    fit("run", "train.on_divergence=skip", seen=reports, should_stop=lambda: "interrupt" if len(reports) > 6 else None)
    assert isinstance(reports[-1], End)
    assert 0 < len(of(Divergence, reports)) < 10
    with pytest.raises(DivergedError, match="at step 13 "):
        fit("run", "train.on_divergence=skip", seen=reports)


def test_skips_at_the_end_of_an_epoch_and_in_its_first_step_keep_the_count(
    fit: Fit, break_steps: Callable[..., None], runs_dir: Path
) -> None:
    break_steps([7, 8])
    fit("run", "train.on_divergence=skip")
    record = Run(runs_dir / "run").summary()
    assert record is not None
    assert (record["epochs"], record["steps"], record["num_skipped_steps"]) == (2, 16, 2)
    # The last whole epoch had one step fewer.
    assert record["train_chars"] == 6 * 4 * 96


# rollback


def test_a_run_goes_back_to_its_last_evaluation_with_half_the_rate(
    fit: Fit, break_steps: Callable[..., None], runs_dir: Path
) -> None:
    break_steps([7], above=0.003)
    reports = fit("run", "train.on_divergence=rollback")
    (divergence,) = of(Divergence, reports)
    assert (divergence.step, divergence.went_on) == (7, "rolled back to step 4, learning rate times 0.5")
    steps = of(Step, reports)
    assert [step.step for step in steps] == [1, 2, 3, 4, 5, 6, *range(5, 17)]
    assert [step.learning_rate for step in steps] == [0.005] * 6 + [0.0025] * 12
    records = Run(runs_dir / "run").metrics()
    assert [record["step"] for record in records[:-1]] == [4, 8, 12, 16]
    assert [record["step"] for record in Run(runs_dir / "run").samples()] == [3, 6, 9, 12, 15, 16]
    assert records[-1]["num_rollbacks"] == 1


@pytest.mark.parametrize("allowed", [1, 2, 3])
def test_a_run_goes_back_so_often_and_no_more(fit: Fit, break_steps: Callable[..., None], allowed: int) -> None:
    break_steps([7])
    reports: list[TrainingEvent] = []
    with pytest.raises(DivergedError, match=f"at step 7 with learning rate {0.005 / 2**allowed:g} ") as raised:
        fit("run", "train.on_divergence=rollback", f"train.max_rollbacks={allowed}", seen=reports)
    assert raised.value.exit_code == 5
    assert [item.went_on[-3:] for item in of(Divergence, reports)] == ["0.5", ".25", "125"][:allowed]


def test_a_run_that_has_no_evaluation_yet_goes_back_to_its_beginning(
    fit: Fit, break_steps: Callable[..., None], runs_dir: Path
) -> None:
    break_steps([3], above=0.003)
    fit("back", "train.on_divergence=rollback")
    fit("half", "optimizer.learning_rate=0.0025")
    assert contents(Run(runs_dir / "back"))[16] == contents(Run(runs_dir / "half"))[16]


def test_what_was_saved_on_the_way_to_a_divergence_is_gone_once_the_run_has_gone_back(
    fit: Fit, break_steps: Callable[..., None], runs_dir: Path
) -> None:
    break_steps([7], above=0.003)
    reports: list[TrainingEvent] = []
    options = ("train.on_divergence=rollback", "checkpoint.minutes=1e-9", "checkpoint.keep_last=5")
    fit("run", *options, seen=reports, should_stop=lambda: "interrupt" if of(Divergence, reports) else None)
    assert isinstance(reports[-1], End)
    assert (reports[-1].stopped_by, reports[-1].record["steps"]) == ("interrupt", 4)
    assert [step_of(path) for path in Run(runs_dir / "run").checkpoint_paths()] == [2, 3, 4]


@pytest.mark.parametrize("every", [10, pytest.param(5, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", one_in(2, ["weights", "steps"]))
def test_a_rollback_is_the_same_with_kills_and_stops_in_between_and_saves_by_the_clock(
    fit: Fit,
    break_steps: Callable[..., None],
    break_weights: Callable[..., None],
    runs_dir: Path,
    tiny_settings: MakeSettings,
    kind: str,
    every: int,
    endurance: Any,
) -> None:
    if kind == "steps":
        break_steps([7, 11], above=0.002)
    else:
        break_weights(7, above=0.002)
    options = ("train.on_divergence=rollback",)
    num_reports = len(fit("whole", *options))
    whole = Run(runs_dir / "whole")
    assert untimed(whole)[-1]["num_rollbacks"] == 2
    fit("saving", *options, "checkpoint.minutes=1e-9")
    assert untimed(Run(runs_dir / "saving")) == untimed(whole)
    assert contents(Run(runs_dir / "saving"))[16] == contents(whole)[16]
    # The moments of the other kind are halfway between.
    first = 1 + endurance.seed % 5 + (5 if (kind, every) == ("weights", 10) else 0)
    for number in range(first, num_reports, 1 if endurance.is_long and every == 5 else every):
        settings = tiny_settings(*SMALL, *options)
        reports = train_reports(settings, name=f"killed{number}", runs_dir=runs_dir)
        for _ in range(number):
            next(reports)
        reports.close()  # pyright: ignore[reportAttributeAccessIssue]
        seen: list[TrainingEvent] = []
        fit(
            f"stopped{number}",
            *options,
            seen=seen,
            should_stop=lambda seen=seen, number=number: "interrupt" if len(seen) >= number else None,
        )
        for name in (f"killed{number}", f"stopped{number}"):
            fit(name, *options)
            run = Run(runs_dir / name)
            assert untimed(run) == untimed(whole), name
            assert run.samples() == whole.samples(), name
            assert contents(run)[16] == contents(whole)[16], name


def test_an_evaluation_that_diverges_goes_back_before_the_step_where_a_run_was_stopped(
    fit: Fit, runs_dir: Path, break_evaluation: Callable[..., None]
) -> None:
    break_evaluation(8, above=0.003)
    reports: list[TrainingEvent] = []
    fit("whole", "train.on_divergence=rollback")
    fit(
        "run",
        "train.on_divergence=rollback",
        seen=reports,
        should_stop=lambda: "interrupt" if of(Step, reports[-1:]) and reports[-1].step == 8 else None,
    )
    run = Run(runs_dir / "run")
    assert step_of(run.checkpoint_paths()[-1]) == 8
    (divergence,) = of(Divergence, fit("run", "train.on_divergence=rollback"))
    assert divergence.went_on == "rolled back to step 4, learning rate times 0.5"
    assert untimed(run) == untimed(Run(runs_dir / "whole"))


# Weights that a step itself has made no numbers.


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("split", ["default", "none"])
@pytest.mark.parametrize("when", ["evaluation", "samples", "stop", "clock", "end"])
def test_weights_that_are_no_numbers_are_never_saved(
    fit: Fit, break_weights: Callable[..., None], runs_dir: Path, policy: str, split: str, when: str
) -> None:
    # Step 8 is due for an evaluation, 6 for samples, 7 for neither.
    at = {"evaluation": 8, "samples": 6, "stop": 7, "clock": 7, "end": 7}[when]
    break_weights(at, above=0.003)
    reports: list[TrainingEvent] = []
    overrides = {"clock": ("checkpoint.minutes=1e-9",), "end": ("train.max_steps=7",)}.get(when, ())
    options = {"should_stop": lambda: "interrupt" if len(of(Step, reports)) == 7 else None} if when == "stop" else {}
    run = Run(runs_dir / "run")
    arguments = ("run", f"train.on_divergence={policy}", f"corpus.split={split}", *overrides)
    if policy == "rollback":
        fit(*arguments, seen=reports, **options)
        (divergence,) = of(Divergence, reports)
        assert divergence.step == at
        assert "that step itself made the weights so" in divergence.sentence
        assert isinstance(reports[-1], End)
    else:
        # No step can be skipped that has been taken.
        with pytest.raises(DivergedError, match=f"at step {at} .*: that step itself made the weights so; ") as raised:
            fit(*arguments, seen=reports, **options)
        assert raised.value.exit_code == 5
        last = run.checkpoint_paths()[-1]
        assert str(raised.value).endswith(f"the last good checkpoint is {last}")
    assert_all_saved_is_finite(run)
    list(all_json(run))


def test_a_validation_loss_that_is_no_number_is_not_saved_either(
    fit: Fit, runs_dir: Path, break_evaluation: Callable[..., None]
) -> None:
    break_evaluation(8)
    with pytest.raises(DivergedError, match="at step 8 "):
        fit("run")
    run = Run(runs_dir / "run")
    assert [record["step"] for record in run.metrics()] == [4]
    assert step_of(run.checkpoint_paths()[-1]) == 4


def test_a_run_that_has_diverged_may_go_on_with_another_policy(
    fit: Fit, break_steps: Callable[..., None], runs_dir: Path
) -> None:
    break_steps([7])
    with pytest.raises(DivergedError):
        fit("run")
    reports = fit("run", "train.on_divergence=skip")
    (start,) = of(Start, reports)
    assert start.resumed_at == 4
    break_steps([7])
    fit("skipping", "train.on_divergence=skip")
    assert untimed(Run(runs_dir / "run")) == untimed(Run(runs_dir / "skipping"))
