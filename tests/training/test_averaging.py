"""The average of the weights: what it is, when it begins, how it is used, saved and resumed."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pairs import one_in
from torch import Tensor
from torch.testing import assert_close
from typer.testing import Result

import charlm
from charlm.errors import ConfigError, RunError
from charlm.evaluation.figure import Figure, Figures
from charlm.generation.filters import Filters
from charlm.library.models import Model
from charlm.library.networks import Networks
from charlm.networks.building import Network, build_model
from charlm.runs.checkpoints import Checkpoint, load_checkpoint, step_of, write_checkpoint
from charlm.runs.restoring import to_arrays, to_tensors
from charlm.runs.run import Run
from charlm.runs.tensors import Array
from charlm.settings.loading import load_settings
from charlm.settings.model import ModelSettings
from charlm.settings.optimizer import AverageSettings
from charlm.settings.schema import Settings
from charlm.training import loop
from charlm.training.averaging import WeightAverage
from charlm.training.events import Divergence, End, Evaluation, Samples, Step, TrainingEvent
from charlm.training.launch import train_reports
from charlm.training.position import read_position
from charlm.training.progress import Progress
from charlm.training.step import StepOutcome, take_step

Weights = Mapping[str, Tensor]
Kind = TypeVar("Kind", bound=TrainingEvent)
NUM_STEPS = 14
# Every step is evaluated, sampled and kept.
EVERY_STEP = (
    *("sampling.seq_len=96", f"train.max_steps={NUM_STEPS}", "train.eval_every=1", "sample.every=1"),
    *("checkpoint.keep_every=1", "eval.baselines=false"),
)
# What is kept of this one grows for seven steps, and is 0.4 from then on.
EMA = ("optimizer.average={method: ema, decay: 0.4}",)
# A rate so high that validation gets worse soon.
SGD = ("optimizer.method=sgd", "optimizer.learning_rate=10")
TRIGGERED = (*SGD, "optimizer.average={method: triggered, patience: 2}")
AVERAGES = [pytest.param(EMA, id="ema"), pytest.param(TRIGGERED, id="triggered")]
WITHOUT = {EMA: (), TRIGGERED: SGD}
BEFORE_IT_BEGINS = {"num_averaged": 0, "is_averaging": False, "val_to_beat": None, "recent_vals": ()}


# The same, in plain loops.


def moving_averages(weights: Sequence[Weights], decay: float) -> list[Weights]:
    """Return the exponential moving average after each step, in float64."""
    averages: list[Weights] = []
    for number, now in enumerate(weights, start=1):
        kept = min(decay, (number - 1) / (number + 8))
        last = averages[-1] if averages else now
        averages.append({name: kept * last[name].double() + (1 - kept) * now[name].double() for name in now})
    return averages


def means(weights: Sequence[Weights]) -> list[Weights]:
    """Return the mean of all weights up to each step, in float64."""
    return [
        {name: sum((each[name].double() for each in weights[:number]), torch.tensor(0.0)) / number for name in now}
        for number, now in enumerate(weights, start=1)
    ]


def when_triggered(vals: Sequence[float], patience: int) -> int | None:
    """Return the evaluation (from 0) at which NT-ASGD begins to average: algorithm 1 of the paper, in its letters."""
    n, t, T = patience, 0, None
    logs: list[float] = []
    for k, v in enumerate(vals):
        if T is None:
            if t > n and v > min(logs[index] for index in range(t - n)):
                T = k
            logs.append(v)
            t += 1
    return T


def assert_weights_close(found: Weights, expected: Weights, *, tolerance: float) -> None:
    """Check that float32 weights are close to float64 ones."""
    assert set(found) == set(expected)
    for name, weight in expected.items():
        assert_close(found[name].double(), weight.double(), rtol=tolerance, atol=tolerance)


def assert_same_weights(found: Weights, expected: Weights) -> None:
    """Check that weights are equal to the last bit."""
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], weight) for name, weight in expected.items())


# The average itself.


def network_of(**model: Any) -> Network:
    """Return a small network."""
    sizes = {"hidden_size": 3, "implementation": "auto"}
    return build_model(ModelSettings.model_validate(sizes | model), 4, seed=0)


def walk(network: Network, num_steps: int, visit: Callable[[], None]) -> list[Weights]:
    """Give a network new weights this many times, let the average see each of them, and return them all."""
    generator, weights = torch.Generator().manual_seed(1), []
    for _ in range(num_steps):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.normal_(generator=generator)
        weights.append({name: weight.clone() for name, weight in network.state_dict().items()})
        visit()
    return weights


@dataclass
class Watched:
    """An average and its value after each step."""

    average: WeightAverage
    progress: Progress
    networks: list[Weights]

    def watch(self, trained: Network) -> None:
        """Take in one more step."""
        if blend := self.average.next_blend(self.progress):
            blend.add(trained)
            self.progress = self.average.after_step(self.progress)
        state = self.average.network.state_dict()
        self.networks.append({name: weight.clone() for name, weight in state.items()})


@pytest.mark.parametrize(
    "model",
    [
        {"num_layers": 2},
        {"cell": "gru", "embedding_size": 2},
        {"cell": "rnn", "implementation": "torch"},
        {"direction": "bidirectional"},
        {"direction": "leaky"},
        {"tied_embeddings": True, "embedding_size": 3},
        {"learned_state": True},
        {"layer_norm": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["ema", "triggered"])
def test_every_weight_of_every_kind_of_network_is_averaged(method: str, model: dict[str, Any]) -> None:
    network = network_of(**model)
    decay = 0.6 if method == "ema" else None
    settings = AverageSettings.model_validate({"method": method, "decay": decay})
    watched = Watched(WeightAverage(network, settings), Progress(is_averaging=True), [])
    weights = walk(network, 20, lambda: watched.watch(network))
    expected = means(weights) if decay is None else moving_averages(weights, decay)
    for found, average in zip(watched.networks, expected, strict=True):
        # 20 roundings of numbers of about 1.
        assert_weights_close(found, average, tolerance=2e-6)
    assert (watched.progress.num_averaged, watched.average.num_averaged) == (20, 20)
    # The average must not change what it watches.
    assert_same_weights(network.state_dict(), weights[-1])


@pytest.mark.parametrize(("method", "is_averaging"), [("ema", False), ("triggered", True)])
def test_the_first_step_is_taken_whole_and_nothing_is_left_of_the_beginning(method: str, is_averaging: bool) -> None:
    network = network_of()
    average = WeightAverage(network, AverageSettings.model_validate({"method": method}))
    watched = Watched(average, Progress(is_averaging=is_averaging), [])
    weights = walk(network, 1, lambda: watched.watch(network))
    assert_same_weights(watched.networks[0], weights[0])


@pytest.mark.parametrize(("decay", "share"), [(None, 0.001), (0.999, 0.001), (0.99, 0.01), (0.9999, 9 / 10_009)])
def test_the_decay_of_a_moving_average_is_0_999_by_default(decay: float | None, share: float) -> None:
    network = network_of()
    average = WeightAverage(network, AverageSettings(method="ema", decay=decay))
    average.restore({name: torch.zeros_like(weight) for name, weight in network.state_dict().items()}, 10_000)
    (weights,) = walk(network, 1, lambda: None)
    blend = average.next_blend(Progress())
    assert blend is not None
    blend.add(network)
    assert average.after_step(Progress()).num_averaged == 10_001
    assert_weights_close(
        average.network.state_dict(), {name: weight * share for name, weight in weights.items()}, tolerance=1e-7
    )


@pytest.mark.parametrize("method", ["ema", "triggered"])
def test_what_goes_on_from_a_checkpoint_comes_to_the_same_bits(method: str) -> None:
    network, settings = network_of(num_layers=2), AverageSettings.model_validate({"method": method})
    whole = Watched(WeightAverage(network, settings), Progress(is_averaging=True), [])
    parts = Watched(WeightAverage(network, settings), Progress(is_averaging=True), [])

    def both() -> None:
        whole.watch(network)
        parts.watch(network)
        fresh = WeightAverage(network_of(num_layers=2), settings)
        fresh.restore(parts.networks[-1], parts.progress.num_averaged)
        parts.average = fresh

    walk(network, 12, both)
    for one, other in zip(whole.networks, parts.networks, strict=True):
        assert_same_weights(one, other)


def test_a_triggered_average_takes_nothing_in_until_it_has_begun() -> None:
    network = network_of()
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    watched = Watched(WeightAverage(network, AverageSettings(method="triggered")), Progress(step=3), [])
    walk(network, 3, lambda: watched.watch(network))
    assert watched.progress == Progress(step=3)
    assert watched.average.num_averaged == 0
    assert_same_weights(watched.networks[-1], before)


def test_the_twin_learns_nothing_drops_nothing_and_shares_no_memory() -> None:
    network = network_of(num_layers=2, dropout=0.5).train()
    twin = WeightAverage(network, AverageSettings(method="ema")).network
    assert not any(module.training for module in twin.modules())
    assert not any(parameter.requires_grad for parameter in twin.parameters())
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    memory = [{parameter.data_ptr() for parameter in each.parameters()} for each in (network, twin)]
    assert not memory[0] & memory[1]


# When it begins.

VALS = st.lists(st.sampled_from([1.0, 1.5, 2.0, 2.5, 3.0]) | st.floats(0.5, 4.0), max_size=30)


def evaluated(vals: Sequence[float | None], **average: Any) -> list[Progress]:
    """Return the progress after each evaluation, under settings of the average."""
    watcher = WeightAverage(network_of(), AverageSettings.model_validate(average))
    progress, found = Progress(), []
    for val in vals:
        progress = watcher.after_evaluation(progress, val)
        found.append(progress)
    return found


@given(vals=VALS, patience=st.integers(1, 7))
@hypothesis_settings(deadline=None)
def test_it_begins_when_algorithm_1_says(vals: list[float], patience: int) -> None:
    begun = [progress.is_averaging for progress in evaluated(vals, method="triggered", patience=patience)]
    at = when_triggered(vals, patience)
    assert begun == [at is not None and number >= at for number in range(len(vals))]


@given(vals=VALS)
@hypothesis_settings(deadline=None)
def test_its_patience_is_5_by_default(vals: list[float]) -> None:
    assert evaluated(vals, method="triggered") == evaluated(vals, method="triggered", patience=5)


def test_no_more_is_remembered_than_is_compared() -> None:
    vals = [5.0 - number / 10 for number in range(40)]
    for number, progress in enumerate(evaluated(vals, method="triggered", patience=3), start=1):
        assert progress.recent_vals == tuple(vals[max(0, number - 3) : number])
        assert progress.val_to_beat == (min(vals[: number - 3]) if number > 3 else None)


@pytest.mark.parametrize("method", ["ema", "triggered"])
def test_without_a_validation_loss_nothing_is_remembered(method: str) -> None:
    assert evaluated([None] * 9, method=method, patience=None)[-1] == Progress()


def test_a_moving_average_listens_to_no_evaluation() -> None:
    assert evaluated([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], method="ema")[-1] == Progress()


def test_once_begun_it_goes_on_whatever_validation_says() -> None:
    *_, first, second, last = evaluated([2.0, 3.0, 4.0, 1.0, 0.5], method="triggered", patience=1)
    assert first.is_averaging
    assert first == second == last


# Runs.


@dataclass(frozen=True)
class Training:
    """A run, complete or not, and everything it reported."""

    run: Run
    reports: Sequence[TrainingEvent]

    def of(self, kind: type[Kind]) -> list[Kind]:
        """Return its reports of one kind."""
        return [report for report in self.reports if isinstance(report, kind)]

    def at(self, step: int) -> Checkpoint:
        """Return its checkpoint of a step."""
        return load_checkpoint(self.run, step)

    @property
    def record(self) -> Mapping[str, Any]:
        """Its closing record."""
        (end,) = self.of(End)
        return end.record


Fit = Callable[..., Training]


@pytest.fixture(scope="module")
def trained_once(tiny_settings: Callable[..., Settings], tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """Return a function that trains a run, evaluated, sampled and kept at every step; tests must not change it."""
    folder, done = tmp_path_factory.mktemp("averages"), {}

    def train(*overrides: str) -> Training:
        if overrides not in done:
            name = f"run{len(done)}"
            reports = list(train_reports(tiny_settings(*EVERY_STEP, *overrides), name=name, runs_dir=folder))
            done[overrides] = Training(Run(folder / name), reports)
        return done[overrides]

    return train


@pytest.fixture
def fit(tiny_settings: Callable[..., Settings], tmp_path: Path) -> Fit:
    """Return a function that trains or resumes a run of the test's own."""

    def train(*overrides: str, name: str = "run", **options: Any) -> Training:
        settings = tiny_settings(*EVERY_STEP, *overrides)
        reports = list(train_reports(settings, name=name, runs_dir=tmp_path, resume=True, **options))
        return Training(Run(tmp_path / name), reports)

    return train


