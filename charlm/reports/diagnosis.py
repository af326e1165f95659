"""Diagnose a run from its records, in one sentence.

All losses are in nats per character. They are judged relative to `uniform`, the cost of choosing every symbol with the
same probability.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from charlm.evaluation.baselines import best_ngram
from charlm.runs.choice import MIN_CHOICE_CHARS, choice_chars, is_enough
from charlm.runs.history import History
from charlm.runs.ownership import owner_of
from charlm.runs.records import Diverged
from charlm.runs.run import Run

Kind = Literal["diverged", "worse_than_uniform", "too_short", "overfit", "still_falling", "underfit", "sound"]
# Shares of uniform: a training loss that has risen by the first is not noise; one that is below validation by the
# second, or below uniform by the third, shows memorised text.
MAX_RISE = 0.15
MAX_GAP = 0.25
BY_HEART = 0.05
# A model begins near uniform, so a loss far above it means that training went wrong.
THROWN = 1.3
# Shares of the loss: how much a quarter of a run must gain to count as progress, and how much worse counts as worse.
PROGRESS = 0.01
BUDGETS = {name: f"train.{name}" for name in ("epochs", "max_steps", "minutes", "fit_minutes")}
LOWER_RATE = "lower optimizer.learning_rate or optimizer.clip_norm"


@dataclass(frozen=True)
class Point:
    """The losses of one evaluation.

    Args:
        step: number of steps taken so far.
        train: loss on the recent training windows; None if all of them were skipped.
        val: validation loss; None without a validation split.
    """

    step: int
    train: float | None
    val: float | None


@dataclass(frozen=True)
class Evidence:
    """What is known about a run.

    Args:
        points: its evaluations in order; at least one, unless it has diverged.
        num_symbols: number of symbols in its vocabulary.
        num_val_chars: number of characters predicted by each evaluation; None without a validation split.
        train: loss of the last complete epoch; None before there is one.
        ngram: name and loss of the best n-gram on the validation split; None if none was measured.
        val: loss of the best checkpoint on the whole validation split; None before the end.
        stopped_by: what ended the run; None if it has not ended.
        divergence: where the run stopped because a loss was not finite.
    """

    points: Sequence[Point]
    num_symbols: int
    num_val_chars: int | None = None
    train: float | None = None
    ngram: tuple[str, float] | None = None
    val: float | None = None
    stopped_by: str | None = None
    divergence: Diverged | None = None

    @property
    def uniform(self) -> float:
        """The cost of choosing every symbol with the same probability."""
        return math.log(self.num_symbols)

    @property
    def is_judged(self) -> bool:
        """Whether the validation split is long enough for a judgement."""
        return self.num_val_chars is not None and is_enough(self.num_val_chars)

    @property
    def last_train(self) -> float | None:
        """The latest training loss: that of the recent windows or, without any, of the last epoch."""
        recent = [point.train for point in self.points if point.train is not None]
        return recent[-1] if recent else self.train

    def curve(self) -> list[tuple[int, float]]:
        """Return steps with losses: validation losses if that split is long enough, otherwise training losses."""
        losses = [(each.step, each.val if self.is_judged else each.train) for each in self.points]
        return [(step, loss) for step, loss in losses if loss is not None]

    def tolerance(self, loss: float) -> float:
        """Return the smallest change in a loss of the curve that counts as a change.

        Under two similar models the cost of a character differs by about half a nat. The tolerance is two standard
        errors of the mean of such differences.
        """
        noise = 1 / math.sqrt(self.num_val_chars) if self.is_judged and self.num_val_chars else 0.0
        return max(PROGRESS * loss, noise)


@dataclass(frozen=True)
class Diagnosis:
    """A diagnosis: a kind for programs, and a sentence for people that says what to do.

    Args:
        kind: what is wrong, or that nothing is.
        finding: what the records show.
        advice: what to do; empty for a sound run.
    """

    kind: Kind
    finding: str
    advice: str = ""

    @property
    def sentence(self) -> str:
        """The finding and the advice."""
        return f"{self.finding}; {self.advice}" if self.advice else self.finding


def diagnose_run(run: Run) -> Diagnosis | None:
    """Diagnose a run; return None if nothing is known about it yet, and for a leaky model.

    Raises:
        CharlmError: if its configuration, environment or records are missing or damaged.
    """
    settings, environment, history = run.settings(), run.environment(), run.history()
    if settings.model.direction == "leaky" or (environment.vocab_size or 0) < 2:
        return None
    num_val_chars = choice_chars(settings, environment.split)
    is_running = owner_of(run.path) is not None
    return diagnose(_evidence(history, environment.vocab_size or 2, num_val_chars, is_running=is_running))


def diagnose(evidence: Evidence) -> Diagnosis | None:
    """Return the first diagnosis that the evidence supports, trying the gravest kinds first.

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
    ngram = best_ngram((standing.baselines if standing else None) or {})
    points: list[Point] = []
    for each in history.evaluations:
        recent = each.recent or each.train
        points.append(Point(each.step, recent.nats if recent else None, each.val.nats if each.val else None))
    return Evidence(
        points=points,
        num_symbols=num_symbols,
        num_val_chars=num_val_chars,
        train=history.train.nats if history.train else None,
        ngram=ngram and (ngram[0], ngram[1] * math.log(2)),
        val=val.nats if val else None,
        stopped_by=end.stopped_by if end and not is_running else None,
        divergence=history.divergence,
    )


