"""Where a run stands, in counts that only ever go forward."""

from __future__ import annotations

from dataclasses import dataclass, replace

from charlm.evaluation.figure import Figure, Figures


@dataclass(frozen=True)
class Sum:
    """Figures and seconds of some training steps, added up; no figures before the first."""

    figures: Figures | None = None
    seconds: float = 0.0

    def plus(self, figures: Figures, seconds: float) -> Sum:
        """Return the sum with one more step."""
        return Sum(figures if self.figures is None else self.figures + figures, self.seconds + seconds)

    @property
    def chars(self) -> int:
        """Characters predicted in these steps."""
        return self.figures.main.num_predicted if self.figures else 0


@dataclass(frozen=True)
class Progress:
    """Where a run stands; every count that a checkpoint must hold.

    Args:
        step: optimiser steps taken.
        epoch: whole epochs done.
        epoch_step: steps taken of the epoch in hand.
        whole: all steps so far.
        this_epoch: the steps of the epoch in hand.
        last_epoch: those of the last whole epoch, whose figure is the training perplexity.
        since_report: those since the last evaluation.
        best_val: lowest validation nats per character so far.
        num_without_improvement: evaluations since then.
        num_plateaus: how often the plateau schedule has lowered the rate.
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

    def after_step(self, figures: Figures, seconds: float, steps_per_epoch: int) -> Progress:
        """Return the progress with one more step; an epoch's last step closes it."""
        this_epoch = self.this_epoch.plus(figures, seconds)
        is_last = self.epoch_step + 1 == steps_per_epoch
        return replace(
            self,
            step=self.step + 1,
            epoch=self.epoch + is_last,
            epoch_step=0 if is_last else self.epoch_step + 1,
            whole=self.whole.plus(figures, seconds),
            this_epoch=Sum() if is_last else this_epoch,
            last_epoch=this_epoch if is_last else self.last_epoch,
            since_report=self.since_report.plus(figures, seconds),
        )

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
