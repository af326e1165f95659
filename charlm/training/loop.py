"""The training loop, and nothing else: it yields reports and writes the run folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import count, islice
from typing import TypeVar

from torch import Tensor

from charlm.errors import DivergedError
from charlm.evaluation.reading import evaluate
from charlm.generation.filters import Filters
from charlm.generation.sampling import sample_text, writing_half
from charlm.networks.recurrent import State
from charlm.runs.checkpoints import Checkpoint, save_checkpoint
from charlm.runs.folder import Run
from charlm.text.windows import Window, cut_windows, window_starts
from charlm.training.closing import close_run
from charlm.training.experiment import Experiment
from charlm.training.progress import Progress
from charlm.training.reports import Evaluation, Report, Samples, Start, Step
from charlm.training.schedule import DEFAULT_PATIENCE, learning_rate_at, planned_steps
from charlm.training.step import take_step

BUDGETS = ("epochs", "max_steps", "minutes")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Batch:
    """What one step reads: its epoch from 0, its place in it, and its windows."""

    epoch: int
    epoch_step: int
    windows: list[Window]


def run_training(
    experiment: Experiment, run: Run, *, should_stop: Callable[[], str | None] = lambda: None
) -> Iterator[Report]:
    """Train until the first budget is reached, yielding a report for whatever happens.

    Args:
        experiment: from `prepare`.
        run: the folder that metrics, samples and checkpoints go to.
        should_stop: asked after each step; a word such as `interrupt` saves a checkpoint and ends the run.
    Raises:
        DivergedError: for a loss, gradient or weight that is not finite; such a model is not saved.
        StorageError: where the run folder cannot be written; earlier checkpoints stay.
    """
    settings, steps_per_epoch = experiment.settings, experiment.steps_per_epoch
    planned = planned_steps(settings, steps_per_epoch)
    yield Start(run.path, experiment.facts, planned, settings.train.minutes)
    eval_period = settings.train.eval_every.in_steps(steps_per_epoch)
    sample_period = settings.sample.every.in_steps(steps_per_epoch)
    began = time.monotonic()
    progress, state, samples = Progress(), experiment.network.zero_state(settings.sampling.batch_size), None
    for batch in read_batches(experiment):
        if batch.epoch_step == 0:
            state = experiment.network.zero_state(settings.sampling.batch_size)
        report, state = _step(experiment, run, progress, batch, state, began)
        progress = progress.after_step(report.figures, report.step_seconds, steps_per_epoch)
        yield report
        stopped_by = should_stop() or _budget_reached(experiment, progress, report.seconds)
        if progress.step % eval_period == 0 or stopped_by in BUDGETS:
            evaluation = _evaluate(experiment, run, progress, report)
            progress = progress.after_evaluation(evaluation.val and evaluation.val.main, _patience(experiment))
            run.record_metrics(evaluation.as_record())
            save_checkpoint(run, _checkpoint(experiment, progress, state, evaluation))
            yield evaluation
            stopped_by = stopped_by or _stopped_early(experiment, progress)
        elif stopped_by:
            save_checkpoint(run, _checkpoint(experiment, progress, state, None))
        if progress.step % sample_period == 0 or stopped_by in (*BUDGETS, "early_stopping"):
            samples = _write_samples(experiment, progress)
            run.record_samples(samples.as_record())
            yield samples
        if stopped_by:
            yield close_run(experiment, run, progress, stopped_by, samples, time.monotonic() - began)
            return


def read_batches(experiment: Experiment) -> Iterator[Batch]:
    """Yield the batches of epoch after epoch, without end; a pure function of (seed, epoch, step)."""
    sampling, ids = experiment.settings.sampling, experiment.split.train.ids
    lookahead = experiment.settings.model.lookahead
    for epoch in count():
        seed = experiment.settings.train.seed
        starts = window_starts(len(ids), sampling, seed=seed, epoch=epoch, lookahead=lookahead)
        windows = cut_windows(ids, starts, sampling.seq_len, lookahead)
        for epoch_step, group in enumerate(_grouped(windows, experiment.settings.optimizer.accumulation)):
            yield Batch(epoch, epoch_step, group)


def _step(
    experiment: Experiment, run: Run, progress: Progress, batch: Batch, state: State, began: float
) -> tuple[Step, State]:
    rate = learning_rate_at(
        progress.step,
        experiment.settings.optimizer,
        steps_per_epoch=experiment.steps_per_epoch,
        num_plateaus=progress.num_plateaus,
    )
    step_began = time.monotonic()
    outcome = take_step(
        experiment.network,
        experiment.optimizer,
        batch.windows,
        state,
        settings=experiment.settings,
        step=progress.step,
        learning_rate=rate,
    )
    now = time.monotonic()
    if not outcome.is_finite:
        raise _diverged(run, progress.step + 1, rate)
    report = Step(
        step=progress.step + 1,
        epoch=batch.epoch + 1,
        seconds=now - began,
        step_seconds=now - step_began,
        figures=outcome.figures,
        gradient_norm=outcome.gradient_norm,
        learning_rate=rate,
    )
    return report, outcome.state


def _diverged(run: Run, step: int, learning_rate: float) -> DivergedError:
    paths = run.checkpoint_paths()
    kept = f"the last good checkpoint is {paths[-1]}" if paths else "there is no checkpoint yet"
    return DivergedError(
        f"the loss is no longer finite at step {step:,} with learning rate {learning_rate:g}: lower "
        f"optimizer.learning_rate or optimizer.clip_norm; {kept}"
    )


def _evaluate(experiment: Experiment, run: Run, progress: Progress, report: Step) -> Evaluation:
    settings, val_part = experiment.settings, experiment.split.val
    val = evaluate(experiment.network, val_part.ids, max_chars=settings.eval.max_chars) if val_part else None
    # A step's loss is of the weights before it: those after the last step are only seen here.
    are_weights_finite = all(bool(weight.isfinite().all()) for weight in experiment.network.parameters())
    if not are_weights_finite or (val is not None and not val.is_finite):
        raise _diverged(run, progress.step, report.learning_rate)
    recent, last_epoch = progress.since_report, progress.last_epoch
    assert recent.figures is not None
    return Evaluation(
        step=progress.step,
        epoch=report.epoch,
        seconds=report.seconds,
        chars_seen=progress.whole.chars,
        train=recent.figures,
        val=val,
        is_partial=val_part is not None and len(val_part.ids) > settings.eval.max_chars,
        is_best=val is not None and (progress.best_val is None or val.main.nats_per_char < progress.best_val),
        learning_rate=report.learning_rate,
        gradient_norm=report.gradient_norm,
        chars_per_second=recent.chars / recent.seconds,
        epoch_seconds=last_epoch.seconds if last_epoch else None,
    )


def _write_samples(experiment: Experiment, progress: Progress) -> Samples:
    settings, network = experiment.settings, experiment.network
    is_backward = settings.model.direction == "backward"
    was_training = network.training
    continuations = [
        "".join(
            sample_text(
                writing_half(network),
                experiment.vocabulary,
                ids[::-1] if is_backward else ids,
                sample=number,
                # Other draws at each step, none of them from the generators of training.
                seed=settings.train.seed + progress.step,
                length=settings.sample.length,
                filters=Filters(temperature=settings.sample.temperature),
            )
        )[:: -1 if is_backward else 1]
        for number, (_, ids) in enumerate(experiment.prefixes)
    ]
    network.train(was_training)
    prefixes = tuple(text for text, _ in experiment.prefixes)
    return Samples(progress.step, progress.epoch, prefixes, tuple(continuations), is_backward)


def _checkpoint(experiment: Experiment, progress: Progress, state: State, evaluation: Evaluation | None) -> Checkpoint:
    moments = experiment.optimizer.state_dict()["state"]
    training = {
        f"optimizer.{index}.{name}": value
        for index, slot in moments.items()
        for name, value in slot.items()
        if isinstance(value, Tensor)
    }
    training |= {f"state.{index}": part for index, part in enumerate(state)}
    val = evaluation.val if evaluation else None
    return Checkpoint(
        step=progress.step,
        settings=experiment.settings,
        vocabulary=experiment.vocabulary,
        model=experiment.network.state_dict(),
        training=training,
        state={"val_nats_per_char": val.main.nats_per_char if val else None, "progress": asdict(progress)},
    )


def _budget_reached(experiment: Experiment, progress: Progress, seconds: float) -> str | None:
    train = experiment.settings.train
    if train.epochs is not None and progress.epoch >= train.epochs:
        return "epochs"
    if train.max_steps is not None and progress.step >= train.max_steps:
        return "max_steps"
    return "minutes" if train.minutes is not None and seconds >= 60 * train.minutes else None


def _stopped_early(experiment: Experiment, progress: Progress) -> str | None:
    patience = experiment.settings.train.early_stopping
    return "early_stopping" if patience is not None and progress.num_without_improvement >= patience else None


def _patience(experiment: Experiment) -> int:
    return experiment.settings.optimizer.schedule.patience or DEFAULT_PATIENCE


def _grouped(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group