def raw_weights(checkpoint: Checkpoint) -> Weights:
    """Return the weights that training continues from."""
    named = {name: array for name, array in checkpoint.training.items() if name.startswith("weights.")}
    return to_tensors({name.removeprefix("weights."): array for name, array in named.items()})


def with_raw_weights(model: Model) -> Model:
    """Return the model as it would be without its average."""
    raw = replace(model.checkpoint, model=to_arrays(raw_weights(model.checkpoint)))
    return replace(model, checkpoint=raw, networks=Networks(raw, "cpu"))


def assert_holds_its_average(run: Run, *, skipped: Collection[int] = ()) -> list[int]:
    """Check each checkpoint with plain loops over the earlier ones; return the steps that are averaged."""
    saved = {step: load_checkpoint(run, step) for step in map(step_of, run.checkpoint_paths()) if step > 0}
    # No checkpoint is missing, so their raw weights are all the weights that there were.
    assert list(saved) == list(range(1, len(saved) + 1))
    settings = run.settings().optimizer.average
    begun_at = 0
    if settings.method == "triggered":
        scheduled = [each for each in run.metrics() if each["kind"] == "evaluation" and not each.get("is_closing")]
        vals = {record["step"]: record["val_nats_per_char"] for record in scheduled}
        at = when_triggered(list(vals.values()), settings.patience or 5)
        begun_at = math.inf if at is None else list(vals)[at]
    averaged = [step for step in saved if step > begun_at and step not in skipped]
    weights = [raw_weights(saved[step]) for step in averaged]
    averages = means(weights) if settings.method == "triggered" else moving_averages(weights, settings.decay or 0.999)
    for step, checkpoint in saved.items():
        progress = read_position(checkpoint).progress
        number = sum(other <= step for other in averaged)
        assert progress.num_averaged == number, step
        assert progress.is_averaging == (settings.method == "triggered" and step >= begun_at), step
        if number == 0:
            assert_same_weights(to_tensors(checkpoint.model), raw_weights(checkpoint))
        else:
            # 14 roundings of numbers of up to 10.
            assert_weights_close(to_tensors(checkpoint.model), averages[number - 1], tolerance=1e-5)
    return averaged