def _diverged(evidence: Evidence) -> Diagnosis | None:
    if found := evidence.divergence:
        what = f"the loss was no longer finite at step {found.step:,} with learning rate {found.learning_rate:g}"
        return Diagnosis("diverged", f"diverged: {what}", LOWER_RATE)
    curve = [(each.step, each.train) for each in evidence.points if each.train is not None]
    if not curve:
        return None
    (step, lowest), (_, last) = min(curve, key=lambda point: point[1]), curve[-1]
    if not math.isfinite(last) or last - lowest > MAX_RISE * evidence.uniform:
        what = f"the training loss rose from {lowest:.3f} nats at step {step:,} to {last:.3f}"
        return Diagnosis("diverged", f"diverged: {what}", LOWER_RATE)
    val = evidence.curve()[-1][1]
    if min(last, val) > THROWN * evidence.uniform:
        what = f"a character costs {last:.3f} nats, and a uniform guess costs {evidence.uniform:.3f}"
        return Diagnosis("diverged", f"diverged: {what}", LOWER_RATE)
    return None


def _worse_than_uniform(evidence: Evidence) -> Diagnosis | None:
    curve = evidence.curve()
    loss = evidence.last_train if evidence.last_train is not None else curve[-1][1] if curve else None
    # A model that has learned nothing may still be slightly below uniform.
    if loss is None or min([loss, *(last for _, last in curve[-1:])]) < (1 - PROGRESS) * evidence.uniform:
        return None
    step, best = min(curve, key=lambda point: point[1], default=(0, loss))
    if best < (1 - PROGRESS) * evidence.uniform:
        what = f"the loss had reached {best:.3f} nats at step {step:,} and is now {loss:.3f}, no better than uniform"
        return Diagnosis("diverged", f"diverged: {what}", LOWER_RATE)
    word = "worse" if loss >= evidence.uniform else "no better"
    return Diagnosis(
        "worse_than_uniform",
        f"{word} than uniform: a character costs {loss:.3f} nats, and a uniform guess among the "
        f"{evidence.num_symbols:,} symbols costs {evidence.uniform:.3f}",
        "try another optimizer.learning_rate, or more steps",
    )


