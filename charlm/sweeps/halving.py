"""Which points go on from rung to rung: a function of the plan and the ledger, so that a sweep started again agrees."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from charlm.sweeps.ledger import Ledger
from charlm.sweeps.plan import Plan, Trial


def entrants(plan: Plan, trials: Iterable[Trial], ledger: Ledger) -> list[frozenset[int]]:
    """Return the points that enter each stage that is open or done; the first is entered by all.

    A stage is decided when each of its trials has reached it or failed.
    """
    by_point: dict[int, list[Trial]] = {}
    for trial in trials:
        by_point.setdefault(trial.number, []).append(trial)
    entered = [frozenset(by_point)]
    for stage in plan.stages[:-1]:
        values: dict[int, float | None] = {}
        for number in entered[-1]:
            outcomes = [ledger.get(trial.name, stage) for trial in by_point[number]]
            if any(outcome is None for outcome in outcomes):
                return entered
            figures = [outcome.figures.get(plan.metric) for outcome in outcomes if outcome]
            values[number] = _mean([None if figure is None else plan.sign * figure for figure in figures])
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


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None