@pytest.mark.parametrize("overrides", AVERAGES)
@pytest.mark.parametrize(
    "model",
    one_in(
        2,
        [
            ("model.dropout=0.3", "model.num_layers=2"),
            (),
            ("model.implementation=torch", "sampling.method=random", "optimizer.accumulation=2"),
        ],
    ),
    ids=" ".join,
)
def test_the_raw_weights_go_on_as_if_there_were_no_average(
    trained_once: Fit, overrides: tuple[str, ...], model: tuple[str, ...]
) -> None:
    averaged, plain = trained_once(*overrides, *model), trained_once(*WITHOUT[overrides], *model)
    assert [step.figures for step in averaged.of(Step)] == [step.figures for step in plain.of(Step)]
    for step in range(1, NUM_STEPS + 1):
        found, expected = averaged.at(step), plain.at(step)
        assert_same_weights(raw_weights(found), to_tensors(expected.model))
        rest = {name: tensor for name, tensor in found.training.items() if not name.startswith("weights.")}
        assert_same_weights(to_tensors(rest), to_tensors(expected.training))
    assert any(not np.array_equal(weight, raw_weights(found)[name]) for name, weight in found.model.items())


@pytest.mark.parametrize("model", [(), ("model.direction=bidirectional", "model.cell=gru"), ("model.cell=rnn",)])
def test_each_checkpoint_holds_the_moving_average_of_all_steps(trained_once: Fit, model: tuple[str, ...]) -> None:
    assert assert_holds_its_average(trained_once(*EMA, *model).run) == list(range(1, NUM_STEPS + 1))


