"""A run with fit_minutes ends in time with its learning rate at zero, by a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from charlm.settings.layers import SettingsLayer
from charlm.settings.loading import check_layer, load_settings
from charlm.settings.schema import Settings
from charlm.training.progress import Progress, Sum
from charlm.training.schedule import learning_rate_at, share_done
from charlm.training.timetable import Pace, Timetable

STEP, EVALUATION, CLOSING = 0.01, 0.2, 3.0
MINUTES = 5.0
PACE = Pace(step=STEP, evaluation=EVALUATION, closing=CLOSING)


def fitted(pace: Pace = PACE) -> Settings:
    """Return settings with the steps that fit."""
    steps = pace.steps_within(60 * MINUTES, 1_000)
    budget = f"train={{fit_minutes: {MINUTES}, max_steps: {steps}, eval_every: 1000}}"
    schedule = (
        f"optimizer={{learning_rate: 0.01, schedule: {{method: cosine, total_steps: {steps}, warmup_steps: 100}}}}"
    )
    return load_settings("defaults", overrides=[budget, schedule, "sample.every=10000"])


def trained(timetable: Timetable, load: Callable[[float], float]) -> tuple[float, list[float]]:
    """Train by a simulated clock; return when the run ends and its learning rates.

    Args:
        load: how many times as long everything takes, by the seconds since the first step.
    """
    progress, seconds, rates = Progress(), 0.0, list[float]()
    while timetable.last_step is not None and progress.step < timetable.last_step:
        if (end := timetable.look(progress, seconds)) is not None:
            timetable.move(timetable.with_end(progress.step, end))
        rates.append(timetable.learning_rate(progress))
        step = STEP * load(seconds)
        seconds += step + (EVALUATION * load(seconds) if progress.step % 1_000 == 999 else 0.0)
        progress = Progress(step=progress.step + 1, whole=Sum(None, progress.whole.seconds + step))
    return seconds + CLOSING * load(seconds), rates


@pytest.mark.parametrize(
    ("load", "off", "num_refits"),
    [
        (lambda _: 1.0, 0.01, 0),
        (lambda _: 1.04, 0.05, 0),
        (lambda _: 1.5, 0.05, 1),
        (lambda _: 0.6, 0.05, 1),
        (lambda seconds: 1.0 if seconds < 150 else 2.0, 0.05, 1),
        (lambda seconds: 2.0 if seconds < 150 else 1.0, 0.10, 2),
        (lambda seconds: 1.0 if seconds < 150 else 0.5, 0.06, 1),
        (lambda seconds: 3.0 if seconds % 97 < 4 else 1.0, 0.10, 1),
    ],
    ids=["as measured", "hardly slower", "slower", "faster", "doubled", "halved from two", "halved", "hiccups"],
)
def test_it_ends_in_time_with_the_rate_at_zero(load: Callable[[float], float], off: float, num_refits: int) -> None:
    timetable = Timetable(fitted(), steps_per_epoch=10**9, pace=PACE, seconds=60 * MINUTES)
    ended, rates = trained(timetable, load)
    assert ended == pytest.approx(60 * MINUTES, rel=off)
    assert len(timetable.refits) == num_refits
    assert rates[-1] < 0.001 * max(rates)
    # After the warm-up the rate only falls, wherever the end was moved to.
    assert all(later <= earlier for earlier, later in pairwise(rates[100:]))


def test_a_restless_machine_moves_the_end_a_few_times() -> None:
    timetable = Timetable(fitted(), steps_per_epoch=10**9, pace=PACE, seconds=60 * MINUTES)
    ended, _ = trained(timetable, lambda seconds: 1.0 + (int(seconds) // 40) % 2)
    assert ended == pytest.approx(60 * MINUTES, rel=0.2)
    assert 2 <= len(timetable.refits) <= 4


@pytest.mark.parametrize("later", [2.0, 0.5])
def test_small_corrections_leave_room_for_a_load_that_changes_much(later: float) -> None:
    timetable = Timetable(fitted(), steps_per_epoch=10**9, pace=PACE, seconds=60 * MINUTES)
    ended, rates = trained(timetable, lambda seconds: 1.1 if seconds < 60 else 0.95 if seconds < 150 else later)
    assert ended == pytest.approx(60 * MINUTES, rel=0.1)
    assert len(timetable.refits) >= 2
    assert rates[-1] < 0.001 * max(rates)


def test_the_recorded_list_gives_the_same_rates_without_a_clock() -> None:
    live = Timetable(fitted(), steps_per_epoch=10**9, pace=PACE, seconds=60 * MINUTES)
    _, rates = trained(live, lambda seconds: 1.0 if seconds < 150 else 2.0)
    assert live.refits
    replayed = Timetable(live.recorded.replaced({"train.fit_minutes": None}), steps_per_epoch=10**9)
    assert trained(replayed, lambda _: 17.0)[1] == rates


def test_a_run_without_minutes_never_moves() -> None:
    timetable = Timetable(fitted().replaced({"train.fit_minutes": None}), steps_per_epoch=10**9)
    trained(timetable, lambda _: 3.0)
    assert timetable.refits == ()


def test_the_rest_of_the_way_is_stretched_from_where_the_end_moved() -> None:
    assert share_done(50, 0, 100) == 0.5
    assert share_done(75, 0, 100, [(50, 100)]) == 0.75
    assert share_done(125, 0, 100, [(50, 200)]) == pytest.approx(0.75)
    assert share_done(200, 0, 100, [(50, 150), (100, 200)]) == 1.0
    # Before the step of a refit, nothing has changed.
    assert share_done(49, 0, 100, [(50, 200)]) == share_done(49, 0, 100)
    optimizer = fitted().optimizer
    assert learning_rate_at(50, optimizer, steps_per_epoch=1, refits=[(20, 99_999)]) == pytest.approx(0.01 * 51 / 100)


def test_a_move_voids_what_a_killed_process_had_decided_for_later_steps() -> None:
    settings = fitted().replaced({"train.refits": ((50, 900), (80, 700))})
    moved = Timetable(settings, steps_per_epoch=10**9, pace=PACE, seconds=60 * MINUTES).with_end(60, 800)
    assert moved.train.refits == ((50, 900), (60, 800))
    # Also before the first step, it is a configuration that can be read again.
    assert check_layer(SettingsLayer(moved.replaced({"train.refits": ((0, 9),)}).model_dump(mode="json"), {}))
