"""One optimiser step against a plain autograd computation; what it carries, and what it leaves alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.testing import assert_close

from charlm.evaluation.figure import Figure
from charlm.evaluation.reading import measure_text
from charlm.networks.building import build_model
from charlm.networks.language_model import CharLM
from charlm.networks.recurrent import State
from charlm.settings.schema import Settings
from charlm.text.vocabulary import Ids
from charlm.text.windows import Window, cut_windows
from charlm.training.optimizer import build_optimizer
from charlm.training.step import StepOutcome, take_step

T, B, V, H = 6, 3, 9, 5
CELLS = ["rnn", "gru", "lstm"]
IMPLEMENTATIONS = ["torch", "reference", pytest.param("native", marks=pytest.mark.kernels)]
RATE = 0.5
CLOSE = {"rtol": 1e-10, "atol": 1e-13}
# The kernels have float32 alone.
NATIVE_CLOSE = {"rtol": 1e-5, "atol": 1e-7}


def build_settings(
    cell: str = "lstm", implementation: str = "auto", *, method: str = "consecutive", batch_size: int = B, **parts: Any
) -> Settings:
    """Return settings of plain gradient descent without clipping; parts such as `train` are merged in."""
    sections: dict[str, dict[str, Any]] = {
        "sampling": {"method": method, "batch_size": batch_size, "seq_len": T},
        "model": {"cell": cell, "hidden_size": H, "num_layers": 2, "implementation": implementation},
        "optimizer": {"method": "sgd", "learning_rate": RATE, "clip_norm": None},
        "train": {"max_steps": 100},
    }
    return Settings.model_validate({name: section | parts.get(name, {}) for name, section in sections.items()})


class Trainee:
    """A network with its optimiser and the state it carries, in float64 unless the kernels are asked for."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        network = build_model(settings.model, V, seed=0)
        assert isinstance(network, CharLM)
        is_native = settings.model.implementation == "native"
        self.network = network if is_native else network.double()
        self.close = NATIVE_CLOSE if is_native else CLOSE
        self.optimizer = build_optimizer(self.network.parameters(), settings.optimizer)
        self.state: State = self.network.initial_state(settings.sampling.batch_size)

    def step(self, *windows: Window, step: int = 0, learning_rate: float = RATE) -> StepOutcome:
        outcome = take_step(
            self.network,
            self.optimizer,
            windows,
            self.state,
            settings=self.settings,
            step=step,
            learning_rate=learning_rate,
        )
        self.state = outcome.state
        return outcome

    def gradients(self) -> dict[str, Tensor]:
        """Return what the last step moved along."""
        named = self.network.named_parameters()
        return {name: parameter.grad.clone() for name, parameter in named if parameter.grad is not None}

    def weights(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self.network.state_dict().items()}


def rounding(trainee: Trainee) -> float:
    """Return the relative tolerance between two ways to compute a loss."""
    return 1e-6 if trainee.close is NATIVE_CLOSE else 1e-12


def draw_windows(number: int, batch_size: int = B, seed: int = 0) -> list[Window]:
    """Return consecutive windows of streams of random characters."""
    ids: Ids = np.random.default_rng(seed).integers(V, size=batch_size * (number * T + 1)).astype(np.uint8)
    streams = np.arange(batch_size, dtype=np.int64) * (number * T + 1)
    starts = streams + T * np.arange(number, dtype=np.int64)[:, None]
    return list(cut_windows(ids, starts, T))


def side_by_side(windows: list[Window]) -> Window:
    """Return one window with the streams of all windows."""
    parts = ([getattr(window, name) for window in windows] for name in ("inputs", "targets", "beyond"))
    return Window(*(np.concatenate(part, axis=1) for part in parts))


def plain_step(trainee: Trainee, window: Window) -> tuple[float, dict[str, Tensor]]:
    """Return a window's mean loss and its gradient in float64, by torch.nn from zero states, target by target."""
    cell = trainee.settings.model.cell
    stack = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[cell](V, H, trainee.settings.model.num_layers).double()
    model = nn.ModuleDict({"recurrent": stack, "decoder": nn.Linear(H, V).double()})
    model.load_state_dict(trainee.network.state_dict())
    inputs = one_hot(torch.from_numpy(window.inputs.astype(np.int64)), V).double()
    logits = model["decoder"](stack(inputs)[0])
    total = torch.zeros((), dtype=torch.float64)
    for t in range(T):
        for b in range(window.inputs.shape[1]):
            total = total + logits[t, b].logsumexp(0) - logits[t, b, int(window.targets[t, b])]
    loss = total / window.inputs.size
    names, parameters = zip(*model.named_parameters(), strict=True)
    return loss.item(), dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("method", ["consecutive", "random"])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_a_step_equals_plain_autograd(cell: str, implementation: str, method: str, seed: int) -> None:
    trainee = Trainee(build_settings(cell, implementation, method=method))
    (window,) = draw_windows(1, seed=seed)
    before = trainee.weights()
    loss, gradients = plain_step(trainee, window)
    outcome = trainee.step(window, learning_rate=0.25)
    assert outcome.is_finite
    assert outcome.figures.main.num_predicted == T * B
    assert outcome.figures.main.nats_per_char == pytest.approx(loss, rel=rounding(trainee))
    assert_close(trainee.gradients(), gradients, check_dtype=False, **trainee.close)
    expected = {name: before[name] - 0.25 * gradient for name, gradient in gradients.items()}
    assert_close(trainee.weights(), expected, check_dtype=False, **trainee.close)
    norm = math.sqrt(sum(gradient.square().sum().item() for gradient in gradients.values()))
    assert outcome.gradient_norm == pytest.approx(norm, rel=100 * rounding(trainee))