@pytest.mark.parametrize("patience", [1, 2])
def test_each_checkpoint_holds_the_mean_of_the_steps_since_the_trigger(trained_once: Fit, patience: int) -> None:
    training = trained_once(*SGD, f"optimizer.average={{method: triggered, patience: {patience}}}")
    first, *more = assert_holds_its_average(training.run)
    assert patience + 2 < first
    assert len(more) > 3


@pytest.mark.parametrize(
    "overrides", [("optimizer.average.method=ema",), (*SGD, "optimizer.average.method=triggered", "train.eval_every=2")]
)
def test_so_do_those_of_default_decay_and_patience(fit: Fit, overrides: tuple[str, ...]) -> None:
    training = fit(*overrides, "checkpoint.minutes=1e-9", "sample.every=100", "train.max_steps=20")
    assert len(assert_holds_its_average(training.run)) > 3


def test_a_run_without_an_average_counts_and_saves_none(trained_once: Fit) -> None:
    checkpoint = trained_once().at(NUM_STEPS)
    assert not raw_weights(checkpoint)
    progress = read_position(checkpoint).progress
    assert {key: getattr(progress, key) for key in BEFORE_IT_BEGINS} == BEFORE_IT_BEGINS


# What is done with it.


@pytest.mark.parametrize("overrides", AVERAGES)
def test_every_result_is_that_of_the_average(trained_once: Fit, overrides: tuple[str, ...]) -> None:
    training = trained_once(*overrides)
    evaluations = training.of(Evaluation)
    assert len(evaluations) == NUM_STEPS
    vals: dict[int, float] = {}
    for evaluation in evaluations:
        model = charlm.open_run(training.run, checkpoint=evaluation.step)
        assert evaluation.val is not None
        vals[evaluation.step] = evaluation.val.main.nats_per_char
        assert vals[evaluation.step] == pytest.approx(charlm.evaluate(model, split="val").main.nats_per_char, rel=1e-12)
        assert vals[evaluation.step] == model.checkpoint.state["val_nats_per_char"]
        assert evaluation.is_best == (vals[evaluation.step] == min(vals.values()))
    best = min(vals, key=lambda step: vals[step])
    assert training.record["best_step"] == best == load_checkpoint(training.run, "best").step
    for split in ("val", "test"):
        figure = charlm.evaluate(charlm.open_run(training.run), split=split).main
        assert training.record[f"{split}_nats_per_char"] == pytest.approx(figure.nats_per_char, rel=1e-12)
    # The raw weights would have given another result.
    last = charlm.open_run(training.run, checkpoint="last")
    raw = charlm.evaluate(with_raw_weights(last), split="val").main.nats_per_char
    assert abs(raw - vals[NUM_STEPS]) > 1e-3


