"""What is the matter with a run, if anything is: one sentence, from what its records tell.

All losses are nats a character. The scale of a loss is what drawing each symbol alike would cost, `uniform`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from charlm.evaluation.assessment import HARDEST
from charlm.runs.choice import MIN_CHOICE_CHARS, choice_chars, is_enough
from charlm.runs.history import History
from charlm.runs.ownership import owner_of
from charlm.runs.records import Diverged
from charlm.runs.run import Run

Kind = Literal["diverged", "worse_than_uniform", "too_short", "overfit", "still_falling", "underfit", "sound"]
# Shares of uniform: a training loss that has risen so far is not noise; so far below validation, it is a memory.
MAX_RISE = 0.15
MAX_GAP = 0.25
BY_HEART = 0.05
# A model begins near uniform: one far above has been thrown there.
THROWN = 1.3
# Of the loss: what a quarter of a run must gain to be called progress, and what must be lost to be called a loss.
PROGRESS = 0.01
BUDGETS = {"epochs": "train.epochs", "max_steps": "train.max_steps", "minutes": "train.minutes"}
LOWER_RATE = "lower optimizer.learning_rate or optimizer.clip_norm"


@dataclass(frozen=True)
class Point:
    """What an evaluation came to.

    Args:
        step: steps taken so far.
        train: of the recent training windows; None where all were skipped.
        val: None without a validation part.
    """

    step: int
    train: float | None
    val: float | None


@dataclass(frozen=True)
class Evidence:
    """What is known of a run.

    Args:
        points: its evaluations, in their order; at least one, or it has diverged.
        num_symbols: of its vocabulary.
        num_val_chars: predicted by each evaluation; None without a validation part.
        train: of the last whole epoch; None before there is one.
        five_gram: what a table of 5-grams makes of the validation part; None where nobody asked.
        val: of the best checkpoint over the whole part; None before the end.
        stopped_by: what ended it; None for a run that has not ended.
        divergence: where it stopped because a loss was not finite.
    """

    points: Sequence[Point]
    num_symbols: int
    num_val_chars: int | None = None
    train: float | None = None
    five_gram: float | None = None
    val: float | None = None
    stopped_by: str | None = None
    divergence: Diverged | None = None

    @property
    def uniform(self) -> float:
        """What drawing each symbol alike costs."""
        return math.log(self.num_symbols)

    @property
    def is_judged(self) -> bool:
        """Whether there is enough validation to judge by."""
        return self.num_val_chars is not None and is_enough(self.num_val_chars)

    @property
    def last_train(self) -> float | None:
        """The training loss of late: of the recent windows, or else of the last epoch."""
        recent = [point.train for point in self.points if point.train is not None]
        return recent[-1] if recent else self.train

    def curve(self) -> list[tuple[int, float]]:
        """Return steps with losses: of validation where there is enough of it, else of training."""
        losses = [(each.step, each.val if self.is_judged else each.train) for each in self.points]
        return [(step, loss) for step, loss in losses if loss is not None]

    def tolerance(self, loss: float) -> float:
        """Return by how much a loss of the curve must change to have changed.

        The costs of a character under two like models differ by half a nat or so: two standard errors of their mean.
        """
        noise = 1 / math.sqrt(self.num_val_chars) if self.is_judged and self.num_val_chars else 0.0
        return max(PROGRESS * loss, noise)


@dataclass(frozen=True)
class Diagnosis:
    """What is the matter: a kind for programs, and a sentence for people that says what to do."""

    kind: Kind
    sentence: str

    @property
    def advice(self) -> str:
        """What to do: the end of the sentence, after its last semicolon; empty for a sound run."""
        return "" if self.kind == "sound" else self.sentence.rpartition("; ")[2]


def diagnose_run(run: Run) -> Diagnosis | None:
    """Return what is the matter with a run; None before there is anything to tell, and for a leaky model.

    Raises:
        CharlmError: where its configuration, environment or records are missing or damaged.
    """
    settings, environment, history = run.settings(), run.environment(), run.history()
    if settings.model.direction == "leaky" or (environment.vocab_size or 0) < 2:
        return None
    num_val_chars = choice_chars(settings, environment.split)
    is_running = owner_of(run.path) is not None
    return diagnose(_evidence(history, environment.vocab_size or 2, num_val_chars, is_running=is_running))


def diagnose(evidence: Evidence) -> Diagnosis | None:
    """Return what is the matter: the first of the kinds, the gravest first, that what is known speaks for.

    >>> falling = [Point(step, loss, loss) for step, loss in ((100, 2.0), (200, 1.5), (300, 1.3), (400, 1.2))]
    >>> diagnose(Evidence(falling, 62, num_val_chars=10_000, stopped_by="epochs")).kind
    'still_falling'
    """
    if not evidence.points and evidence.divergence is None:
        return None
    for judge in (_diverged, _worse_than_uniform, _too_short, _overfit, _still_falling, _underfit):
        if found := judge(evidence):
            return found
    return _sound(evidence)


def _evidence(history: History, num_symbols: int, num_val_chars: int | None, *, is_running: bool) -> Evidence:
    end = history.summary
    val, standing = (end.val, end.val.standing if end.val else None) if end else (None, None)
    five_gram = (standing.baselines or {}).get(HARDEST) if standing else None
    points: list[Point] = []
    for each in history.evaluations:
        recent = each.recent or each.train
        points.append(Point(each.step, recent.nats if recent else None, each.val.nats if each.val else None))
    return Evidence(
        points=points,
        num_symbols=num_symbols,
        num_val_chars=num_val_chars,
        train=history.train.nats if history.train else None,
        five_gram=five_gram * math.log(2) if five_gram is not None else None,
        val=val.nats if val else None,
        stopped_by=end.stopped_by if end and not is_running else None,
        divergence=history.divergence,
    )


def _diverged(evidence: Evidence) -> Diagnosis | None:
    if found := evidence.divergence:
        what = f"the loss was no longer finite at step {found.step:,} with learning rate {found.learning_rate:g}"
        return Diagnosis("diverged", f"diverged: {what}; {LOWER_RATE}")
    curve = [(each.step, each.train) for each in evidence.points if each.train is not None]
    if not curve:
        return None
    (step, lowest), (_, last) = min(curve, key=lambda point: point[1]), curve[-1]
    if not math.isfinite(last) or last - lowest > MAX_RISE * evidence.uniform:
        what = f"the training loss rose from {lowest:.3f} nats at step {step:,} to {last:.3f}"
        return Diagnosis("diverged", f"diverged: {what}; {LOWER_RATE}")
    val = evidence.curve()[-1][1]
    if min(last, val) > THROWN * evidence.uniform:
        what = f"a character costs {last:.3f} nats, where drawing each symbol alike costs {evidence.uniform:.3f}"
        return Diagnosis("diverged", f"diverged: {what}; {LOWER_RATE}")
    return None


def _worse_than_uniform(evidence: Evidence) -> Diagnosis | None:
    curve = evidence.curve()
    loss = evidence.last_train if evidence.last_train is not None else curve[-1][1] if curve else None
    # What has learned nothing stays a hair below.
    if loss is None or min([loss, *(last for _, last in curve[-1:])]) < (1 - PROGRESS) * evidence.uniform:
        return None
    step, best = min(curve, key=lambda point: point[1], default=(0, loss))
    if best < (1 - PROGRESS) * evidence.uniform:
        what = f"it had come to {best:.3f} nats a character at step {step:,} and is at {loss:.3f}, worse than uniform"
        return Diagnosis("diverged", f"diverged: {what}; {LOWER_RATE}")
    word = "worse" if loss >= evidence.uniform else "no better"
    return Diagnosis(
        "worse_than_uniform",
        f"{word} than uniform: a character costs {loss:.3f} nats, and drawing each of the {evidence.num_symbols:,} "
        f"symbols alike {evidence.uniform:.3f}; try another optimizer.learning_rate, or more steps",
    )


def _too_short(evidence: Evidence) -> Diagnosis | None:
    if evidence.num_val_chars is None or evidence.is_judged:
        return None
    train, by_heart = evidence.last_train, ""
    if train is not None and train < BY_HEART * evidence.uniform:
        by_heart = f", and its training text is learned by heart ({train:.3f} nats)"
    return Diagnosis(
        "too_short",
        f"too short a text to judge: validation is {evidence.num_val_chars:,} predicted "
        f"character{'' if evidence.num_val_chars == 1 else 's'} and a judgement takes {MIN_CHOICE_CHARS}{by_heart}; "
        "give more text, or more of it to validation (corpus.split)",
    )


def _overfit(evidence: Evidence) -> Diagnosis | None:
    if not evidence.is_judged:
        return None
    measured = [point for point in evidence.points if point.val is not None]
    best, last = min(measured, key=lambda point: point.val or 0.0, default=None), measured[-1] if measured else None
    if best is None or last is None or best.val is None or last.val is None:
        return None
    remedy = "stop earlier (train.early_stopping), raise model.dropout, or use more text"
    if last.val - best.val > evidence.tolerance(best.val):
        rose = f"validation rose from {best.val:.3f} to {last.val:.3f} nats"
        if last.train is not None and best.train is not None and last.train >= best.train:
            what = f"{rose} since step {best.step:,}, and training from {best.train:.3f} to {last.train:.3f}"
            return Diagnosis("diverged", f"diverged: {what}; {LOWER_RATE}")
        fell = "" if last.train is None else f" while training fell to {last.train:.3f}"
        what = f"overfit since step {best.step:,}: {rose}{fell}, so that the text is being learned by heart"
        return Diagnosis("overfit", f"{what}; {remedy}")
    if last.train is not None and last.val - last.train > MAX_GAP * evidence.uniform:
        what = f"overfit: validation costs {last.val:.3f} nats and training {last.train:.3f}, which is learned by heart"
        return Diagnosis("overfit", f"{what}; {remedy}")
    return None


def _still_falling(evidence: Evidence) -> Diagnosis | None:
    curve = evidence.curve()
    tolerance = evidence.tolerance(curve[-1][1]) if curve else 0.0
    return _fallen(curve, "validation" if evidence.is_judged else "training", tolerance, evidence.stopped_by)


def _fallen(curve: Sequence[tuple[int, float]], of: str, tolerance: float, stopped_by: str | None) -> Diagnosis | None:
    """Return that a curve has fallen over the last quarter of its steps, or since the evaluation before that."""
    if len(curve) < 2 or stopped_by == "early_stopping":
        return None
    end, last = curve[-1]
    begin, loss = [curve[0], *(point for point in curve if point[0] <= 0.75 * end)][-1]
    num_quarters = max(1.0, (end - begin) / (0.25 * end))
    if loss - last <= max(tolerance, PROGRESS * last * num_quarters):
        return None
    what = f"{of} went from {loss:.3f} nats at step {begin:,} to {last:.3f} at step {end:,}"
    if stopped_by is None:
        return Diagnosis("still_falling", f"still falling: {what}; let it go on")
    key = BUDGETS.get(stopped_by, "train.epochs")
    return Diagnosis("still_falling", f"still falling when it ended: {what}; train longer ({key})")


def _underfit(evidence: Evidence) -> Diagnosis | None:
    if not evidence.is_judged or evidence.val is None or evidence.five_gram is None:
        return None
    if evidence.val < evidence.five_gram:
        return None
    # A validation part of a few hundred characters may hide in its noise what training tells.
    trained = [(each.step, each.train) for each in evidence.points if each.train is not None]
    if falling := _fallen(trained, "training", 0.0, evidence.stopped_by):
        return falling
    if len(evidence.points) == 1 and (key := BUDGETS.get(evidence.stopped_by or "")):
        # One point is no curve: nothing says that it has settled.
        what = f"validation is at {evidence.val:.3f} nats, a table of 5-grams at {evidence.five_gram:.3f}"
        return Diagnosis("still_falling", f"measured only once: {what}; train longer ({key})")
    return Diagnosis(
        "underfit",
        f"settled too high: validation is at {evidence.val:.3f} nats, a table of 5-grams at {evidence.five_gram:.3f}; "
        "try a larger model (model.hidden_size, num_layers) or another optimizer.learning_rate",
    )


def _sound(evidence: Evidence) -> Diagnosis:
    _, last = evidence.curve()[-1] if evidence.curve() else (0, evidence.train or 0.0)
    if not evidence.is_judged:
        what = f"training has settled at {last:.3f} nats; without a validation part nothing tells of any other text"
        return Diagnosis("sound", f"sound: {what}")
    beats = "" if evidence.five_gram is None else f", below a table of 5-grams at {evidence.five_gram:.3f}"
    loss = last if evidence.val is None else evidence.val
    return Diagnosis("sound", f"sound: validation has settled at {loss:.3f} nats{beats}")
