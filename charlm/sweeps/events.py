"""The reports that a sweep yields: plain records that a console draws and a script reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from charlm.sweeps.plan import Plan, Trial
from charlm.sweeps.results import Results
from charlm.sweeps.tasks import Outcome


@dataclass(frozen=True)
class SweepProgress:
    """The progress of a sweep towards the open rung, or towards its end.

    Args:
        rung: the step that trials are trained to; None means their whole budget.
        num_trials: how many trials should get there; None if only minutes end the sweep.
        num_ended: how many have reached it or failed.
    """

    rung: int | None
    num_trials: int | None
    num_ended: int


@dataclass(frozen=True)
class SweepStart:
    """A sweep begins or is resumed.

    Args:
        plan: what it varies, and the metric that decides.
        folder: the folder that contains its trials.
        num_trials: how many trials there will be; None if only minutes end the sweep.
        num_known: how many trials had ended before.
        where: where the trials run.
        progress: the progress so far.
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
        trial: the trial.
        rung: the step that it is trained to; None means its whole budget.
    """

    trial: Trial
    rung: int | None


@dataclass(frozen=True)
class TrialEnd:
    """A trial has reached the end of its budget or of a rung, has failed, or was interrupted.

    Args:
        trial: the trial.
        outcome: its outcome.
        progress: the progress, including this trial.
    """

    trial: Trial
    outcome: Outcome
    progress: SweepProgress


@dataclass(frozen=True)
class RungDecided:
    """All trials of a rung have reached it or failed.

    Args:
        rung: the rung's step.
        num_kept: how many points are promoted.
        num_entered: how many points entered the rung.
        progress: the progress towards the next rung.
    """

    rung: int
    num_kept: int
    num_entered: int
    progress: SweepProgress


@dataclass(frozen=True)
class WorkerLost:
    """A worker died; its trials are resumed elsewhere from their last checkpoints.

    Args:
        num_tasks: how many tasks are affected.
    """

    num_tasks: int


@dataclass(frozen=True)
class Waiting:
    """Nothing has ended for a moment, so there is time to look at the progress of running trials.

    Args:
        running: the running trials.
    """

    running: tuple[Trial, ...]


@dataclass(frozen=True)
class SweepEnd:
    """The sweep has ended, or was stopped.

    Args:
        folder: the sweep's folder.
        stopped_by: None if it is complete; otherwise minutes, interrupt, terminate or hangup, after which starting it
            again resumes it.
        results: the table, the best configuration, and the trials that failed.
    """

    folder: Path
    stopped_by: str | None
    results: Results


SweepEvent = SweepStart | TrialStart | TrialEnd | RungDecided | WorkerLost | Waiting | SweepEnd
