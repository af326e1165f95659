"""A loss, gradient or weight that is not a number: what is said of it, and how the run goes on."""

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

SHOWN_CHARS = 60
MAX_SKIPS_IN_A_ROW = 10


@dataclass(frozen=True)
class NotANumber:
    """A step whose loss, gradient or weights are no numbers.

    Args:
        step: which, from 1.
        learning_rate: that it used.
        gradient_norm: before clipping.
        text: that cost too much; None where the step itself made the weights so, which is too late to leave it out.
    """

    step: int
    learning_rate: float
    gradient_norm: float
    text: str | None

    @property
    def sentence(self) -> str:
        """At which step, learning rate and gradient norm, and in which text."""
        where = f"in the text {self.text!r}" if self.text is not None else "that step itself made the weights so"
        return (
            f"the loss is no longer finite at step {self.step:,} with learning rate {self.learning_rate:g} and "
            f"gradient norm {self.gradient_norm:g}: {where}"
        )

    def as_record(self) -> Diverged:
        """Return what metrics.jsonl holds of it, where the run ends by it."""
        norm = self.gradient_norm if math.isfinite(self.gradient_norm) else None
        return Diverged(kind="diverged", step=self.step, learning_rate=self.learning_rate, gradient_norm=norm)


def after_the_fact(progress: Progress) -> NotANumber:
    """Return what the last step did, where its loss was a number and the weights that it made are none."""
    return NotANumber(progress.step, progress.learning_rate, progress.gradient_norm, text=None)


class Recovery:
    """Leave out a step that is not a number, go back to a checkpoint, or end the run, as the settings say.

    Args:
        experiment: that is trained.
        writer: of its run.
    """

    def __init__(self, experiment: Experiment, writer: RunWriter) -> None:
        self.experiment, self.writer = experiment, writer

    def recover(self, position: Position, found: NotANumber) -> tuple[Position, Divergence]:
        """Return where the run goes on.

        Raises:
            DivergedError: where the settings ask for no more; the run's records tell it.
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
            kept += f"; the run does not tell that it has diverged: {error}"
        raise DivergedError(f"{found.sentence}; {advice}; {kept}")

    def _skip(self, position: Position) -> Position:
        progress = position.progress.after_step(
            None,
            steps_per_epoch=self.experiment.resolved.steps_per_epoch,
            seconds=0.0,
            learning_rate=0.0,
            gradient_norm=0.0,
        )
        # What the window left behind may be no numbers either: the next one starts as an epoch does.
        state = self.experiment.network.initial_state(self.experiment.settings.sampling.batch_size)
        return Position(progress, detach_state(state), position.recorded_until)

    def _roll_back(self, num_rollbacks: int, *, before: int) -> Position:
        """Go back to the last scheduled checkpoint before a step: others are there by the clock, and decide nothing."""
        eval_every = self.experiment.resolved.eval_every
        steps = [step_of(path) for path in self.writer.run.checkpoint_paths()]
        good = max((step for step in steps if step < before and step % eval_every == 0), default=min(steps))
        back = restore_position(self.experiment, load_checkpoint(self.writer.run, good))
        # In this order: killed in between, the run finds more records than checkpoints, never fewer.
        self.writer.remove_later(back.progress.step)
        self.writer.cut_records(back.recorded_until)
        return replace(back, progress=replace(back.progress, num_rollbacks=num_rollbacks))


def worst_text(experiment: Experiment, windows: Sequence[Window], state: State) -> str:
    """Return the beginning of the stream that cost most, the first that is not a number before all others.

    Args:
        windows: of a step, in order; the weights are still those that read them.
        state: that the first of them started from.
    """
    settings, network = experiment.settings, experiment.network
    worst, text = -float("inf"), windows[0].inputs[:, 0]
    with torch.no_grad():
        for window in windows:
            if settings.sampling.method == "random":
                state = network.initial_state(settings.sampling.batch_size)
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
    """Return what each stream of a window cost, (B,)."""
    costs = cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return costs.view(targets.shape).mean(0)
