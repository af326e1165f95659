"""Decide which points are promoted from rung to rung, by the plan and the ledger alone.

A sweep that is started again therefore makes the same decisions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from charlm.sweeps.ledger import Ledger
from charlm.sweeps.plan import Plan, Trial, by_point
from charlm.sweeps.tasks import number_of


def entrants(plan: Plan, trials: Iterable[Trial], ledger: Ledger, *, are_all: bool = True) -> list[frozenset[int]]:
    """Return the points that enter each stage that is open or done; all points enter the first stage.

    A stage is decided when each of its trials has reached it or failed.

    Args:
        plan: the sweep.
        trials: the trials of all its points so far.
        ledger: the outcomes of the trials.
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
    """Return the share of points with the lowest values, at least one; of equal points, the earlier are preferred.

    Args:
        values: the value of each point; None for a point with a failed trial, which is never promoted.
        keep: the share to keep; half a point is rounded up to one.
    """
    ranked = sorted((value, number) for number, value in values.items() if value is not None)
    return [number for _, number in ranked[: max(1, math.floor(keep * len(values) + 0.5))]]


def value_at(plan: Plan, trials: Sequence[Trial], ledger: Ledger, stage: int | None) -> float | None:
    """Return the mean metric of a point's trials at a stage, signed so that less is better; None if one is missing."""
    outcomes = [ledger.get(trial.name, stage) for trial in trials]
    known = [number_of(outcome.figures, plan.metric) for outcome in outcomes if outcome is not None]
    values = [plan.sign * value for value in known if value is not None]
    return math.fsum(values) / len(values) if values and len(values) == len(trials) else None