@pytest.mark.parametrize("overrides", AVERAGES)
@pytest.mark.parametrize("model", one_in(2, [("model.direction=bidirectional", "model.cell=gru"), ()]), ids=" ".join)
def test_every_sample_is_the_averages(trained_once: Fit, overrides: tuple[str, ...], model: tuple[str, ...]) -> None:
    training = trained_once(*overrides, *model, "sample.length=30")
    texts: list[tuple[str, str]] = []
    for samples in training.of(Samples):
        opened = charlm.open_run(training.run, checkpoint=samples.step)
        options = {"length": 30, "seed": samples.step, "filters": Filters(temperature=0.8)}
        assert list(charlm.generate(opened, "the ", **options)) == [f"the {samples.continuations[0]}"]
        (raw,) = charlm.generate(with_raw_weights(opened), "the ", **options)
        texts.append((f"the {samples.continuations[0]}", raw))
    assert len(texts) == NUM_STEPS
    assert any(text != raw for text, raw in texts)


def test_so_is_what_stands_off_the_schedule_at_the_end(fit: Fit) -> None:
    training = fit(*EMA, "train.eval_every=5", "sample.every=5")
    *_, evaluation = training.of(Evaluation)
    *_, samples = training.of(Samples)
    assert (evaluation.step, evaluation.is_closing, samples.is_closing) == (NUM_STEPS, True, True)
    model = charlm.open_run(training.run, checkpoint=NUM_STEPS)
    assert evaluation.val is not None
    assert evaluation.val.main == charlm.evaluate(model, split="val").main
    options = {"length": 8, "seed": NUM_STEPS, "filters": Filters(temperature=0.8)}
    assert list(charlm.generate(model, "the ", **options)) == [f"the {samples.continuations[0]}"]


