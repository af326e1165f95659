"""The reports that a training run yields: plain records that a console draws, a script reads and a run folder keeps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from charlm.evaluation.figure import Figures
from charlm.runs.facts import Environment
from charlm.runs.records import EvaluationLine, Interruption, Sample, SampleTable, Summary
from charlm.settings.training import Precision
from charlm.text.notices import Notice
from charlm.training.rates import rates_of


@dataclass(frozen=True)
class Plan:
    """What a run does and how long that takes, decided before its first step.

    Args:
        is_automatic: whether an automatic recipe has chosen settings.
        network: the network in words, such as `lstm of 2 x 192 units`.
        steps: number of optimiser steps.
        epochs: how often they read the training split.
        minutes: the time that the whole run takes.
        is_fitted: whether it takes as many steps as fit into its minutes; otherwise, their number was given.
        chars_per_second: the speed that was measured.
    """

    is_automatic: bool
    network: str
    steps: int
    epochs: float
    minutes: float
    is_fitted: bool
    chars_per_second: float


@dataclass(frozen=True)
class Start:
    """A run begins.

    Args:
        run: its folder.
        facts: corpus, sizes, parameters, device and implementation, as in environment.json; if the run starts from
            another, `facts.parent` has that one's results on both texts before the first step.
        planned_steps: number of steps until the end; None if only minutes end the run.
        minutes: the budget in minutes, if there is one.
        resumed_at: the step from which the run is resumed; None for a new run.
        note: what a person should know about resuming here, such as another version of torch; None if there is nothing.
        notices: what a person should know about the text: what was left out, how it was read, what is odd about it, and
            what it makes useless, such as choosing a checkpoint by six characters of validation; and how an
            implementation was chosen by trial steps.
        plan: how long the run takes; None if its speed was not measured, as its length was given otherwise.
        precision: what the products of training steps are computed in.
    """

    run: Path
    facts: Environment
    planned_steps: int | None
    minutes: float | None
    resumed_at: int | None = None
    note: str | None = None
    notices: tuple[Notice, ...] = ()
    plan: Plan | None = None
    precision: Precision = "float32"


@dataclass(frozen=True)
class Step:
    """One optimiser step was taken; its results are those of this step alone.

    Args:
        step: steps taken so far.
        epoch: the epoch it belongs to, from 1.
        seconds: since the run began.
        step_seconds: how long this step took.
        figures: results on the step's own windows, in training mode.
        gradient_norm: the norm before clipping.
        learning_rate: the rate that was used.
    """

    step: int
    epoch: int
    seconds: float
    step_seconds: float
    figures: Figures
    gradient_norm: float
    learning_rate: float


@dataclass(frozen=True)
class Refit:
    """The load of the machine has changed, and the end of a run with fit_minutes was moved to keep to the time.

    Args:
        step: steps taken so far.
        before: the step at which the run was to end.
        last_step: the step at which it ends now.
    """

    step: int
    before: int | None
    last_step: int


@dataclass(frozen=True)
class Divergence:
    """A loss, gradient or weight was not a number, and the run continues all the same.

    Args:
        step: the step that was not taken, or whose weights were not numbers.
        went_on: how the run continues: `skipped`, or `rolled back to step N, learning rate times F`.
        sentence: what happened: step, learning rate, gradient norm, and the text that caused it.
    """

    step: int
    went_on: str
    sentence: str


@dataclass(frozen=True)
class Unsaved:
    """A checkpoint could not be saved; training continues and tries again.

    Args:
        step: steps taken so far.
        sentence: the reason: the path, and for a full disk the bytes needed and free.
    """

    step: int
    sentence: str


@dataclass(frozen=True)
class Evaluation:
    """The model was evaluated and saved.

    Args:
        step: steps taken so far.
        epoch: epochs begun so far.
        seconds: since the run began.
        chars_seen: training characters so far, repeated ones counted again.
        recent: results on the training windows since the last evaluation, while the weights moved; None if all were
            skipped.
        last_epoch: results on the last whole epoch's own batches; None before there is one.
        val: results on at most eval.max_chars of the validation split, or None without one.
        is_partial: whether val covers less than the whole split.
        is_best: whether val is the lowest so far; always false if the split is too short to choose by.
        learning_rate: the rate of the last step.
        gradient_norm: the norm of the last step, before clipping.
        chars_per_second: speed of the training steps alone.
        epoch_seconds: duration of the last whole epoch's steps; None before there is one.
        is_closing: whether it is at the run's end and outside its schedule; resuming the run discards it.
    """

    step: int
    epoch: int
    seconds: float
    chars_seen: int
    recent: Figures | None
    last_epoch: Figures | None
    val: Figures | None
    is_partial: bool
    is_best: bool
    learning_rate: float
    gradient_norm: float
    chars_per_second: float
    epoch_seconds: float | None
    is_closing: bool = False

    @property
    def train(self) -> Figures | None:
        """The former name of `recent`."""
        return self.recent

    @property
    def val_nats_per_char(self) -> float | None:
        """The validation loss in nats per character; None without a validation split."""
        return self.val and self.val.main.nats_per_char

    def as_record(self) -> EvaluationLine:
        """Return the line for metrics.jsonl."""
        return EvaluationLine(
            kind="evaluation",
            step=self.step,
            epoch=self.epoch,
            seconds=round(self.seconds, 3),
            chars_seen=self.chars_seen,
            learning_rate=self.learning_rate,
            gradient_norm=self.gradient_norm,
            chars_per_second=round(self.chars_per_second, 1),
            epoch_seconds=None if self.epoch_seconds is None else round(self.epoch_seconds, 3),
            last_epoch=self.last_epoch and rates_of(self.last_epoch),
            recent=self.recent and rates_of(self.recent),
            train=self.recent and rates_of(self.recent),
            val=self.val and rates_of(self.val),
            is_closing=self.is_closing,
        )


@dataclass(frozen=True)
class Samples:
    """What the model wrote: one continuation for each prefix.

    Args:
        step: steps taken so far.
        epoch: whole epochs so far.
        prefixes: the texts that were given; for a backward model, the ends of the texts.
        continuations: the texts that the model wrote, after the prefixes or before the ends.
        is_backward: whether they come before the given ends.
        is_closing: whether they are at the run's end and outside its schedule; resuming the run discards them.
    """

    step: int
    epoch: int
    prefixes: tuple[str, ...]
    continuations: tuple[str, ...]
    is_backward: bool = False
    is_closing: bool = False

    def as_record(self) -> SampleTable:
        """Return the line for samples.jsonl."""
        pairs = zip(self.prefixes, self.continuations, strict=True)
        samples = tuple(
            Sample(suffix=given, continuation=text) if self.is_backward else Sample(prefix=given, continuation=text)
            for given, text in pairs
        )
        return SampleTable(step=self.step, epoch=self.epoch, samples=samples, is_closing=self.is_closing)


@dataclass(frozen=True)
class End:
    """The run has ended.

    Args:
        run: its folder.
        stopped_by: epochs, max_steps, minutes, fit_minutes, early_stopping; or, saved but not evaluated, interrupt,
            terminate, hangup.
        record: the closing summary, the last line of metrics.jsonl and what `--json` prints; a run stopped from
            outside has none.
        prefix: a text that the model can continue; None if the settings give none.
    """

    run: Path
    stopped_by: str
    record: Summary | Interruption
    prefix: str | None


TrainingEvent = Start | Step | Refit | Divergence | Unsaved | Evaluation | Samples | End
