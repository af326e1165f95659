"""The training loop, and nothing else: it yields reports and has the run folder written."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

from charlm.errors import DivergedError
from charlm.networks.recurrent import detach_state
from charlm.runs.checkpoints import load_checkpoint, step_of
from charlm.runs.writer import RunWriter
from charlm.settings.schema import Settings
from charlm.training.batches import Batch, read_batches
from charlm.training.closing import close_run
from charlm.training.divergence import describe_divergence, worst_text
from charlm.training.events import Divergence, End, Evaluation, Samples, Start, Step, TrainingEvent
from charlm.training.experiment import Experiment
from charlm.training.position import Position, are_weights_finite, restore_position
from charlm.training.progress import Progress
from charlm.training.recording import StopRequestedError, measure, write_samples
from charlm.training.saving import Saver
from charlm.training.schedule import DEFAULT_PATIENCE, learning_rate_at, planned_steps
from charlm.training.step import take_step

MAX_SKIPS_IN_A_ROW = 10


class _NotANumberError(Exception):
    """Leave a step whose loss or gradient is not a number; the weights are as before it, unless it is too late."""

    def __init__(self, sentence: str, *, is_too_late: bool = False) -> None:
        super().__init__(sentence)
        self.is_too_late = is_too_late


def run_training(
    experiment: Experiment,
    writer: RunWriter,
    position: Position,
    *,
    should_stop: Callable[[], str | None] = lambda: None,
    note: str | None = None,
) -> Iterator[TrainingEvent]:
    """Train from a position until the first budget is reached, yielding a report for whatever happens.

    Args:
        experiment: from `prepare`, its network and optimiser as they were at the position.
        writer: of the run folder that metrics, samples and checkpoints go to.
        position: where the run stands: at its beginning, or where a checkpoint was saved.
        should_stop: asked after each step and within long readings; a word such as `interrupt` saves a checkpoint and
            ends the run.
        note: what a person should know of going on here.
    Raises:
        DivergedError: for a loss, gradient or weight that is not finite, where `train.on_divergence` does not go on;
            such a model is not saved.
        StorageError: where the last checkpoint could not be saved; earlier ones stay.
        RunInUseError: where another process has taken the folder over.
    """
    training = _Training(experiment, writer, position, should_stop)
    is_new = not writer.run.checkpoint_paths()
    planned = planned_steps(experiment.settings, experiment.steps_per_epoch)
    resumed_at = None if is_new else position.progress.step
    yield Start(writer.run.path, experiment.facts, planned, experiment.settings.train.minutes, resumed_at, note)
    if is_new:
        # Before the first step, so that whatever happens during it loses nothing.
        training.saver.save(position)
    elif training.ended_by(position) is None:
        position = training.reopen(position)
    batches = read_batches(experiment, position.progress)
    word = None
    while True:
        try:
            if word := word or should_stop():
                yield training.stop(position, word)
                return
            position = yield from training.record_due(position)
            if stopped_by := training.ended_by(position):
                yield from training.close(position, stopped_by)
                return
            if training.saver.is_due(position):
                yield from training.save(position)
            position, report = training.step(position, next(batches))
            yield report
        except StopRequestedError as request:
            # The next round saves and ends.
            word = request.word
        except _NotANumberError as error:
            position, divergence = training.after_divergence(position, error)
            batches = read_batches(experiment, position.progress)
            yield divergence


def ended_by(settings: Settings, progress: Progress, seconds: float) -> str | None:
    """Return which budget is reached, or early stopping, or None where the run goes on."""
    train = settings.train
    if train.epochs is not None and progress.epoch >= train.epochs:
        return "epochs"
    if train.max_steps is not None and progress.step >= train.max_steps:
        return "max_steps"
    # At least one step, so that there is something to tell.
    if train.minutes is not None and seconds >= 60 * train.minutes and progress.step > 0:
        return "minutes"
    patience = train.early_stopping
    return "early_stopping" if patience is not None and progress.num_without_improvement >= patience else None


class _Training:
    """One process' part of a run."""

    def __init__(
        self, experiment: Experiment, writer: RunWriter, position: Position, should_stop: Callable[[], str | None]
    ) -> None:
        self.experiment, self.writer, self.should_stop = experiment, writer, should_stop
        began = time.monotonic() - position.seconds
        saved = position if writer.run.checkpoint_paths() else None
        self.saver = Saver(experiment, writer, saved=saved, began=began)
        steps_per_epoch = experiment.steps_per_epoch
        self.eval_period = experiment.settings.train.eval_every.in_steps(steps_per_epoch)
        self.sample_period = experiment.settings.sample.every.in_steps(steps_per_epoch)

    def ended_by(self, position: Position) -> str | None:
        """Return what ends the run here, or None."""
        return ended_by(self.experiment.settings, position.progress, self.saver.seconds)

    def reopen(self, position: Position) -> Position:
        """Go on from where the run had ended: a figure that its schedule does not ask for chooses no checkpoint."""
        if position.val_nats_per_char is None or position.progress.step % self.eval_period == 0:
            return position
        position = replace(position, val_nats_per_char=None)
        self.saver.save(position)
        return position

    def step(self, position: Position, batch: Batch) -> tuple[Position, Step]:
        """Take one step; where its loss or gradient is not a number, nothing has changed."""
        experiment, progress = self.experiment, position.progress
        state = position.state
        if batch.epoch_step == 0:
            state = experiment.network.initial_state(experiment.settings.sampling.batch_size)
        rate = self._learning_rate(progress)
        began = time.monotonic()
        outcome = take_step(
            experiment.network,
            experiment.optimizer,
            batch.windows,
            state,
            settings=experiment.settings,
            step=progress.step,
            learning_rate=rate,
        )
        if not outcome.is_finite:
            text = worst_text(experiment, batch.windows, state)
            raise _NotANumberError(describe_divergence(progress.step + 1, rate, outcome.gradient_norm, text=text))
        step_seconds = time.monotonic() - began
        progress = progress.after_step(
            outcome.figures,
            steps_per_epoch=experiment.steps_per_epoch,
            seconds=step_seconds,
            learning_rate=rate,
            gradient_norm=outcome.gradient_norm,
        )
        if experiment.average:
            progress = experiment.average.after_step(experiment.network, progress)
        report = Step(
            step=progress.step,
            epoch=batch.epoch + 1,
            seconds=self.saver.seconds,
            step_seconds=step_seconds,
            figures=outcome.figures,
            gradient_norm=outcome.gradient_norm,
            learning_rate=rate,
        )
        return Position(progress, outcome.state, position.recorded_until), report

    def record_due(self, position: Position) -> Generator[TrainingEvent, None, Position]:
        """Evaluate and write samples where this step is due for it and has not had it; an evaluation is saved."""
        progress = position.progress
        if position.recorded_until >= progress.step:
            return position
        reports: list[TrainingEvent] = []
        val: float | None = None
        is_evaluated = progress.step % self.eval_period == 0
        if is_evaluated:
            evaluation = self._evaluate(progress, is_closing=False)
            val = evaluation.val.main.nats_per_char if evaluation.val else None
            progress = progress.after_evaluation(evaluation.val and evaluation.val.main, self._patience)
            if self.experiment.average:
                progress = self.experiment.average.after_evaluation(progress, val)
            reports.append(evaluation)
        if progress.step % self.sample_period == 0:
            self._require_finite_weights(progress)
            reports.append(self._write_samples(progress, is_closing=False))
        position = replace(position, progress=progress, recorded_until=progress.step, val_nats_per_char=val)
        if is_evaluated:
            reports += self.saver.try_to_save(position)
        yield from reports
        return position

    def save(self, position: Position) -> Iterator[TrainingEvent]:
        """Save between evaluations."""
        self._require_finite_weights(position.progress)
        yield from self.saver.try_to_save(position)

    def stop(self, position: Position, word: str) -> End:
        """Save, and end without measuring: whoever stops a run does not want to wait."""
        if not self.saver.is_saved(position):
            self._require_finite_weights(position.progress)
            self.saver.save(position)
        record = {"stopped_by": word, "steps": position.progress.step}
        return End(self.writer.run.path, word, record, self._prefix)

    def close(self, position: Position, stopped_by: str) -> Iterator[TrainingEvent]:
        """Evaluate and write samples if the last step was not due for it, save, and measure the best checkpoint.

        What stands outside the schedule changes nothing that the run could go on from with a larger budget.
        """
        progress = position.progress
        is_scheduled = progress.step % self.eval_period == 0
        if not is_scheduled:
            evaluation = self._evaluate(progress, is_closing=True)
            val = evaluation.val.main.nats_per_char if evaluation.val else None
            position = replace(position, val_nats_per_char=val)
            self.saver.save(position)
            yield evaluation
        elif stopped_by == "minutes" or not self.saver.is_saved(position):
            # A checkpoint from before the time was up would let a run that is done go on.
            self.saver.save(position)
        if progress.step % self.sample_period != 0:
            yield self._write_samples(progress, is_closing=True)
        record = close_run(
            self.experiment,
            self.writer.run,
            progress,
            stopped_by,
            seconds=lambda: self.saver.seconds,
            should_stop=self.should_stop,
        )
        self.writer.record_metrics(record)
        self.writer.flush()
        yield End(self.writer.run.path, stopped_by, record, self._prefix)

    def after_divergence(self, position: Position, error: _NotANumberError) -> tuple[Position, Divergence]:
        """Skip the step or go back to the last checkpoint, as the settings say, or end the run."""
        train, progress = self.experiment.settings.train, position.progress
        can_skip = not error.is_too_late and progress.num_skipped_in_a_row < MAX_SKIPS_IN_A_ROW
        if train.on_divergence == "skip" and can_skip:
            skipped = progress.after_step(
                None,
                steps_per_epoch=self.experiment.steps_per_epoch,
                seconds=0.0,
                learning_rate=0.0,
                gradient_norm=0.0,
            )
            # What the window left behind may be no numbers either.
            state = detach_state(self.experiment.network.initial_state(self.experiment.settings.sampling.batch_size))
            on = Position(skipped, state, position.recorded_until)
            return on, Divergence(progress.step + 1, "skipped", str(error))
        if train.on_divergence == "rollback" and progress.num_rollbacks < train.max_rollbacks:
            back = restore_position(self.experiment, load_checkpoint(self.writer.run, self._good_step(error, progress)))
            num_rollbacks = progress.num_rollbacks + 1
            # In this order: killed in between, the run finds more records than checkpoints, never fewer.
            self.writer.remove_later(back.progress.step)
            self.writer.cut_records(back.recorded_until)
            went_on = f"rolled back to step {back.progress.step:,}, learning rate times {0.5**num_rollbacks:g}"
            back = replace(back, progress=replace(back.progress, num_rollbacks=num_rollbacks))
            return back, Divergence(progress.step + (not error.is_too_late), went_on, str(error))
        raise self._diverged(error) from error

    def _good_step(self, error: _NotANumberError, progress: Progress) -> int:
        """Return the step of the last scheduled checkpoint: others are there by the clock, and decide nothing."""
        until = progress.step - error.is_too_late
        steps = [step_of(path) for path in self.writer.run.checkpoint_paths()]
        return max((step for step in steps if step <= until and step % self.eval_period == 0), default=min(steps))

    def _learning_rate(self, progress: Progress) -> float:
        rate = learning_rate_at(
            progress.step,
            self.experiment.settings.optimizer,
            steps_per_epoch=self.experiment.steps_per_epoch,
            num_plateaus=progress.num_plateaus,
        )
        return rate * 0.5**progress.num_rollbacks

    def _evaluate(self, progress: Progress, *, is_closing: bool) -> Evaluation:
        self._require_finite_weights(progress)
        evaluation = measure(
            self.experiment, progress, self.saver.seconds, is_closing=is_closing, should_stop=self.should_stop
        )
        if evaluation.val is not None and not evaluation.val.is_finite:
            raise _NotANumberError(self._too_late(progress), is_too_late=True)
        self.writer.record_metrics(evaluation.as_record())
        return evaluation

    def _write_samples(self, progress: Progress, *, is_closing: bool) -> Samples:
        samples = write_samples(self.experiment, progress, is_closing=is_closing, should_stop=self.should_stop)
        self.writer.record_samples(samples.as_record())
        return samples

    def _require_finite_weights(self, progress: Progress) -> None:
        # A step's loss is of the weights before it: those after the last step are only seen here.
        if not are_weights_finite(self.experiment):
            raise _NotANumberError(self._too_late(progress), is_too_late=True)

    def _too_late(self, progress: Progress) -> str:
        return describe_divergence(progress.step, progress.learning_rate, progress.gradient_norm, text=None)

    def _diverged(self, error: _NotANumberError) -> DivergedError:
        paths = self.writer.run.checkpoint_paths()
        kept = f"the last good checkpoint is {paths[-1]}" if paths else "there is no checkpoint yet"
        advice = "lower optimizer.learning_rate or optimizer.clip_norm"
        return DivergedError(f"{error}; {advice}; {kept}")

    @property
    def _patience(self) -> int:
        return self.experiment.settings.optimizer.schedule.patience or DEFAULT_PATIENCE

    @property
    def _prefix(self) -> str | None:
        return self.experiment.prefixes[0][0] if self.experiment.prefixes else None
