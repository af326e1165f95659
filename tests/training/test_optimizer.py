"""Optimisers and clipping against their formulas, one number at a time."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from charlm.settings.optimizer import OptimizerSettings
from charlm.training.optimizer import build_optimizer, clip_gradients, set_learning_rate

# The rate moves between steps, as under a schedule: moments must outlive it.
RATES = [0.1, 0.1, 0.02, 0.3]
WEIGHTS = [0.5, -2.0, 3.0, 0.0]
GRADIENTS = [[1.0, -0.5, 0.0, 2.0], [0.25, 4.0, -1.0, 2.0], [-3.0, 0.5, 1e-3, 2.0], [0.5, 0.5, 0.5, -7.0]]


def adam(weight: float, gradients: list[float], decay: float, *, decoupled: bool) -> float:
    """Kingma and Ba 2015; decoupled: Loshchilov and Hutter 2019."""
    m = v = 0.0
    for t, (gradient, rate) in enumerate(zip(gradients, RATES, strict=True), start=1):
        if decoupled:
            weight -= rate * decay * weight
        else:
            gradient += decay * weight
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        weight -= rate * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return weight


def sgd(weight: float, gradients: list[float], decay: float, momentum: float) -> float:
    velocity = 0.0
    for gradient, rate in zip(gradients, RATES, strict=True):
        velocity = momentum * velocity + gradient + decay * weight
        weight -= rate * velocity
    return weight


def rmsprop(weight: float, gradients: list[float], decay: float, momentum: float) -> float:
    v = velocity = 0.0
    for gradient, rate in zip(gradients, RATES, strict=True):
        gradient += decay * weight
        v = 0.99 * v + 0.01 * gradient**2
        velocity = momentum * velocity + gradient / (math.sqrt(v) + 1e-8)
        weight -= rate * velocity
    return weight


FORMULAS: dict[str, Any] = {
    "adam": lambda weight, gradients, decay, _: adam(weight, gradients, decay, decoupled=False),
    "adamw": lambda weight, gradients, decay, _: adam(weight, gradients, decay, decoupled=True),
    "sgd": sgd,
    "rmsprop": rmsprop,
}


@pytest.mark.parametrize("momentum", [None, 0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("method", ["adam", "adamw", "sgd", "rmsprop"])
def test_the_first_steps_equal_the_formula(method: str, decay: float, momentum: float | None) -> None:
    if method in ("adam", "adamw"):
        momentum = None
    settings = OptimizerSettings(method=method, learning_rate=RATES[0], weight_decay=decay, momentum=momentum)
    parameter = nn.Parameter(torch.tensor(WEIGHTS, dtype=torch.float64))
    optimizer = build_optimizer([parameter], settings)
    for gradient, rate in zip(GRADIENTS, RATES, strict=True):
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        set_learning_rate(optimizer, rate)
        optimizer.step()
    columns = list(zip(*GRADIENTS, strict=True))
    expected = [
        FORMULAS[method](weight, list(column), decay, momentum or 0.0)
        for weight, column in zip(WEIGHTS, columns, strict=True)
    ]
    assert_close(parameter.detach(), torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-13)


def test_the_learning_rate_of_the_settings_is_that_of_the_first_step() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = build_optimizer([parameter], OptimizerSettings(method="sgd", learning_rate=0.25))
    parameter.grad = torch.ones(1)
    optimizer.step()
    assert parameter.item() == -0.25


def with_gradients(*gradients: list[float]) -> list[Tensor]:
    """Return parameters that have these gradients."""
    parameters = [nn.Parameter(torch.zeros(len(gradient), dtype=torch.float64)) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
    return list(parameters)


def gradients_of(parameters: list[Tensor]) -> list[list[float]]:
    return [parameter.grad.tolist() for parameter in parameters if parameter.grad is not None]


# The norm of both together is 13.
STEEP = ([3.0, -4.0], [0.0, 12.0, 0.0])


@pytest.mark.parametrize("clip_norm", [0.01, 1.0, 12.9])
def test_a_larger_global_norm_is_scaled_down_to_clip_norm(clip_norm: float) -> None:
    parameters = with_gradients(*STEEP)
    norm = clip_gradients(parameters, OptimizerSettings(clip_norm=clip_norm))
    assert norm.item() == pytest.approx(13.0, rel=1e-15)
    expected = [[entry * clip_norm / 13 for entry in gradient] for gradient in STEEP]
    # torch adds 1e-6 to the norm it divides by.
    for found, exact in zip(gradients_of(parameters), expected, strict=True):
        assert found == pytest.approx(exact, rel=1e-6)
    assert math.sqrt(sum(entry**2 for found in gradients_of(parameters) for entry in found)) <= clip_norm


@pytest.mark.parametrize("clip_norm", [13.1, 1e9, None])
def test_a_smaller_global_norm_is_reported_and_left_to_the_last_bit(clip_norm: float | None) -> None:
    parameters = with_gradients(*STEEP)
    norm = clip_gradients(parameters, OptimizerSettings(clip_norm=clip_norm))
    assert norm.item() == pytest.approx(13.0, rel=1e-15)
    assert gradients_of(parameters) == [*STEEP]


@pytest.mark.parametrize("clip_value", [0.5, 3.5, 100.0])
def test_clip_value_cuts_each_entry_and_the_norm_is_the_one_before(clip_value: float) -> None:
    parameters = with_gradients(*STEEP)
    norm = clip_gradients(parameters, OptimizerSettings(clip_norm=None, clip_value=clip_value))
    assert norm.item() == pytest.approx(13.0, rel=1e-15)
    expected = [[max(-clip_value, min(clip_value, entry)) for entry in gradient] for gradient in STEEP]
    assert gradients_of(parameters) == expected


def test_with_both_the_norm_is_clipped_before_the_values() -> None:
    parameters = with_gradients(*STEEP)
    norm = clip_gradients(parameters, OptimizerSettings(clip_norm=1.3, clip_value=0.35))
    assert norm.item() == pytest.approx(13.0, rel=1e-15)
    first, second = gradients_of(parameters)
    assert first == pytest.approx([0.3, -0.35], rel=1e-6)
    assert second == pytest.approx([0.0, 0.35, 0.0], rel=1e-6)


@pytest.mark.parametrize("wrong", [math.inf, math.nan])
@pytest.mark.parametrize("clip_norm", [1.0, None])
def test_the_norm_of_a_gradient_that_is_not_finite_is_not_finite(clip_norm: float | None, wrong: float) -> None:
    parameters = with_gradients([1.0, wrong])
    assert not clip_gradients(parameters, OptimizerSettings(clip_norm=clip_norm)).isfinite()
