"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math
from collections.abc import Sequence

from charlm.settings.optimizer import OptimizerSettings
from charlm.settings.training import RefitSetting
from charlm.settings.values import Period

DEFAULT_FACTOR = 0.5
DEFAULT_PATIENCE = 3


def learning_rate_at(
    step: int,
    optimizer: OptimizerSettings,
    *,
    steps_per_epoch: int,
    num_plateaus: int = 0,
    refits: Sequence[RefitSetting] = (),
) -> float:
    """Return the learning rate of a step.

    Args:
        step: counted from 0.
        optimizer: the peak rate and its schedule.
        steps_per_epoch: number of steps in an epoch, for a period given in epochs.
        num_plateaus: how often validation has stopped improving so far.
        refits: where the end was moved, as pairs of a step and the new last step; cosine is stretched from there.
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
        done = share_done(step, schedule.warmup_steps, schedule.total_steps, refits)
        return floor + (peak - floor) * (1 + math.cos(math.pi * done)) / 2
    return peak


def share_done(step: int, first: int, last: int, refits: Sequence[RefitSetting] = ()) -> float:
    """Return how much of the way from one step to another is done, from 0 to 1; a refit moves the end of the rest.

    Args:
        step: where the run is.
        first: the step at which the way begins.
        last: the step at which it was to end at first.
        refits: pairs of a step and the new last step, in order.

    Example: after half of 100 steps, with 200 as the new end, 25 more are another twelfth of the way.
    """
    done = 0.0
    for since, new_last in refits:
        if step < since:
            break
        if since > first:
            done += (1.0 - done) * min(1.0, (since - first) / max(1, last - first))
            first = since
        last = new_last
    return done + (1.0 - done) * min(1.0, (step - first) / max(1, last - first))
