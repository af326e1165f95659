"""Read a run's results from its folder: settings, results with their texts, cost, and kind of machine."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from charlm.errors import printable
from charlm.evaluation.baselines import best_ngram
from charlm.evaluation.figure import Figure
from charlm.reports.epochs import epochs_before
from charlm.runs.facts import Environment, PartFacts
from charlm.runs.history import History
from charlm.runs.json_records import Json
from charlm.runs.ownership import owner_of
from charlm.runs.rates import Rates
from charlm.runs.records import EvaluationLine
from charlm.runs.run import Run
from charlm.settings.loading import dotted_values
from charlm.settings.model import LEAKY_WARNING
from charlm.settings.schema import Settings

State = Literal["finished", "running", "unfinished", "diverged"]

# The lowest evaluation during training; the closing evaluation of whole splits with the weights of that evaluation; and
# the batches of the last complete epoch, measured while the weights changed.
BEST_VAL, VAL, TEST, VAL_CLOZE, TEST_CLOZE, TRAIN = FIGURES = (
    *("best_val", "val", "test", "val_cloze", "test_cloze", "train"),
)
# These have no perplexity, because each of their characters is predicted from both sides.
CLOZE = (VAL_CLOZE, TEST_CLOZE)
MAX_NAME = 200
# The key that says what a run predicts with, beside those of its settings, and its value for one network.
ENSEMBLE, ALONE = "ensemble", "1 network"
# The sections of the settings that all members of an ensemble have in common.
SHARED = ("corpus", "vocabulary")
INSTRUCTION_SET = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
ARCHITECTURE = re.compile(r"x86_64|aarch64|arm64|i686|ppc64le|riscv64|s390x", re.IGNORECASE)


@dataclass(frozen=True)
class Measured:
    """A result, and the text that it was measured on.

    Args:
        nats_per_char: mean negative log-likelihood of a character, in nats.
        num_chars: number of characters predicted; None if a run of an older charlm did not record it.
        sha256: hash of the whole split, of which an evaluation during training may read only the beginning.
    """

    nats_per_char: float
    num_chars: int | None
    sha256: str | None

    @property
    def bits_per_char(self) -> float:
        """Mean negative log-likelihood of a character, in bits."""
        return self.nats_per_char / math.log(2)

    @property
    def perplexity(self) -> float:
        """exp(nats per character); infinite if that overflows."""
        return Figure(self.nats_per_char, 1).perplexity


@dataclass(frozen=True)
class Reading:
    """An evaluation during training.

    Args:
        step: number of steps taken so far.
        chars_seen: number of training characters read so far; repeated ones count again.
        minutes: time since the run's beginning.
        recent_bpc: bits per character on the training windows since the previous evaluation, measured while the weights
            changed; None if there were none.
        val_bpc: validation bits per character; None without a validation split.
        is_partial: whether it read less than the whole validation split.
        epochs: how many epochs of training came before it, which may be a fraction.
        epoch_bpc: bits per character over the last whole epoch of training, measured while the weights changed; None
            before there is one, or if an older charlm did not record it.
    """

    step: int
    chars_seen: float
    minutes: float
    recent_bpc: float | None
    val_bpc: float | None
    is_partial: bool
    epochs: float = 0.0
    epoch_bpc: float | None = None

    @property
    def whole_epochs(self) -> int:
        """How many whole epochs came before it."""
        return math.floor(self.epochs)


@dataclass(frozen=True)
class RunResult:
    """The results of a run, final or so far.

    Args:
        name: the run's name, or its path if another of the runs has the same name.
        seed: train.seed.
        settings: the resolved settings by dotted key; a period in epochs is one value, `{"epochs": n}`. Of an ensemble,
            what its members have in common. What a run predicts with is the value of `ensemble`.
        state: finished if the run has ended by itself and is not being resumed; diverged if its loss was no longer
            finite.
        steps: number of steps taken so far.
        figures: its results by their names in FIGURES; only bidirectional models have cloze results, and their other
            results are those of the forward half.
        num_parameters: number of trained parameters.
        chars_per_second: speed of the training steps alone; None before the first evaluation.
        minutes: time since the run's beginning, including evaluations; None before the first evaluation.
        machine: the kind of machine it was created on, in a few words.
        corpus_sha256: hash of the whole corpus.
        val_sha256: hash of the validation split; None without one.
        test_sha256: hash of the test split; None without one.
        is_leaky: whether its model reads its own target, so that its results are not those of a language model.
        train_sha256: hash of the training split, or of the corpus if that was not recorded.
        readings: its evaluations in order.
        ngram: the best n-gram baseline on the whole validation split: its name and its bits per character; None if none
            was measured.
        has_items: whether its text is a list of items, the ends of which count as characters.
    """

    name: str
    seed: int
    settings: Mapping[str, JsonValue]
    state: State
    steps: int
    figures: Mapping[str, Measured]
    num_parameters: int
    chars_per_second: float | None
    minutes: float | None
    machine: str
    corpus_sha256: str
    val_sha256: str | None
    test_sha256: str | None
    is_leaky: bool
    train_sha256: str | None = None
    readings: tuple[Reading, ...] = ()
    ngram: tuple[str, float] | None = None
    has_items: bool = False

    @property
    def is_finished(self) -> bool:
        """Whether it has ended by itself and is not being resumed."""
        return self.state == "finished"

    @property
    def is_ensemble(self) -> bool:
        """Whether several models predict together."""
        return self.settings.get(ENSEMBLE, ALONE) != ALONE

    @property
    def warning(self) -> str | None:
        """The sentence that must accompany every result of a leaky model; None for other models."""
        return LEAKY_WARNING if self.is_leaky else None


def read_result(run: Run, *, name: str) -> RunResult:
    """Read the results of a run.

    Args:
        name: the name to call it by.
        Raises:
            CharlmError: if its configuration, environment or records are missing or damaged.
    """
    settings, environment, history = run.settings(), run.environment(), run.history()
    end, latest = history.summary, history.summary or history.latest
    is_running = owner_of(run.path) is not None
    split = environment.split
    val_sha256 = _hash(end.val if end else None, split.val if split else None)
    test_sha256 = _hash(end.test if end else None, split.test if split else None)
    train_sha256 = split.train.sha256 if split else environment.corpus_sha256
    epochs = epochs_before(history.evaluations, environment, settings)
    return RunResult(
        name=name,
        seed=settings.train.seed,
        settings=_values(settings, environment.ensemble),
        state="running" if is_running else "finished" if end else "diverged" if history.divergence else "unfinished",
        steps=end.steps if end else history.latest.step if history.latest else 0,
        figures=dict(_figures(history, val_sha256, test_sha256, train_sha256)),
        num_parameters=environment.num_parameters,
        chars_per_second=latest.chars_per_second if latest else None,
        minutes=latest.seconds / 60 if latest else None,
        machine=describe_machine(environment),
        corpus_sha256=environment.corpus_sha256,
        val_sha256=val_sha256,
        test_sha256=test_sha256,
        is_leaky=settings.model.direction == "leaky",
        train_sha256=train_sha256,
        readings=tuple(_readings(history.evaluations, split.val if split else None, epochs)),
        ngram=_best_ngram(end.val if end else None),
        has_items=bool(split and split.train.num_items),
    )


def describe_machine(environment: Environment) -> str:
    """Return the kind of machine in a few words: GPU or cores, the kernels' instruction set, the system."""
    machine = environment.machine
    words: list[str] = []
    if machine.gpus is not None and (environment.device or "").startswith("cuda"):
        words += machine.gpus[:1]
    elif machine.cores is not None:
        words.append(_counted(machine.cores, "core"))
        words += [_counted(machine.threads, "thread")] if machine.threads not in (None, machine.cores) else []
    # Without kernels, this field contains the reason as a sentence.
    kernels = (machine.kernels or "").partition(",")[0]
    has_kernels = bool(INSTRUCTION_SET.fullmatch(kernels))
    system = machine.platform or ""
    architecture = ARCHITECTURE.search(system)
    words += [kernels] if has_kernels else [architecture[0]] if architecture else []
    words += [system.partition("-")[0]] if system else []
    words += [environment.implementation] if environment.implementation not in (None, "native") else []
    return printable(", ".join(words), MAX_NAME) if words else "unknown"


