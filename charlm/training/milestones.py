"""What happens between two steps of a run: evaluations, samples, checkpoints and the end, each when it is due."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace

from charlm.errors import StorageError
from charlm.runs.checkpoints import are_measured
from charlm.runs.choice import choice_chars, is_enough
from charlm.runs.records import Interruption
from charlm.runs.writer import RunWriter
from charlm.training.budget import ended_by
from charlm.training.closing import close_run
from charlm.training.divergence import NotANumber, after_the_fact
from charlm.training.events import End, Evaluation, Refit, TrainingEvent
from charlm.training.experiment import Experiment
from charlm.training.position import Position, are_weights_finite
from charlm.training.progress import Progress
from charlm.training.recording import StopRequestedError, measure, write_samples
from charlm.training.saving import Saver
from charlm.training.schedule import DEFAULT_PATIENCE


class Milestones:
    """Evaluate, write samples, save and end a run.

    Args:
        experiment: the experiment that is trained.
        writer: writes to the run folder.
        position: where this process starts.
        should_stop: called between steps and during long evaluations; the run ends if it returns a word.
    """

    def __init__(
        self, experiment: Experiment, writer: RunWriter, position: Position, should_stop: Callable[[], str | None]
    ) -> None:
        self.experiment, self.writer, self.should_stop = experiment, writer, should_stop
        self.eval_every, self.sample_every = experiment.resolved.eval_every, experiment.resolved.sample_every
        self.word: str | None = None
        paths = writer.run.checkpoint_paths()
        self.is_new = not paths
        num_chars = choice_chars(experiment.settings, experiment.facts.split)
        # A run begun by an older charlm that chose by fewer characters keeps doing so when it is resumed.
        self.chooses = num_chars is not None and (is_enough(num_chars) or are_measured(paths))
        began = time.monotonic() - position.seconds
        self.saver = Saver(experiment, writer, saved=None if self.is_new else position, began=began)

    @property
    def seconds(self) -> float:
        """Seconds since the run began, over all its processes."""
        return self.saver.seconds

    def begin(self, position: Position) -> Position:
        """Save a new run before its first step, so that nothing that happens later can lose it; reopen an ended one.

        A closing evaluation that falls outside the schedule must not choose the best checkpoint of a resumed run.
        """
        is_scheduled = position.progress.step % self.eval_every == 0
        if not self.is_new:
            if position.val_nats_per_char is None or is_scheduled or self._ended_by(position):
                return position
            position = replace(position, val_nats_per_char=None)
        self.saver.save(position)
        return position

    def pass_at(self, position: Position) -> Generator[TrainingEvent, None, Position | NotANumber | None]:
        """Do everything that is due after a step, and yield an event for each.

        Returns:
            The position to continue from; or what was found not to be a number; or None if the run is over.
        Raises:
            StorageError: if the last checkpoint cannot be saved.
        """
        self.word = self.word or self.should_stop()
        # A step's loss belongs to the weights before it; those after the last step are only seen here.
        if self.word:
            if not self.saver.is_saved(position) and not are_weights_finite(self.experiment):
                return after_the_fact(position.progress)
            yield self._stop(position, self.word)
            return None
        step = position.progress.step
        is_scheduled = step % self.eval_every == 0 or step % self.sample_every == 0
        is_record_due = is_scheduled and position.recorded_until < step
        if not is_record_due:
            position = replace(position, recorded_until=step)
        stopped_by = self._ended_by(position)
        is_save_due = not is_record_due and self.saver.is_due(position)
        reads_weights = is_record_due or is_save_due or stopped_by is not None
        if reads_weights and not are_weights_finite(self.experiment):
            return after_the_fact(position.progress)
        try:
            if is_record_due:
                recorded = yield from self._record(position)
                if isinstance(recorded, NotANumber):
                    return recorded
                position = recorded
                stopped_by, is_save_due = self._ended_by(position), self.saver.is_due(position)
            if stopped_by:
                return (yield from self._close(position, stopped_by))
        except StopRequestedError as request:
            yield self._stop(position, request.word)
            return None
        if is_save_due:
            yield from self.saver.try_to_save(position)
        yield from self._look_at_clock(position.progress)
        return position

    def _look_at_clock(self, progress: Progress) -> Iterator[Refit]:
        """Move the end of a run that is kept to its minutes, if the load of the machine has changed."""
        timetable = self.experiment.timetable
        if (last_step := timetable.look(progress, self.seconds)) is None:
            return
        moved = timetable.with_end(progress.step, last_step)
        try:
            # What is not written down must not take effect; the next look comes soon.
            self.writer.change_settings(moved)
        except StorageError:
            return
        before = timetable.last_step
        timetable.move(moved)
        yield Refit(progress.step, before, last_step)

    def _ended_by(self, position: Position) -> str | None:
        return ended_by(self.experiment.timetable.recorded.train, position.progress, self.seconds)

    def _record(self, position: Position) -> Generator[TrainingEvent, None, Position | NotANumber]:
        """Evaluate and write samples if they are scheduled for this step; save a checkpoint after an evaluation."""
        progress = position.progress
        events: list[TrainingEvent] = []
        evaluation = self._evaluate(progress, is_closing=False) if progress.step % self.eval_every == 0 else None
        if isinstance(evaluation, NotANumber):
            return evaluation
        if evaluation is not None:
            progress = self._after_evaluation(progress, evaluation)
            events.append(evaluation)
        if progress.step % self.sample_every == 0:
            events.append(self._write_samples(progress, is_closing=False))
        val = evaluation.val_nats_per_char if evaluation and self.chooses else None
        position = replace(position, progress=progress, recorded_until=progress.step, val_nats_per_char=val)
        if evaluation is not None:
            events += self.saver.try_to_save(position)
        yield from events
        return position

    def _after_evaluation(self, progress: Progress, evaluation: Evaluation) -> Progress:
        patience = self.experiment.settings.optimizer.schedule.patience or DEFAULT_PATIENCE
        progress = progress.after_evaluation(evaluation.val and evaluation.val.main, patience)
        average = self.experiment.average
        return average.after_evaluation(progress, evaluation.val_nats_per_char) if average else progress

    def _stop(self, position: Position, word: str) -> End:
        """Save and end without measuring, because whoever stops a run does not want to wait."""
        if not self.saver.is_saved(position):
            self.saver.save(position)
        interruption = Interruption(stopped_by=word, steps=position.progress.step)
        return End(self.writer.run.path, word, interruption, self.experiment.first_prefix)

    def _close(self, position: Position, stopped_by: str) -> Generator[TrainingEvent, None, NotANumber | None]:
        """Evaluate and write samples unless the last step did so already, save, and measure the best checkpoint.

        What falls outside the schedule leaves the run as it was, so that it can be resumed with a larger budget.
        """
        progress = position.progress
        if progress.step % self.eval_every != 0:
            evaluation = self._evaluate(progress, is_closing=True)
            if isinstance(evaluation, NotANumber):
                return evaluation
            val = evaluation.val_nats_per_char if self.chooses else None
            self.saver.save(replace(position, val_nats_per_char=val))
            yield evaluation
        elif stopped_by == "minutes" or not self.saver.is_saved(position):
            # If the last checkpoint were from before the time was up, resuming would continue a finished run.
            self.saver.save(position)
        if progress.step % self.sample_every != 0:
            yield self._write_samples(progress, is_closing=True)
        best = self.saver.load_best(position)
        summary = close_run(
            self.experiment,
            self.writer.run,
            best,
            progress,
            stopped_by,
            is_chosen=self.chooses,
            seconds=lambda: self.seconds,
            should_stop=self.should_stop,
        )
        self.writer.record_metrics(summary)
        self.saver.finish(best)
        yield End(self.writer.run.path, stopped_by, summary, self.experiment.first_prefix)
        return None

    def _evaluate(self, progress: Progress, *, is_closing: bool) -> Evaluation | NotANumber:
        evaluation = measure(
            self.experiment,
            progress,
            self.seconds,
            chooses=self.chooses,
            is_closing=is_closing,
            should_stop=self.should_stop,
        )
        if evaluation.val is not None and not evaluation.val.is_finite:
            return after_the_fact(progress)
        self.writer.record_metrics(evaluation.as_record())
        return evaluation

    def _write_samples(self, progress: Progress, *, is_closing: bool) -> TrainingEvent:
        samples = write_samples(self.experiment, progress, is_closing=is_closing, should_stop=self.should_stop)
        self.writer.record_samples(samples.as_record())
        return samples
