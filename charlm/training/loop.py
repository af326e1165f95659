"""The training loop and nothing else: the learning rate, a step, and what is due between two steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from charlm.runs.writer import RunWriter
from charlm.training.batches import read_batches
from charlm.training.divergence import NotANumber, Recovery, worst_text
from charlm.training.events import Start, Step, TrainingEvent
from charlm.training.experiment import Experiment
from charlm.training.milestones import Milestones
from charlm.training.position import Position
from charlm.training.step import take_step


def run_training(
    experiment: Experiment,
    writer: RunWriter,
    position: Position,
    *,
    should_stop: Callable[[], str | None] = lambda: None,
    note: str | None = None,
) -> Iterator[TrainingEvent]:
    """Train from a position until the first budget is reached, and yield an event for everything that happens.

    Args:
        experiment: from `prepare`, with network and optimiser as they were at the position.
        writer: writes metrics, samples and checkpoints to the run folder.
        position: where the run starts: at its beginning, or where a checkpoint was saved.
        should_stop: called after each step and during long evaluations; if it returns a word such as `interrupt`, a
            checkpoint is saved and the run ends.
        note: what a person should know about resuming here.
    Raises:
        DivergedError: if a loss, gradient or weight is not finite and `train.on_divergence` does not allow the run to
            continue; such a model is not saved.
        StorageError: if the last checkpoint could not be saved; earlier ones stay.
        RunInUseError: if another process has taken over the folder.
    """
    minutes = experiment.settings.train.minutes
    resumed_at = position.progress.step if writer.run.checkpoint_paths() else None
    milestones = Milestones(experiment, writer, position, should_stop)
    planned, plan = experiment.timetable.last_step, experiment.timetable.plan
    notices, precision = experiment.notices, experiment.settings.train.precision
    yield Start(writer.run.path, experiment.facts, planned, minutes, resumed_at, note, notices, plan, precision)
    try:
        yield from _train(experiment, milestones, Recovery(experiment, writer), milestones.begin(position))
    finally:
        # The folder may not be the one that the run began in.
        writer.close()


def _train(
    experiment: Experiment, milestones: Milestones, recovery: Recovery, position: Position
) -> Iterator[TrainingEvent]:
    settings, steps_per_epoch = experiment.settings, experiment.resolved.steps_per_epoch
    timetable = experiment.timetable
    network, optimizer, average = experiment.network, experiment.optimizer, experiment.average
    batches = read_batches(experiment, position.progress)
    while True:
        # Evaluate, write samples, save and end, each where it is due.
        passed = yield from milestones.pass_at(position)
        if passed is None:
            return
        if isinstance(passed, Position):
            position, progress, batch = passed, passed.progress, next(batches)
            rate = timetable.learning_rate(progress)
            state = position.state if batch.epoch_step > 0 else network.initial_state(settings.sampling.batch_size)
            blend = average.next_blend(progress) if average else None
            began = time.monotonic()
            outcome = take_step(
                network,
                optimizer,
                batch.windows,
                state,
                settings=settings,
                step=progress.step,
                learning_rate=rate,
                blend=blend,
            )
            seconds, figures, norm = time.monotonic() - began, outcome.figures, outcome.gradient_norm
            if outcome.is_finite:
                progress = progress.after_step(
                    figures, steps_per_epoch=steps_per_epoch, seconds=seconds, learning_rate=rate, gradient_norm=norm
                )
                if average and blend:
                    progress = average.after_step(progress)
                position = Position(progress, outcome.state, position.recorded_until)
                yield Step(progress.step, batch.epoch + 1, milestones.seconds, seconds, figures, norm, rate)
                continue
            passed = NotANumber(progress.step + 1, rate, norm, worst_text(experiment, batch.windows, state))
        # A loss, gradient or weight is not a number: skip the step, or go back.
        position, divergence = recovery.recover(position, passed)
        batches = read_batches(experiment, position.progress)
        yield divergence
