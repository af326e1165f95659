"""Decide when a run ends: its budget of epochs, steps or minutes, and evaluations without improvement."""

from __future__ import annotations

from charlm.settings.training import TrainSettings
from charlm.training.progress import Progress


def planned_steps(train: TrainSettings, steps_per_epoch: int) -> int | None:
    """Return how many steps epochs and max_steps allow, or None if only minutes end the run."""
    max_steps = train.refits[-1][1] if train.refits else train.max_steps
    limits = [max_steps, train.epochs and train.epochs * steps_per_epoch]
    return min((limit for limit in limits if limit), default=None)


def ended_by(train: TrainSettings, progress: Progress, seconds: float) -> str | None:
    """Return which budget has been reached, or early_stopping, or None if the run continues."""
    if train.epochs is not None and progress.epoch >= train.epochs:
        return "epochs"
    max_steps = train.refits[-1][1] if train.refits else train.max_steps
    if max_steps is not None and progress.step >= max_steps:
        return "max_steps" if train.fit_minutes is None else "fit_minutes"
    # Take at least one step, so that there is something to report.
    if train.minutes is not None and seconds >= 60 * train.minutes and progress.step > 0:
        return "minutes"
    patience = train.early_stopping
    return "early_stopping" if patience is not None and progress.num_without_improvement >= patience else None
