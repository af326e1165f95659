"""How far a run has come, in counts that never decrease."""

from __future__ import annotations

from dataclasses import dataclass, replace

from charlm.evaluation.figure import Figure, Figures


@dataclass(frozen=True)
class Sum:
    """Results and seconds of some training steps, added up; there are no results before the first step."""

    figures: Figures | None = None
    seconds: float = 0.0

    def plus(self, figures: Figures | None, seconds: float) -> Sum:
        """Return the sum with one more step; a skipped step has no results."""
        if self.figures is None or figures is None:
            return Sum(self.figures or figures, self.seconds + seconds)
        return Sum(self.figures + figures, self.seconds + seconds)

    @property
    def chars(self) -> int:
        """Characters predicted in these steps."""
        return self.figures.main.num_predicted if self.figures else 0


@dataclass(frozen=True)
class Progress:
    """How far a run has come: every count that a checkpoint must hold.

    Args:
        step: optimiser steps taken.
        epoch: whole epochs completed.
        epoch_step: steps taken in the current epoch.
        whole: sum of all steps so far.
        this_epoch: sum of the steps of the current epoch.
        last_epoch: sum of the last whole epoch, from which the training perplexity is computed.
        since_report: sum of the steps since the last evaluation.
        best_val: lowest validation nats per character so far.
        num_without_improvement: evaluations since the one with best_val.
        num_plateaus: how often the plateau schedule has lowered the rate.
        learning_rate: the rate of the last step.
        gradient_norm: the norm of the last step, before clipping.
        num_skipped: steps that were skipped because their loss or gradient was not a number.
        num_skipped_in_a_row: steps skipped since the last one that was taken.
        num_rollbacks: how often the run went back to a checkpoint for such a step; each halves the learning rate.
        num_averaged: number of steps whose weights are in the average.
        is_averaging: whether a triggered average has begun.
        val_to_beat: until it begins, the lowest validation loss except those in `recent_vals`.
        recent_vals: the last few validation losses.
    """

    step: int = 0
    epoch: int = 0
    epoch_step: int = 0
    whole: Sum = Sum()
    this_epoch: Sum = Sum()
    last_epoch: Sum | None = None
    since_report: Sum = Sum()
    best_val: float | None = None
    num_without_improvement: int = 0
    num_plateaus: int = 0
    learning_rate: float = 0.0
    gradient_norm: float = 0.0
    num_skipped: int = 0
    num_skipped_in_a_row: int = 0
    num_rollbacks: int = 0
    num_averaged: int = 0
    is_averaging: bool = False
    val_to_beat: float | None = None
    recent_vals: tuple[float, ...] = ()

    @property
    def epochs_begun(self) -> int:
        """Completed epochs, plus the current one if it has begun."""
        return self.epoch + (self.epoch_step > 0)

    def after_step(
        self,
        figures: Figures | None,
        *,
        steps_per_epoch: int,
        seconds: float,
        learning_rate: float,
        gradient_norm: float,
    ) -> Progress:
        """Return the progress with one more step; an epoch's last step completes it.

        Args:
            figures: results of the step; None if it was skipped.
        """
        this_epoch = self.this_epoch.plus(figures, seconds)
        is_last = self.epoch_step + 1 == steps_per_epoch
        done = replace(
            self,
            step=self.step + 1,
            epoch=self.epoch + is_last,
            epoch_step=0 if is_last else self.epoch_step + 1,
            whole=self.whole.plus(figures, seconds),
            this_epoch=Sum() if is_last else this_epoch,
            last_epoch=this_epoch if is_last else self.last_epoch,
            since_report=self.since_report.plus(figures, seconds),
        )
        if figures is None:
            in_a_row = self.num_skipped_in_a_row + 1
            return replace(done, num_skipped=self.num_skipped + 1, num_skipped_in_a_row=in_a_row)
        return replace(done, num_skipped_in_a_row=0, learning_rate=learning_rate, gradient_norm=gradient_norm)

    def after_evaluation(self, val: Figure | None, patience: int) -> Progress:
        """Return the progress with one more evaluation."""
        if val is None:
            return replace(self, since_report=Sum())
        if self.best_val is None or val.nats_per_char < self.best_val:
            return replace(self, since_report=Sum(), best_val=val.nats_per_char, num_without_improvement=0)
        waited = self.num_without_improvement + 1
        return replace(
            self,
            since_report=Sum(),
            num_without_improvement=waited,
            num_plateaus=self.num_plateaus + (waited % patience == 0),
        )