def test_a_closing_evaluation_cannot_begin_the_average(fit: Fit) -> None:
    # The third evaluation would begin the average if it were on the schedule.
    overrides = (*SGD, "optimizer.average={method: triggered, patience: 1}", "train.eval_every=2", "train.max_steps=5")
    progress = read_position(fit(*overrides).at(5)).progress
    assert len(progress.recent_vals) + (progress.val_to_beat is not None) == 2
    assert not progress.is_averaging


@pytest.mark.parametrize("overrides", AVERAGES)
def test_the_commands_take_the_average(
    trained_once: Fit, charlm_command: Callable[..., Result], overrides: tuple[str, ...]
) -> None:
    training = trained_once(*overrides)
    told = json.loads(charlm_command("eval", "--run", training.run.path, "--split=val", "--json").stdout)
    assert (told["step"], told["bpc"]) == (training.record["best_step"], training.record["val_bpc"])
    written = charlm_command(
        "generate", "--run", training.run.path, "--prefix", "the ", "--length", "20", "--seed", "5"
    )
    assert written.stdout.rstrip("\n") == charlm.generate(training.run, "the ", length=20, seed=5)[0].rstrip("\n")
    verified = charlm_command("verify", training.run.path)
    assert (verified.exit_code, verified.stderr) == (0, "")
    assert verified.stdout.count("  good  validation ") == NUM_STEPS
    assert charlm_command("info", training.run.path).exit_code == 0
    told = json.loads(charlm_command("info", training.run.path, "--json").stdout)
    assert told["settings"]["optimizer"]["average"] == training.run.settings().optimizer.average.model_dump()


# Steps that are left out, and steps that are taken back.


def break_steps(monkeypatch: pytest.MonkeyPatch, steps: Collection[int], *, above: float = 0.0) -> None:
    """Make the losses of some steps (from 1) NaN while the learning rate is above a limit."""

    def broken(*arguments: Any, step: int, learning_rate: float, **options: Any) -> StepOutcome:
        if step + 1 in steps and learning_rate > above:
            return StepOutcome(Figures(Figure(math.nan, 1)), math.nan, arguments[3])
        return take_step(*arguments, step=step, learning_rate=learning_rate, **options)

    monkeypatch.setattr(loop, "take_step", broken)
    # The code that finds the text only reads.
    monkeypatch.setattr(loop, "worst_text", lambda *_: "a text")


@pytest.mark.parametrize(("overrides", "skipped"), [(EMA, (1, 4, 5, 11)), (TRIGGERED, (9, 10))], ids=str)
def test_a_step_that_is_skipped_does_not_count(
    fit: Fit, monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...], skipped: tuple[int, ...]
) -> None:
    break_steps(monkeypatch, skipped)
    training = fit(*overrides, "train.on_divergence=skip", "sample.every=100")
    assert [report.went_on for report in training.of(Divergence)] == ["skipped"] * len(skipped)
    averaged = assert_holds_its_average(training.run, skipped=skipped)
    assert len(averaged) > 4
    assert averaged[0] < skipped[-1]


