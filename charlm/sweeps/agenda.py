"""Decide which trials a sweep has, how far each is trained, and which comes next.

Every decision follows from the plan and the ledger alone, so that a sweep that is started again decides the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from charlm.sweeps.events import RungDecided, SweepProgress
from charlm.sweeps.halving import entrants, value_at
from charlm.sweeps.ledger import Ledger
from charlm.sweeps.plan import Plan, Trial, by_point, make_trials
from charlm.sweeps.results import Results, summarise, trial_rows
from charlm.sweeps.search import belongs, suggest
from charlm.sweeps.space import Point


class Agenda:
    """The trials of a plan, drawn as they are needed, and what is known about them.

    Args:
        plan: the sweep.
        ledger: the outcomes of its trials.
    """

    def __init__(self, plan: Plan, ledger: Ledger) -> None:
        self.plan, self.ledger = plan, ledger
        self.trials: dict[str, Trial] = {}
        self._are_all = False
        self._entered = [frozenset[int]()]
        self._points = enumerate(self._search() if plan.method == "tpe" else plan.points())
        if plan.method == "grid" or (plan.method == "random" and plan.num_trials is not None):
            while self._draw():
                pass
        if plan.method == "tpe":
            # Points that were proposed before are known, so the search need not be asked again.
            for _ in self._proposed():
                self._draw()
        self._num_told = len(self._entered)

    @property
    def num_trials(self) -> int | None:
        """The largest number of trials, or None if there is no limit."""
        if self._are_all:
            return len(self.trials)
        limit = self.plan.num_trials
        return None if limit is None else limit * len(self.plan.seeds)

    @property
    def num_known(self) -> int:
        """The number of trials that have nothing left to do."""
        rows = trial_rows(self.plan, self.trials.values(), self.ledger, are_all=self._are_all)
        return sum(row.state in ("finished", "stopped", "failed") for row in rows)

    def num_useful(self, jobs: int) -> int:
        """Return how many of the given number of workers would have something to do."""
        return jobs if self.num_trials is None else max(1, min(jobs, self.num_trials - self.num_known))

    def results(self) -> Results:
        """Return the results so far."""
        return summarise(self.plan, self.trials.values(), self.ledger, are_all=self._are_all)

    def progress(self) -> SweepProgress:
        """Return the progress of the open stage."""
        rung = self.plan.stages[len(self._entered) - 1]
        entered = [trial.name for trial in self.trials.values() if trial.number in self._entered[-1]]
        num_trials = self.num_trials if len(self._entered) == 1 else len(entered)
        return SweepProgress(rung, num_trials, sum(self.ledger.get(name, rung) is not None for name in entered))

    def next_trial(self, in_hand: set[str]) -> tuple[Trial, int | None] | None:
        """Return a trial that is to be trained and is not running, and how far to train it; None if there is none."""
        while True:
            numbers = self._entered[-1]
            rung = self.plan.stages[len(self._entered) - 1]
            for trial in self.trials.values():
                is_open = trial.number in numbers and self.ledger.get(trial.name, rung) is None
                if is_open and trial.name not in in_hand:
                    return trial, rung
            if self._are_all:
                return None
            self._draw()

    def decide(self) -> Iterator[RungDecided]:
        """Decide which points are promoted when all trials of a rung have ended; yield decisions not yet reported."""
        self._update()
        while self._num_told < len(self._entered):
            kept, entered = self._entered[self._num_told], self._entered[self._num_told - 1]
            rung = self.plan.rungs[self._num_told - 1]
            yield RungDecided(rung, len(kept), len(entered), self.progress())
            self._num_told += 1

    def _update(self) -> None:
        self._entered = entrants(self.plan, self.trials.values(), self.ledger, are_all=self._are_all)

    def _draw(self) -> bool:
        """Add the trials of the next point; return whether there was one."""
        number, point = next(self._points, (0, None))
        if point is None:
            if not self._are_all:
                self._are_all = True
                self._update()
            return False
        for trial in make_trials(self.plan, number, point):
            self.trials.setdefault(trial.name, trial)
        self._update()
        return True

    def _search(self) -> Iterator[Point]:
        """Yield the points of a TPE search: those proposed before, then new ones as results arrive."""
        limit = self.plan.num_trials
        proposed = self._proposed()
        yield from proposed
        num_yielded = len(proposed)
        while limit is None or num_yielded < limit:
            point = suggest(self.plan.space, self._known(), seed=self.plan.seeds[0])
            if point is None:
                return
            self.ledger.propose({setting.key: setting.value for setting in point})
            num_yielded += 1
            yield point

    def _proposed(self) -> list[Point]:
        """Return the points that were proposed before, in order."""
        points = (belongs(self.plan.space, values) for values in self.ledger.proposals)
        return [point for point in points if point is not None][: self.plan.num_trials]

    def _known(self) -> list[tuple[Point, float | None, bool]]:
        """Return what a search learns from: each point, its value at the first stage, and whether it has reached it."""
        stage = self.plan.stages[0]
        return [
            (
                trials[0].point,
                value_at(self.plan, trials, self.ledger, stage),
                all(self.ledger.get(trial.name, stage) is not None for trial in trials),
            )
            for trials in by_point(self.trials.values()).values()
        ]
