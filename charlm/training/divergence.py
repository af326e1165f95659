"""A loss, gradient or weight that is not a number: how it is reported, and how the run continues."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from charlm.errors import DivergedError, StorageError
from charlm.networks.inputs import as_tensor
from charlm.networks.recurrent import State, detach_state
from charlm.runs.checkpoints import load_checkpoint, step_of
from charlm.runs.records import Diverged
from charlm.runs.writer import RunWriter
from charlm.text.windows import Window
from charlm.training.events import Divergence
from charlm.training.experiment import Experiment
from charlm.training.position import Position, restore_position
from charlm.training.progress import Progress
from charlm.training.step import state_before

SHOWN_CHARS = 60
MAX_SKIPS_IN_A_ROW = 10


@dataclass(frozen=True)
class NotANumber:
    """A step whose loss, gradient or weights are not numbers.

    Args:
        step: its number, from 1.
        learning_rate: the rate it used.
        gradient_norm: the norm before clipping.
        text: the text that cost too much; None if the step itself spoilt the weights, so that skipping is too late.
    """

    step: int
    learning_rate: float
    gradient_norm: float
    text: str | None

    @property
    def sentence(self) -> str:
        """One sentence with the step, the learning rate, the gradient norm and the text."""
        where = f"in the text {self.text!r}" if self.text is not None else "that step itself made the weights so"
        return (
            f"the loss is no longer finite at step {self.step:,} with learning rate {self.learning_rate:g} and "
            f"gradient norm {self.gradient_norm:g}: {where}"
        )

    def as_record(self) -> Diverged:
        """Return the line that metrics.jsonl gets if this ends the run."""
        norm = self.gradient_norm if math.isfinite(self.gradient_norm) else None
        return Diverged(kind="diverged", step=self.step, learning_rate=self.learning_rate, gradient_norm=norm)


def after_the_fact(progress: Progress) -> NotANumber:
    """Describe a last step whose loss was a number but whose resulting weights are not."""
    return NotANumber(progress.step, progress.learning_rate, progress.gradient_norm, text=None)


class Recovery:
    """Skip a step that is not a number, go back to a checkpoint, or end the run, as the settings say.

    Args:
        experiment: the experiment that is trained.
        writer: writes to its run folder.
    """

    def __init__(self, experiment: Experiment, writer: RunWriter) -> None:
        self.experiment, self.writer = experiment, writer

    def recover(self, position: Position, found: NotANumber) -> tuple[Position, Divergence]:
        """Return the position from which the run continues, and the event to report.

        Raises:
            DivergedError: if the settings allow no further attempt; the run's records mention it.
        """
        train, progress = self.experiment.settings.train, position.progress
        is_in_time = found.text is not None and progress.num_skipped_in_a_row < MAX_SKIPS_IN_A_ROW
        if train.on_divergence == "skip" and is_in_time:
            return self._skip(position), Divergence(found.step, "skipped", found.sentence)
        if train.on_divergence == "rollback" and progress.num_rollbacks < train.max_rollbacks:
            back = self._roll_back(progress.num_rollbacks + 1, before=found.step)
            factor = 0.5**back.progress.num_rollbacks
            went_on = f"rolled back to step {back.progress.step:,}, learning rate times {factor:g}"
            return back, Divergence(found.step, went_on, found.sentence)
        paths = self.writer.run.checkpoint_paths()
        kept = f"the last good checkpoint is {paths[-1]}" if paths else "there is no checkpoint yet"
        advice = "lower optimizer.learning_rate or optimizer.clip_norm"
        self.writer.record_metrics(found.as_record())
        try:
            self.writer.flush()
        except StorageError as error:
            kept += f"; the divergence could not be written to the run's records: {error}"
        raise DivergedError(f"{found.sentence}; {advice}; {kept}")

    def _skip(self, position: Position) -> Position:
        progress = position.progress.after_step(
            None,
            steps_per_epoch=self.experiment.resolved.steps_per_epoch,
            seconds=0.0,
            learning_rate=0.0,
            gradient_norm=0.0,
        )
        # The state after this window may not be numbers either, so the next window starts as an epoch does.
        state = self.experiment.network.initial_state(self.experiment.settings.sampling.batch_size)
        return Position(progress, detach_state(state), position.recorded_until)

    def _roll_back(self, num_rollbacks: int, *, before: int) -> Position:
        """Go back to the last scheduled checkpoint before a step; those saved by the clock must not decide anything."""
        eval_every = self.experiment.resolved.eval_every
        steps = [step_of(path) for path in self.writer.run.checkpoint_paths()]
        good = max((step for step in steps if step < before and step % eval_every == 0), default=min(steps))
        back = restore_position(self.experiment, load_checkpoint(self.writer.run, good))
        # In this order, so that a run killed in between finds more records than checkpoints, never fewer.
        self.writer.remove_later(back.progress.step)
        self.writer.cut_records(back.recorded_until)
        return replace(back, progress=replace(back.progress, num_rollbacks=num_rollbacks))


def worst_text(experiment: Experiment, windows: Sequence[Window], state: State) -> str:
    """Return the beginning of the stream with the highest loss; a loss that is not a number counts as the highest.

    Args:
        windows: a step's windows, in order; the weights are still those that read them.
        state: the state that the first of them started from.
    """
    settings, network = experiment.settings, experiment.network
    worst, text = -float("inf"), windows[0].inputs[:, 0]
    with torch.no_grad():
        for window in windows:
            state = state_before(window, state, network, settings)
            inputs, targets, beyond = (
                as_tensor(ids, network) for ids in (window.inputs, window.targets, window.beyond)
            )
            readouts = network.read_window(inputs, targets, beyond, state)
            state = readouts.state
            costs = _stream_costs(readouts.forward, targets).nan_to_num(nan=float("inf"), posinf=float("inf"))
            stream = int(costs.argmax())
            if float(costs[stream]) > worst:
                worst, text = float(costs[stream]), window.inputs[:, stream]
    return experiment.vocabulary.decode(text[:SHOWN_CHARS])


def _stream_costs(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean loss of each stream of a window, (B,)."""
    costs = cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return costs.view(targets.shape).mean(0)
