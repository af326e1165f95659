"""The learning rate compared with closed forms, and a length that never changes."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest

from charlm.evaluation.figure import Figure
from charlm.settings.optimizer import OptimizerSettings
from charlm.settings.schema import Settings
from charlm.training.budget import planned_steps
from charlm.training.progress import Progress
from charlm.training.schedule import learning_rate_at

PEAK = 0.4
STEPS_PER_EPOCH = 10
METHODS: dict[str, dict[str, Any]] = {
    "constant": {},
    "step": {},
    "exponential": {},
    "cosine": {"total_steps": 100},
    "plateau": {},
}


def rates(number: int, *, num_plateaus: int = 0, **schedule: Any) -> list[float]:
    """Return the learning rates of the first steps."""
    settings = OptimizerSettings.model_validate({"learning_rate": PEAK, "schedule": schedule})
    return [
        learning_rate_at(step, settings, steps_per_epoch=STEPS_PER_EPOCH, num_plateaus=num_plateaus)
        for step in range(number)
    ]


def test_constant_is_the_peak() -> None:
    assert rates(50, method="constant") == [PEAK] * 50
    assert rates(50) == [PEAK] * 50


@pytest.mark.parametrize(("every", "period"), [(None, 10), (7, 7), ({"epochs": 2}, 20)])
@pytest.mark.parametrize(("factor", "multiplier"), [(None, 0.5), (0.1, 0.1)])
def test_step_multiplies_at_each_period(every: Any, period: int, factor: float | None, multiplier: float) -> None:
    expected, rate = [], PEAK
    for step in range(60):
        if step > 0 and step % period == 0:
            rate *= multiplier
        expected.append(rate)
    assert rates(60, method="step", every=every, factor=factor) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("every", "period"), [(None, 10), (7, 7), ({"epochs": 2}, 20)])
@pytest.mark.parametrize(("factor", "multiplier"), [(None, 0.5), (0.1, 0.1)])
def test_exponential_falls_by_the_same_ratio_each_step(
    every: Any, period: int, factor: float | None, multiplier: float
) -> None:
    found = rates(61, method="exponential", every=every, factor=factor)
    assert found[0] == PEAK
    ratio = multiplier ** (1 / period)
    assert [later / earlier for earlier, later in pairwise(found)] == pytest.approx([ratio] * 60, rel=1e-12)
    assert found[period] == pytest.approx(PEAK * multiplier, rel=1e-12)


@pytest.mark.parametrize("floor", [0.0, 0.05])
@pytest.mark.parametrize("warmup_steps", [0, 20])
def test_cosine_falls_from_the_peak_over_the_middle_to_the_floor(warmup_steps: int, floor: float) -> None:
    total = 100
    found = rates(total + 50, method="cosine", total_steps=total, warmup_steps=warmup_steps, min_learning_rate=floor)
    middle = (warmup_steps + total) // 2
    assert found[warmup_steps] == PEAK
    assert found[middle] == pytest.approx((PEAK + floor) / 2, rel=1e-12)
    assert found[total:] == pytest.approx([floor] * 50, abs=1e-15)
    falling = found[warmup_steps : total + 1]
    assert all(later < earlier for earlier, later in pairwise(falling))
    # A half wave is its own mirror image about its middle.
    assert [high + low for high, low in zip(falling, reversed(falling), strict=True)] == pytest.approx(
        [PEAK + floor] * len(falling), rel=1e-12
    )
    quarter = warmup_steps + (total - warmup_steps) // 4
    assert found[quarter] == pytest.approx(floor + (PEAK - floor) * (1 + math.sqrt(0.5)) / 2, rel=1e-12)


@pytest.mark.parametrize("num_plateaus", [0, 1, 5])
@pytest.mark.parametrize(("factor", "multiplier"), [(None, 0.5), (0.1, 0.1)])
def test_plateau_multiplies_once_for_each(factor: float | None, multiplier: float, num_plateaus: int) -> None:
    found = rates(5, method="plateau", factor=factor, num_plateaus=num_plateaus)
    assert found == pytest.approx([PEAK * multiplier**num_plateaus] * 5, rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_plateaus_concern_no_other_method(method: str) -> None:
    same = rates(30, method=method, **METHODS[method]) == rates(30, method=method, num_plateaus=2, **METHODS[method])
    assert same is (method != "plateau")


@pytest.mark.parametrize("method", METHODS)
def test_warm_up_rises_in_equal_steps_to_the_peak(method: str) -> None:
    found = rates(8, method=method, warmup_steps=8, **METHODS[method])
    assert found == pytest.approx([PEAK * step / 8 for step in range(1, 9)], rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_after_its_warm_up_a_schedule_is_a_function_of_the_step(method: str) -> None:
    # This excludes the cosine, which is stretched over the steps after the warm-up.
    if method == "cosine":
        later = rates(92, method=method, total_steps=92)
        assert rates(100, method=method, total_steps=100, warmup_steps=8)[8:] == pytest.approx(later, rel=1e-12)
    else:
        assert rates(40, method=method, warmup_steps=8)[8:] == rates(40, method=method)[8:]


@pytest.mark.parametrize("method", ["step", "exponential", "cosine", "plateau"])
def test_the_rate_never_falls_below_its_floor(method: str) -> None:
    others = METHODS[method] if method == "cosine" else {"factor": 0.1}
    found = rates(200, method=method, min_learning_rate=0.01, num_plateaus=9, **others)
    assert min(found) == pytest.approx(0.01, rel=1e-12)
    assert min(found) >= 0.01 - 1e-15


@pytest.mark.parametrize("method", METHODS)
def test_a_floor_above_the_peak_raises_no_rate(method: str) -> None:
    found = rates(120, method=method, min_learning_rate=2 * PEAK, num_plateaus=1, **METHODS[method])
    assert found == [PEAK] * 120


def build_settings(schedule: dict[str, Any] | None = None, **train: Any) -> Settings:
    return Settings.model_validate({"train": train, "optimizer": {"schedule": schedule or {}}})


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ({}, 20 * STEPS_PER_EPOCH),
        ({"epochs": 3}, 3 * STEPS_PER_EPOCH),
        ({"max_steps": 17}, 17),
        ({"epochs": 3, "max_steps": 17}, 17),
        ({"epochs": 1, "max_steps": 17}, STEPS_PER_EPOCH),
        ({"minutes": 2.0}, None),
        ({"minutes": 2.0, "max_steps": 17}, 17),
    ],
)
def test_planned_steps_are_what_the_first_budget_allows(train: dict[str, Any], expected: int | None) -> None:
    assert planned_steps(build_settings(**train).train, STEPS_PER_EPOCH) == expected


def plateaus_after(nats: list[float], patience: int) -> list[int]:
    """Return how often the rate has fallen after each evaluation."""
    progress, counts = Progress(), []
    for value in nats:
        progress = progress.after_evaluation(Figure(value, 1), patience)
        counts.append(progress.num_plateaus)
    return counts


def test_a_plateau_is_so_many_evaluations_without_improvement() -> None:
    assert plateaus_after([5, 4, 4, 4, 4, 4], patience=2) == [0, 0, 0, 1, 1, 2]
    assert plateaus_after([5, 4, 6, 3, 6, 6, 2, 2], patience=2) == [0, 0, 0, 0, 0, 1, 1, 1]
    assert plateaus_after([1, 2, 3, 4], patience=1) == [0, 1, 2, 3]
    assert plateaus_after([9, 8, 7, 6], patience=1) == [0, 0, 0, 0]


def test_an_evaluation_without_a_validation_part_is_no_plateau() -> None:
    progress = Progress().after_evaluation(None, 1).after_evaluation(None, 1)
    assert (progress.num_plateaus, progress.num_without_improvement, progress.best_val) == (0, 0, None)