@pytest.mark.parametrize(
    ("overrides", "rate"),
    [
        ((*EMA, "train.eval_every=4"), 0.005),
        ((*EMA, "train.eval_every=100"), 0.005),
        ((*SGD, "optimizer.average={method: triggered, patience: 1}", "train.eval_every=2"), 10),
    ],
    ids=str,
)
def test_a_run_that_goes_back_has_the_average_of_then(
    fit: Fit, monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...], rate: float
) -> None:
    break_steps(monkeypatch, (12,), above=0.6 * rate)
    # Every step is saved by the clock, so the steps that were kept and those taken again are checked.
    options = ("train.on_divergence=rollback", "checkpoint.minutes=1e-9", "sample.every=100")
    training = fit(*overrides, *options)
    (divergence,) = training.of(Divergence)
    assert (divergence.step, divergence.went_on[:11]) == (12, "rolled back")
    averaged = assert_holds_its_average(training.run)
    assert averaged[0] < 10


# What is saved, and what is refused.


@pytest.fixture
def saved(trained_once: Fit, tmp_path: Path) -> Callable[..., Run]:
    """Return a function that saves a good checkpoint, with something in it changed, as a run of its own."""

    def save(overrides: tuple[str, ...], **changes: Any) -> Run:
        checkpoint = trained_once(*overrides).at(NUM_STEPS)
        run = Run(tmp_path / "run")
        run.checkpoints_folder.mkdir(parents=True)
        write_checkpoint(run, replace(checkpoint, **{key: change(checkpoint) for key, change in changes.items()}))
        shutil.copy(trained_once(*overrides).run.path / "config.yaml", run.path)
        return run

    return save


def spoilt(how: str) -> Callable[[Checkpoint], dict[str, Array]]:
    """Return a function that spoils a raw weight of a checkpoint."""
    name = "weights.decoder.bias"

    def spoil(checkpoint: Checkpoint) -> dict[str, Array]:
        training = dict(checkpoint.training)
        weight = checkpoint.model["decoder.bias"].copy()
        if how == "missing":
            del training[name]
        elif how == "all missing":
            training = {name: tensor for name, tensor in training.items() if not name.startswith("weights.")}
        elif how in ("nan", "inf", "-inf"):
            weight[-1] = float(how)
            training[name] = weight
        elif how == "odd":
            training["weights.decoder.more"] = weight
        else:
            training[name] = {
                "double": weight.astype(np.float64),
                "long": weight.astype(np.int64),
                "wider": np.concatenate([weight, weight]),
                "a row": weight.reshape(1, -1),
                "empty": weight[:0],
            }[how]
        return training

    return spoil


@pytest.mark.parametrize("overrides", AVERAGES)
@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("missing", r"training\.safetensors does not fit .*: 'weights\.decoder\.bias' is absent and should be \[19\]"),
        ("all missing", r"training\.safetensors does not fit its configuration: 'weights\..*' is absent and should be"),
        ("odd", r"training\.safetensors does not fit .*: 'weights\.decoder\.more' is \[19\] and should be absent"),
        ("wider", r"training\.safetensors does not fit .*: 'weights\.decoder\.bias' is \[38\] and should be \[19\]"),
        ("a row", r"training\.safetensors does not fit .*: 'weights\.decoder\.bias' is \[1, 19\] and should be"),
        ("empty", r"training\.safetensors does not fit .*: 'weights\.decoder\.bias' is \[0\] and should be \[19\]"),
        ("double", r"training\.safetensors: its tensor 'weights\.decoder\.bias' is not float32"),
        ("long", r"training\.safetensors: its tensor 'weights\.decoder\.bias' is not float32"),
        ("nan", r"training\.safetensors has weights that are not numbers"),
        ("inf", r"training\.safetensors has weights that are not numbers"),
        ("-inf", r"training\.safetensors has weights that are not numbers"),
    ],
)
def test_raw_weights_that_cannot_be_are_refused(
    saved: Callable[..., Run],
    charlm_command: Callable[..., Result],
    overrides: tuple[str, ...],
    how: str,
    sentence: str,
) -> None:
    run = saved(overrides, training=spoilt(how))
    with pytest.raises(RunError, match=sentence):
        load_checkpoint(run, NUM_STEPS)
    for command in (["verify", run.path], ["generate", "--run", run.path, "--prefix=the "]):
        result = charlm_command(*command)
        assert result.exit_code == 4
        assert result.stderr.count("\n") == 1
    assert charlm_command("train", "--resume", "--run", "run", "--runs-dir", run.path.parent).exit_code == 4


