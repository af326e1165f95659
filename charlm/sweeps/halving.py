"""Which points go on from rung to rung: a function of the plan and the ledger, so that a sweep started again agrees."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from charlm.sweeps.ledger import Ledger
from charlm.sweeps.plan import Plan, Trial, by_point
from charlm.sweeps.tasks import number_of


def entrants(plan: Plan, trials: Iterable[Trial], ledger: Ledger, *, are_all: bool = True) -> list[frozenset[int]]:
    """Return the points that enter each stage that is open or done; the first is entered by all.

    A stage is decided when each of its trials has reached it or failed.

    Args:
        plan: the sweep.
        trials: of all its points so far.
        ledger: what has become of them.
        are_all: whether there will be no further points.
    """
    points = by_point(trials)
    entered = [frozenset(points)]
    for stage in plan.stages[:-1] if are_all else ():
        values: dict[int, float | None] = {}
        for number in entered[-1]:
            outcomes = [ledger.get(trial.name, stage) for trial in points[number]]
            if any(outcome is None for outcome in outcomes):
                return entered
            values[number] = value_at(plan, points[number], ledger, stage)
        entered.append(frozenset(best_share(values, plan.keep)))
    return entered


def best_share(values: Mapping[int, float | None], keep: float) -> list[int]:
    """Return the points with the lowest values: a share of all, at least one; of equal ones those that came first.

    Args:
        values: of each point; None for one with a failed trial, which never goes on.
        keep: the share; half a point is one.
    """
    ranked = sorted((value, number) for number, value in values.items() if value is not None)
    return [number for _, number in ranked[: max(1, math.floor(keep * len(values) + 0.5))]]


def value_at(plan: Plan, trials: Sequence[Trial], ledger: Ledger, stage: int | None) -> float | None:
    """Return the mean of the metric over a point's trials at a stage, less being better; None where one has none."""
    outcomes = [ledger.get(trial.name, stage) for trial in trials]
    known = [number_of(outcome.figures, plan.metric) for outcome in outcomes if outcome is not None]
    values = [plan.sign * value for value in known if value is not None]
    return math.fsum(values) / len(values) if values and len(values) == len(trials) else None
