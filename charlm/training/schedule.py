"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math

from charlm.settings.optimizer import OptimizerSettings
from charlm.settings.values import Period

DEFAULT_FACTOR = 0.5
DEFAULT_PATIENCE = 3


def learning_rate_at(step: int, optimizer: OptimizerSettings, *, steps_per_epoch: int, num_plateaus: int = 0) -> float:
    """Return the learning rate of a step.

    Args:
        step: counted from 0.
        optimizer: the peak rate and its schedule.
        steps_per_epoch: number of steps in an epoch, for a period given in epochs.
        num_plateaus: how often validation has stopped improving so far.
    """
    schedule = optimizer.schedule
    factor = schedule.factor or DEFAULT_FACTOR
    period = (schedule.every or Period(epochs=1)).in_steps(steps_per_epoch)
    peak = optimizer.learning_rate
    floor = min(schedule.min_learning_rate, peak)
    if step < schedule.warmup_steps:
        return peak * (step + 1) / schedule.warmup_steps
    if schedule.method == "step":
        return max(floor, peak * factor ** (step // period))
    if schedule.method == "exponential":
        return max(floor, peak * factor ** (step / period))
    if schedule.method == "plateau":
        return max(floor, peak * factor**num_plateaus)
    if schedule.method == "cosine":
        assert schedule.total_steps is not None
        length = max(1, schedule.total_steps - schedule.warmup_steps)
        done = min(1.0, (step - schedule.warmup_steps) / length)
        return floor + (peak - floor) * (1 + math.cos(math.pi * done)) / 2
    return peak