@pytest.mark.parametrize("part", ["decoder.bias", "decoder.more", "x"])
def test_raw_weights_where_there_is_no_average_are_refused(saved: Callable[..., Run], part: str) -> None:
    run = saved((), training=lambda checkpoint: {**checkpoint.training, f"weights.{part}": np.zeros(19, np.float32)})
    with pytest.raises(RunError, match=rf"'weights\.{part}' is \[19\] and should be absent"):
        load_checkpoint(run, NUM_STEPS)


def test_an_average_that_is_no_number_is_refused(saved: Callable[..., Run]) -> None:
    def spoil(checkpoint: Checkpoint) -> dict[str, Array]:
        return {**checkpoint.model, "decoder.bias": np.full_like(checkpoint.model["decoder.bias"], math.nan)}

    with pytest.raises(RunError, match=r"model\.safetensors has weights that are not numbers"):
        load_checkpoint(saved(EMA, model=spoil), NUM_STEPS)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("num_averaged", value) for value in (-1, 1.0, "3", None, True, [])),
        *(("is_averaging", value) for value in (1, "yes", None)),
        *(("val_to_beat", value) for value in ("low", [], True)),
        *(("recent_vals", value) for value in (1.0, None, {}, ["low"], [[1.0]], [None])),
    ],
)
@pytest.mark.parametrize("overrides", AVERAGES)
def test_counts_of_the_average_are_checked_before_a_run_goes_on(
    saved: Callable[..., Run], overrides: tuple[str, ...], key: str, value: Any
) -> None:
    def changed(checkpoint: Checkpoint) -> dict[str, Any]:
        return {**checkpoint.state, "progress": {**checkpoint.state["progress"], key: value}}

    run = saved(overrides, state=changed)
    with pytest.raises(RunError, match=f"the checkpoint of step {NUM_STEPS} does not say how far its run had come"):
        read_position(load_checkpoint(run, NUM_STEPS))


# Settings.


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["decay=0.5"], "optimizer.average.decay belongs to ema, and optimizer.average.method is none"),
        (["method=triggered", "decay=0.5"], "optimizer.average.decay belongs to ema, .* is triggered"),
        (["patience=3"], "optimizer.average.patience belongs to triggered, and optimizer.average.method is none"),
        (["method=ema", "patience=3"], "optimizer.average.patience belongs to triggered, .* is ema"),
        (["method=mean"], "optimizer.average.method"),
        *((["method=ema", f"decay={decay}"], "optimizer.average.decay") for decay in ("0", "1", "-0.1", "1.5", "nan")),
        *(
            (["method=triggered", f"patience={patience}"], "optimizer.average.patience")
            for patience in ("0", "-1", "1001", "1.5")
        ),
    ],
    ids=str,
)
def test_settings_that_the_average_does_not_have_are_named(overrides: list[str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as raised:
        load_settings(overrides=["optimizer.method=sgd", *(f"optimizer.average.{text}" for text in overrides)])
    assert raised.value.exit_code == 2


@pytest.mark.parametrize("method", ["adam", "adamw", "rmsprop"])
def test_a_triggered_average_needs_sgd(method: str) -> None:
    sentence = f"optimizer.average.method triggered needs sgd, and optimizer.method is {method}"
    with pytest.raises(ConfigError, match=sentence):
        load_settings(overrides=["optimizer.average.method=triggered", f"optimizer.method={method}"])


def test_a_triggered_average_needs_validation(fit: Fit, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.average\.method triggered needs a validation split, and corpus"):
        fit(*TRIGGERED, "corpus.split=none")
    # Only when the text is split does it turn out that nothing is left.
    with pytest.raises(ConfigError, match=r"optimizer\.average\.method triggered needs a validation split, and corpus"):
        fit(*TRIGGERED, "corpus.split=[3000, 0, 0]")
    assert list(tmp_path.iterdir()) == []


def test_a_moving_average_needs_no_validation(fit: Fit) -> None:
    training = fit(*EMA, "corpus.split=none", "train.max_steps=3", "sample.every=100")
    assert len(assert_holds_its_average(training.run)) == 3