@pytest.mark.parametrize("clip_norm", [1e-3, 0.1])
def test_a_clipped_step_moves_along_the_gradient_by_no_more_than_the_norm(clip_norm: float) -> None:
    free, clipped = Trainee(build_settings()), Trainee(build_settings(optimizer={"clip_norm": clip_norm}))
    (window,) = draw_windows(1)
    norms = [trainee.step(window).gradient_norm for trainee in (free, clipped)]
    assert norms[0] == norms[1] > clip_norm
    # torch adds 1e-6 to the norm it divides by.
    expected = {name: gradient * clip_norm / (norms[0] + 1e-6) for name, gradient in free.gradients().items()}
    assert_close(clipped.gradients(), expected, rtol=1e-9, atol=1e-15)


def test_the_gradient_of_one_step_does_not_leak_into_the_next() -> None:
    trainee, other = Trainee(build_settings(method="random")), Trainee(build_settings(method="random"))
    first, second = draw_windows(2)
    trainee.step(first, learning_rate=0.0)
    trainee.step(second)
    other.step(second)
    assert_close(trainee.gradients(), other.gradients(), rtol=0, atol=0)


@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_accumulating_windows_equals_one_batch_of_them_all(cell: str, implementation: str, number: int) -> None:
    windows = draw_windows(number)
    parts = {"optimizer": {"accumulation": number}}
    accumulating = Trainee(build_settings(cell, implementation, method="random", **parts))
    at_once = Trainee(build_settings(cell, implementation, method="random", batch_size=number * B))
    found, expected = accumulating.step(*windows), at_once.step(side_by_side(windows))
    assert found.figures.main.num_predicted == expected.figures.main.num_predicted == number * T * B
    assert found.figures.main.nats == pytest.approx(expected.figures.main.nats, rel=rounding(at_once))
    assert found.gradient_norm == pytest.approx(expected.gradient_norm, rel=100 * rounding(at_once))
    assert_close(accumulating.gradients(), at_once.gradients(), **at_once.close)
    assert_close(accumulating.weights(), at_once.weights(), **at_once.close)


def test_an_unfinished_group_is_averaged_over_the_windows_it_has() -> None:
    (window,) = draw_windows(1)
    short, plain = Trainee(build_settings(optimizer={"accumulation": 4})), Trainee(build_settings())
    short.step(window)
    plain.step(window)
    assert_close(short.gradients(), plain.gradients(), rtol=0, atol=0)


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_consecutive_sampling_carries_the_state_from_window_to_window(
    cell: str, implementation: str, accumulation: int
) -> None:
    windows = draw_windows(3)
    trainee = Trainee(build_settings(cell, implementation, optimizer={"accumulation": accumulation}))
    # With a rate of 0 the weights stay, so the losses of the windows must be those of the whole text.
    total = 0.0
    for start in range(0, 3, accumulation):
        total += trainee.step(*windows[start : start + accumulation], learning_rate=0.0).figures.main.nats
    network = trainee.network
    inputs = torch.from_numpy(np.concatenate([window.inputs for window in windows]).astype(np.int64))
    targets = torch.from_numpy(np.concatenate([window.targets for window in windows]).astype(np.int64))
    logits, final = network(inputs, network.initial_state(B))
    costs = -torch.log_softmax(logits, -1).gather(-1, targets[..., None])
    assert total == pytest.approx(costs.sum().item(), rel=rounding(trainee))
    assert_close(trainee.state, final, **trainee.close)