def names_of(runs: Sequence[Run]) -> list[str]:
    """Return a name for each run, or its path if several have the same name."""
    names = [run.name if run.name not in ("", "..") else run.path.resolve().name for run in runs]
    return [
        printable(str(run.path) if names.count(name) > 1 else name, MAX_NAME)
        for run, name in zip(runs, names, strict=True)
    ]


def _values(settings: Settings, ensemble: str | None) -> Json:
    """Return the settings by dotted key; `{epochs: 1}` is one value, because a number of steps may be in its place."""
    values: Json = {}
    for key, value in dotted_values(settings).items():
        parent, _, name = key.rpartition(".")
        is_period = name == "epochs" and parent != "train"
        if ensemble is None or key.partition(".")[0] in SHARED:
            values[parent if is_period else key] = {"epochs": value} if is_period else value
    return values | {ENSEMBLE: ensemble or ALONE}


def _readings(
    evaluations: Iterable[EvaluationLine], val_part: PartFacts | None, epochs: Iterable[float]
) -> Iterator[Reading]:
    """Yield the evaluations that recorded their time."""
    for each, num_epochs in zip(evaluations, epochs, strict=True):
        if math.isfinite(each.seconds):
            yield Reading(
                step=each.step,
                chars_seen=each.chars_seen,
                minutes=each.seconds / 60,
                # An older charlm recorded the recent results under their former name only.
                recent_bpc=recent.bpc if (recent := each.recent or each.train) else None,
                val_bpc=each.val.bpc if each.val else None,
                # The first character of a split is not predicted.
                is_partial=each.val is not None and val_part is not None and each.val.chars + 1 < val_part.chars,
                epochs=num_epochs,
                epoch_bpc=each.last_epoch.bpc if each.last_epoch else None,
            )


def _best_ngram(val: Rates | None) -> tuple[str, float] | None:
    """Return the name and the bits per character of the n-gram that predicts the validation split best."""
    return best_ngram((val.standing.baselines if val and val.standing else None) or {})


def _figures(
    history: History, val_sha256: str | None, test_sha256: str | None, train_sha256: str
) -> Iterator[tuple[str, Measured]]:
    """Yield each available result with its name."""
    if best := history.best:
        yield BEST_VAL, Measured(best.nats, best.chars, val_sha256)
    end = history.summary
    for rates, whole, cloze, sha256 in (
        (end.val if end else None, VAL, VAL_CLOZE, val_sha256),
        (end.test if end else None, TEST, TEST_CLOZE, test_sha256),
    ):
        if rates:
            yield whole, Measured(rates.nats, rates.chars, sha256)
        if rates and rates.both_ways:
            yield cloze, Measured(rates.both_ways.cloze_bpc * math.log(2), rates.chars, sha256)
    if train := history.train:
        yield TRAIN, Measured(train.nats, train.chars, train_sha256)


def _hash(rates: Rates | None, part: PartFacts | None) -> str | None:
    """Return a split's SHA-256 as recorded by the measurement or, failing that, at the run's start."""
    measured = rates.standing.sha256 if rates and rates.standing else None
    return measured or (part.sha256 if part else None)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
