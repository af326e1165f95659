"""When a run with fit_minutes ends: the steps that fit into the time, and how its end moves with the machine's load.

The clock decides nothing that is not written down: the number of steps before the first of them, and each later change,
a refit, before it takes effect. A run that is given the whole list therefore has the same bits on any machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from charlm.settings.schema import Settings
from charlm.settings.training import RefitSetting
from charlm.training.budget import planned_steps
from charlm.training.events import Plan
from charlm.training.progress import Progress
from charlm.training.schedule import learning_rate_at

# The share of the planned steps between two looks at the clock.
LOOK = 0.04
# A run that would end later or earlier than this share of its time is fitted anew. Each time the share grows: a small
# correction leaves room for one of a load that changes much, and a restless machine moves the end a few times only.
TOLERANCE, GROWTH = 0.07, 1.5
# How many looks in a row must agree, so that a hiccup decides nothing.
AGREEING_LOOKS = 2
# So late, nothing is changed any more: the learning rate is nearly zero.
LAST_SHARE = 0.04
# The fewest steps to end with, as a share of the plan, even if the time is up: the learning rate needs them.
SHORTEST_END = 0.02


@dataclass(frozen=True)
class Pace:
    """How fast this machine trains, in seconds.

    Args:
        step: one training step.
        evaluation: one evaluation, with its checkpoint.
        closing: everything after the last step.
    """

    step: float
    evaluation: float = 0.0
    closing: float = 0.0

    def under_load(self, step: float) -> Pace:
        """Return the pace when a step takes so long; everything else is slowed down alike."""
        load = step / self.step
        return Pace(step, self.evaluation * load, self.closing * load)

    def seconds_of(self, num_steps: int, eval_every: int) -> float:
        """Return how long so many steps take with their evaluations, and the closing after them."""
        return self.closing + num_steps * (self.step + self.evaluation / eval_every)

    def steps_within(self, seconds: float, eval_every: int) -> int:
        """Return how many steps fit, at least one."""
        return max(1, int((seconds - self.closing) / (self.step + self.evaluation / eval_every)))


@dataclass
class Timetable:
    """The end of a run: fixed, or kept to its minutes.

    Args:
        settings: the resolved settings.
        steps_per_epoch: steps in one pass over the training split.
        pace: what was measured before the first step; None if nothing was.
        seconds: how long the run may take from its first step on; None for a run whose end is fixed.
        recorded: the settings with the changes so far, as config.yaml holds them.
    """

    settings: Settings
    steps_per_epoch: int
    pace: Pace | None = None
    seconds: float | None = None
    recorded: Settings = field(init=False)
    _last_look: tuple[int, float] | None = field(default=None, init=False)
    _num_agreeing: int = field(default=0, init=False)
    _num_moved: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.recorded = self.settings

    @property
    def refits(self) -> tuple[RefitSetting, ...]:
        """The changes so far, as pairs of a step and the new last step."""
        return self.recorded.train.refits

    @property
    def last_step(self) -> int | None:
        """The step that epochs or max_steps end the run after; None if only minutes do."""
        return planned_steps(self.recorded.train, self.steps_per_epoch)

    @property
    def plan(self) -> Plan | None:
        """What the run does and how long it takes; None if its speed was not measured."""
        return self.pace and plan_of(self.recorded, self.steps_per_epoch, self.pace)

    def learning_rate(self, progress: Progress) -> float:
        """Return the learning rate of the next step."""
        rate = learning_rate_at(
            progress.step,
            self.settings.optimizer,
            steps_per_epoch=self.steps_per_epoch,
            num_plateaus=progress.num_plateaus,
            refits=self.refits,
        )
        return rate * 0.5**progress.num_rollbacks

    def look(self, progress: Progress, seconds: float) -> int | None:
        """Look at the clock between two steps, and return the new last step if the end has to move.

        Args:
            progress: how far the run is.
            seconds: since its first step, with evaluations.
        """
        last_step = self.last_step
        if self.pace is None or self.seconds is None or last_step is None:
            return None
        step, trained = progress.step, progress.whole.seconds
        if self._last_look is None or step < self._last_look[0]:
            self._last_look = (step, trained)
        since, trained_then = self._last_look
        if step - since < max(1, int(LOOK * last_step)) or last_step - step < LAST_SHARE * last_step:
            return None
        self._last_look = (step, trained)
        pace = self.pace.under_load((trained - trained_then) / (step - since))
        off = pace.seconds_of(last_step - step, self._eval_every) - (self.seconds - seconds)
        is_off = abs(off) > TOLERANCE * GROWTH**self._num_moved * self.seconds
        self._num_agreeing = self._num_agreeing + 1 if is_off else 0
        return self._end(progress, seconds, pace) if self._num_agreeing >= AGREEING_LOOKS else None

    def fit_anew(self, progress: Progress, seconds: float) -> None:
        """Move the end of a run that is resumed with other minutes."""
        if self.pace is not None and (last_step := self._end(progress, seconds, self.pace)) is not None:
            self.move(self.with_end(progress.step, last_step))

    def with_end(self, step: int, last_step: int) -> Settings:
        """Return the settings to record when the end is moved at a step; what was decided for later ones is void."""
        before = [refit for refit in self.refits if refit[0] < step]
        return self.recorded.replaced({"train.refits": (*before, (step, last_step))})

    def move(self, recorded: Settings) -> None:
        """Let the settings from `with_end` take effect."""
        self.recorded, self._num_agreeing, self._num_moved = recorded, 0, self._num_moved + 1

    def _end(self, progress: Progress, seconds: float, pace: Pace) -> int | None:
        last_step = self.last_step
        assert self.seconds is not None
        assert last_step is not None
        fitting = pace.steps_within(self.seconds - seconds, self._eval_every)
        end = progress.step + max(fitting, int(SHORTEST_END * last_step))
        return end if end != last_step else None

    @property
    def _eval_every(self) -> int:
        return self.settings.train.eval_every.in_steps(self.steps_per_epoch)


def plan_of(settings: Settings, steps_per_epoch: int, pace: Pace) -> Plan | None:
    """Return what a run does and how long it takes at a pace; None if nothing but a clock ends it.

    Args:
        settings: the resolved settings.
        steps_per_epoch: steps in one pass over the training split.
        pace: the measured speed.
    """
    train, sampling, model = settings.train, settings.sampling, settings.model
    if (steps := planned_steps(train, steps_per_epoch)) is None:
        return None
    return Plan(
        is_automatic=train.recipe is not None,
        network=f"{model.cell} of {model.num_layers} x {model.hidden_size} units",
        steps=steps,
        epochs=steps / steps_per_epoch,
        minutes=train.fit_minutes or pace.seconds_of(steps, train.eval_every.in_steps(steps_per_epoch)) / 60,
        is_fitted=train.fit_minutes is not None,
        chars_per_second=sampling.batch_size * sampling.seq_len * settings.optimizer.accumulation / pace.step,
    )