@pytest.mark.parametrize("method", ["consecutive", "random"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_state_that_comes_out_has_no_history(cell: str, method: str) -> None:
    trainee = Trainee(build_settings(cell, method=method))
    for window in draw_windows(2):
        outcome = trainee.step(window)
        assert all(part.grad_fn is None and not part.requires_grad for part in outcome.state)


@pytest.mark.parametrize("cell", CELLS)
def test_back_propagation_stops_at_the_start_of_a_window(cell: str) -> None:
    first, second = draw_windows(2)
    trainee, fresh = Trainee(build_settings(cell)), Trainee(build_settings(cell))
    trainee.step(first, learning_rate=0.0)
    carried = tuple(part.clone() for part in trainee.state)
    trainee.step(second)
    # The same values without a history must give the same gradient.
    fresh.state = carried
    fresh.step(second)
    assert_close(trainee.gradients(), fresh.gradients(), rtol=0, atol=0)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_random_sampling_starts_each_window_from_zero(cell: str, implementation: str) -> None:
    (window,) = draw_windows(1)
    results = []
    for method, start in (("random", 0.0), ("random", 7.0), ("consecutive", 0.0), ("consecutive", 7.0)):
        trainee = Trainee(build_settings(cell, implementation, method=method))
        trainee.state = tuple(part + start for part in trainee.state)
        results.append((trainee.step(window).figures, trainee.gradients()))
    from_zero = results[0]
    for same in results[1:3]:
        assert same[0] == from_zero[0]
        assert_close(same[1], from_zero[1], rtol=0, atol=0)
    assert results[3][0] != from_zero[0]


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("method", ["adam", "sgd"])
def test_a_loss_that_is_not_finite_leaves_the_weights_untouched(method: str, wrong: float) -> None:
    trainee = Trainee(build_settings(optimizer={"method": method}))
    windows = draw_windows(2)
    trainee.step(windows[0])
    with torch.no_grad():
        trainee.network.decoder.bias[0] = wrong
    before = trainee.weights()
    moments = [{name: torch.as_tensor(value).clone() for name, value in slot.items()} for slot in slots(trainee)]
    outcome = trainee.step(windows[1])
    assert not outcome.is_finite
    assert_close(trainee.weights(), before, rtol=0, atol=0, equal_nan=True)
    assert_close(slots(trainee), moments, rtol=0, atol=0)


def slots(trainee: Trainee) -> list[dict[str, Any]]:
    """Return what the optimiser remembers about each parameter."""
    return [
        {name: value for name, value in slot.items() if value is not None}
        for slot in trainee.optimizer.state_dict()["state"].values()
    ]


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_leaves_the_weights_untouched(wrong: float) -> None:
    trainee = Trainee(build_settings(optimizer={"clip_norm": 1.0}))
    (window,) = draw_windows(1)
    before = trainee.weights()
    handle = trainee.network.decoder.bias.register_hook(lambda gradient: gradient + wrong)
    outcome = trainee.step(window)
    assert math.isfinite(outcome.figures.main.nats)
    assert not outcome.is_finite
    assert_close(trainee.weights(), before, rtol=0, atol=0)
    handle.remove()
    assert trainee.step(window).is_finite


def with_dropout(seed: int = 0, implementation: str = "auto") -> Trainee:
    """Return a trainer with dropout, whose weights are the same for every seed."""
    return Trainee(build_settings("gru", implementation, model={"dropout": 0.5}, train={"seed": seed}))


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_dropout_is_a_function_of_seed_and_step(implementation: str, seed: int) -> None:
    (window,) = draw_windows(1)

    def outcome_of(seed: int, step: int, drawn_before: int) -> Figure:
        trainee = with_dropout(seed, implementation)
        torch.manual_seed(drawn_before)
        torch.rand(drawn_before + 1)
        return trainee.step(window, step=step).figures.main

    once = outcome_of(seed, 5, drawn_before=0)
    assert outcome_of(seed, 5, drawn_before=3) == once
    others = [outcome_of(seed, 0, 0), outcome_of(seed, 6, 0), outcome_of((seed + 7) % 2**63, 5, 0)]
    assert len({figure.nats for figure in (once, *others)}) == 4


def test_a_step_trains_though_the_network_was_left_in_evaluation_mode() -> None:
    (window,) = draw_windows(1)
    trainee, left_evaluating = with_dropout(), with_dropout()
    left_evaluating.network.eval()
    assert left_evaluating.step(window).figures == trainee.step(window).figures


def test_each_window_of_a_step_is_dropped_out_anew() -> None:
    (window,) = draw_windows(1)
    trainee = with_dropout()
    trainee.settings = build_settings("gru", method="random", model={"dropout": 0.5})
    alone, both = trainee.step(window, learning_rate=0.0), trainee.step(window, window, learning_rate=0.0)
    assert both.figures.main.nats != 2 * alone.figures.main.nats


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_evaluating_between_steps_changes_nothing_that_follows(dropout: float) -> None:
    windows, text = draw_windows(4), np.random.default_rng(1).integers(V, size=50).astype(np.uint8)
    results = []
    for is_evaluating in (False, True):
        trainee, outcomes = Trainee(build_settings(model={"dropout": dropout}, optimizer={"method": "adam"})), []
        for step, window in enumerate(windows):
            outcomes.append(trainee.step(window, step=step).figures)
            if is_evaluating:
                measure_text(trainee.network, text)
        results.append((outcomes, trainee.weights()))
    assert results[0][0] == results[1][0]
    assert_close(results[0][1], results[1][1], rtol=0, atol=0)


@pytest.mark.parametrize(("method", "rate"), [("adam", 0.05), ("adamw", 0.05), ("rmsprop", 0.02)])
def test_many_steps_on_one_window_learn_it_by_heart(method: str, rate: float) -> None:
    trainee = Trainee(build_settings(method="random", optimizer={"method": method, "clip_norm": 1.0}))
    (window,) = draw_windows(1)
    losses = [trainee.step(window, step=step, learning_rate=rate).figures.main.nats_per_char for step in range(60)]
    assert losses[0] == pytest.approx(math.log(V), abs=0.3)
    assert losses[-1] < 0.5 * losses[0]
