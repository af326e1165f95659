"""Fit a run to its minutes: how many steps this machine takes in the time, evaluations included, and their schedule."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from charlm.text.notices import Notice
from charlm.text.splits import Split
from charlm.training.resolution import Resolved
from charlm.training.schedule import learning_rate_at
from charlm.training.speed import measure_pace
from charlm.training.timetable import Timetable

# A warm-up that was meant for a longer run takes at most one step of so many.
MOST_WARMUP = 10


def fit_to_minutes(
    resolved: Resolved, vocab_size: int, split: Split, *, resumed: bool, spent: float
) -> tuple[Resolved, Timetable]:
    """Return what a run does and when it ends; with fit_minutes, after a second of trial steps.

    Args:
        resolved: the run with everything else decided.
        vocab_size: number of symbols.
        split: the splits.
        resumed: whether it is a run that is resumed, which has chosen its steps already.
        spent: seconds since the run's preparation began; they are part of the minutes.
    """
    minutes, is_told = resolved.settings.train.fit_minutes, resolved.settings.train.recipe is not None
    if minutes is not None and resolved.planned_steps is not None and not resumed:
        # Steps that are given replace the minutes: no clock decides anything.
        resolved, minutes = replace(resolved, settings=resolved.settings.replaced({"train.fit_minutes": None})), None
    if minutes is None:
        # Of a recipe, its speed is told as well, where it lets a short text end before its time.
        pace = measure_pace(resolved.settings, vocab_size, split) if is_told and not resumed else None
        return resolved, Timetable(resolved.settings, resolved.steps_per_epoch, pace)
    began = time.monotonic()
    pace = measure_pace(resolved.settings, vocab_size, split)
    seconds = 60 * minutes
    if not resumed:
        seconds -= spent + time.monotonic() - began
        resolved = _with_steps(resolved, pace.steps_within(seconds, resolved.eval_every))
    return resolved, Timetable(resolved.settings, resolved.steps_per_epoch, pace, seconds)


def _with_steps(resolved: Resolved, steps: int) -> Resolved:
    """Return a run with a number of steps, and the schedule that ends with them."""
    schedule = resolved.settings.optimizer.schedule
    changes: dict[str, object] = {
        "train.max_steps": steps,
        "train.refits": (),
        "optimizer.schedule.warmup_steps": min(schedule.warmup_steps, steps // MOST_WARMUP),
    }
    if schedule.method == "cosine":
        changes["optimizer.schedule.total_steps"] = steps
    return replace(resolved, settings=resolved.settings.replaced(changes))


def cut_notices(resolved: Resolved, vocab_size: int, split: Split) -> Iterator[Notice]:
    """Yield a warning if `train.minutes` will end the run before its learning rate has fallen to its end.

    Args:
        resolved: the run.
        vocab_size: number of symbols.
        split: the splits.
    """
    settings = resolved.settings
    minutes, schedule = settings.train.minutes, settings.optimizer.schedule
    if minutes is None or schedule.method != "cosine" or schedule.total_steps is None:
        return
    end = min(schedule.total_steps, resolved.planned_steps or schedule.total_steps)
    fitting = measure_pace(settings, vocab_size, split).steps_within(60 * minutes, resolved.eval_every)
    if fitting < end:
        rate = learning_rate_at(fitting, settings.optimizer, steps_per_epoch=resolved.steps_per_epoch)
        yield Notice(
            f"train.minutes {minutes:g} will end the run after about {fitting:,} of {end:,} steps, at a learning rate "
            f"of about {rate:.2g}: --minutes without a number of steps or epochs fits the schedule to the time",
            is_warning=True,
        )