def _too_short(evidence: Evidence) -> Diagnosis | None:
    if evidence.num_val_chars is None or evidence.is_judged:
        return None
    train, by_heart = evidence.last_train, ""
    if train is not None and train < BY_HEART * evidence.uniform:
        by_heart = f", and the training text is learned by heart ({train:.3f} nats)"
    return Diagnosis(
        "too_short",
        f"too short a text to judge: the validation split has {evidence.num_val_chars:,} predicted "
        f"character{'' if evidence.num_val_chars == 1 else 's'}, and a judgement needs {MIN_CHOICE_CHARS}{by_heart}",
        "use more text, or a larger validation split (corpus.split)",
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
            return Diagnosis("diverged", f"diverged: {what}", LOWER_RATE)
        fell = "" if last.train is None else f" while training fell to {last.train:.3f}"
        what = f"overfit since step {best.step:,}: {rose}{fell}, so that the text is being learned by heart"
        return Diagnosis("overfit", what, remedy)
    if last.train is not None and last.val - last.train > MAX_GAP * evidence.uniform:
        what = f"overfit: validation costs {last.val:.3f} nats but training {last.train:.3f}, which is learned by heart"
        return Diagnosis("overfit", what, remedy)
    return None


def _still_falling(evidence: Evidence) -> Diagnosis | None:
    curve = evidence.curve()
    tolerance = evidence.tolerance(curve[-1][1]) if curve else 0.0
    return _fallen(curve, "validation" if evidence.is_judged else "training", tolerance, evidence.stopped_by)


def _fallen(curve: Sequence[tuple[int, float]], of: str, tolerance: float, stopped_by: str | None) -> Diagnosis | None:
    """Diagnose a curve that fell over the last quarter of its steps, counted from the evaluation before them."""
    if len(curve) < 2 or stopped_by == "early_stopping":
        return None
    end, last = curve[-1]
    begin, loss = [curve[0], *(point for point in curve if point[0] <= 0.75 * end)][-1]
    num_quarters = max(1.0, (end - begin) / (0.25 * end))
    if loss - last <= max(tolerance, PROGRESS * last * num_quarters):
        return None
    what = f"{of} went from {loss:.3f} nats at step {begin:,} to {last:.3f} at step {end:,}"
    if stopped_by is None:
        return Diagnosis("still_falling", f"still falling: {what}", "let it continue")
    key = BUDGETS.get(stopped_by, "train.epochs")
    return Diagnosis("still_falling", f"still falling when it ended: {what}", f"train longer ({key})")


def _underfit(evidence: Evidence) -> Diagnosis | None:
    if not evidence.is_judged or evidence.val is None or evidence.ngram is None:
        return None
    name, ngram = evidence.ngram
    if evidence.val < ngram + evidence.tolerance(ngram):
        return None
    # The noise of a validation split of a few hundred characters may hide progress that the training loss shows.
    trained = [(each.step, each.train) for each in evidence.points if each.train is not None]
    if falling := _fallen(trained, "training", 0.0, evidence.stopped_by):
        return falling
    if len(evidence.points) == 1 and (key := BUDGETS.get(evidence.stopped_by or "")):
        # A single point is not a curve: it cannot show that the loss has settled.
        what = f"validation is at {evidence.val:.3f} nats and a table of {name}s at {ngram:.3f}"
        return Diagnosis("still_falling", f"measured only once: {what}", f"train longer ({key})")
    return Diagnosis(
        "underfit",
        f"settled too high: validation is at {evidence.val:.3f} nats and a table of {name}s at {ngram:.3f}",
        "try a larger model (model.hidden_size, num_layers) or another optimizer.learning_rate",
    )


def _sound(evidence: Evidence) -> Diagnosis:
    _, last = evidence.curve()[-1] if evidence.curve() else (0, evidence.train or 0.0)
    if not evidence.is_judged:
        what = f"training has settled at {last:.3f} nats; without a validation split, nothing is known about other text"
        return Diagnosis("sound", f"sound: {what}")
    loss = last if evidence.val is None else evidence.val
    beside = ""
    if evidence.ngram:
        name, ngram = evidence.ngram
        beside = f", {'below' if loss < ngram else 'no lower than'} a table of {name}s at {ngram:.3f}"
    return Diagnosis("sound", f"sound: validation has settled at {loss:.3f} nats{beside}")
