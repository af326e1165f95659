"""What a sweep yields: plain records that a console draws and a script reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from charlm.sweeps.plan import Plan, Trial
from charlm.sweeps.results import Results
from charlm.sweeps.tasks import Outcome


@dataclass(frozen=True)
class SweepProgress:
    """How far the sweep is: on its way to the open rung, or to its end.

    Args:
        rung: the step that trials are taken to, None for their whole budget.
        num_trials: how many are to get there, None where minutes alone end it.
        num_ended: how many have reached it or failed.
    """

    rung: int | None
    num_trials: int | None
    num_ended: int


@dataclass(frozen=True)
class SweepStart:
    """A sweep begins, or goes on.

    Args:
        plan: what it varies, by which figure.
        folder: in which its trials lie.
        num_trials: how many there are to be, None where minutes alone end it.
        num_known: how many have ended before.
        where: the trials run.
        progress: where it stands.
    """

    plan: Plan
    folder: Path
    num_trials: int | None
    num_known: int
    where: str
    progress: SweepProgress


@dataclass(frozen=True)
class TrialStart:
    """A trial was given to a worker.

    Args:
        trial: which.
        rung: the step it is to be taken to, None for its whole budget.
    """

    trial: Trial
    rung: int | None


@dataclass(frozen=True)
class TrialEnd:
    """A trial has reached the end of its budget or of a rung, has failed, or was cut.

    Args:
        trial: which.
        outcome: what became of it.
        progress: with it.
    """

    trial: Trial
    outcome: Outcome
    progress: SweepProgress


@dataclass(frozen=True)
class RungDecided:
    """All trials of a rung have reached it or failed.

    Args:
        rung: the step.
        num_kept: how many points go on.
        num_entered: of how many.
        progress: on the way to the next rung.
    """

    rung: int
    num_kept: int
    num_entered: int
    progress: SweepProgress


@dataclass(frozen=True)
class WorkerLost:
    """A worker died; what it had in hand goes on elsewhere from its last checkpoint.

    Args:
        num_tasks: how many tasks that concerns.
    """

    num_tasks: int


@dataclass(frozen=True)
class Waiting:
    """Nothing has ended for a moment: time to look at how far the running trials are.

    Args:
        running: those in hand.
    """

    running: tuple[Trial, ...]


@dataclass(frozen=True)
class SweepEnd:
    """The sweep has ended, or was stopped.

    Args:
        folder: of the sweep.
        stopped_by: None for its end; else minutes, interrupt, terminate or hangup: started again, it goes on.
        results: the table, the best configuration, what failed.
    """

    folder: Path
    stopped_by: str | None
    results: Results


SweepEvent = SweepStart | TrialStart | TrialEnd | RungDecided | WorkerLost | Waiting | SweepEnd
