"""What a run came to, read off its folder: settings, figures with the texts they are of, cost, kind of machine."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from charlm.errors import printable
from charlm.evaluation.figure import Figure
from charlm.networks.leaky import WARNING
from charlm.runs.facts import Environment, PartFacts
from charlm.runs.history import History
from charlm.runs.json_records import Json
from charlm.runs.ownership import owner_of
from charlm.runs.records import EvaluationLine, Rates
from charlm.runs.run import Run
from charlm.settings.loading import dotted_values
from charlm.settings.schema import Settings

State = Literal["finished", "running", "unfinished", "diverged"]

# The lowest of the evaluations during training; what the end read whole, with that evaluation's weights; and the last
# whole epoch's own batches, while the weights moved.
BEST_VAL, VAL, TEST, VAL_CLOZE, TEST_CLOZE, TRAIN = FIGURES = (
    *("best_val", "val", "test", "val_cloze", "test_cloze", "train"),
)
# No perplexities: each of their characters is predicted from both sides.
CLOZE = (VAL_CLOZE, TEST_CLOZE)
MAX_NAME = 200
INSTRUCTION_SET = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
ARCHITECTURE = re.compile(r"x86_64|aarch64|arm64|i686|ppc64le|riscv64|s390x", re.IGNORECASE)


@dataclass(frozen=True)
class Measured:
    """A figure, and what it is of.

    Args:
        nats_per_char: mean negative log-likelihood of a character, nats.
        num_chars: characters predicted; None where a run of an older charlm did not tell.
        sha256: of the whole part, of which an evaluation during training may read the beginning only.
    """

    nats_per_char: float
    num_chars: int | None
    sha256: str | None

    @property
    def bits_per_char(self) -> float:
        """The same in bits."""
        return self.nats_per_char / math.log(2)

    @property
    def perplexity(self) -> float:
        """exp(nats per character); infinite where that overflows."""
        return Figure(self.nats_per_char, 1).perplexity


@dataclass(frozen=True)
class Reading:
    """An evaluation during training.

    Args:
        step: steps taken so far.
        chars_seen: training characters so far, repeated ones counted again.
        minutes: from the run's beginning.
        recent_bpc: of the training windows since the evaluation before, while the weights moved; None without any.
        val_bpc: None without a validation part.
        is_partial: whether it read less than the whole validation part.
    """

    step: int
    chars_seen: float
    minutes: float
    recent_bpc: float | None
    val_bpc: float | None
    is_partial: bool


@dataclass(frozen=True)
class RunResult:
    """What a run came to, or has come to so far.

    Args:
        name: of the run; its path where another run that is looked at has the same name.
        seed: train.seed.
        settings: resolved, by dotted key; a period in epochs is one value, `{"epochs": n}`.
        state: finished is one that has ended by itself, and that nobody goes on with just now; diverged is one whose
            loss was no longer finite.
        steps: taken so far.
        figures: those it has, by their names in FIGURES; the cloze figures are of bidirectional models, whose other
            figures are those of their forward half.
        num_parameters: trained ones.
        chars_per_second: of training steps alone; None before the first evaluation.
        minutes: from the run's beginning, evaluations included; None before the first evaluation.
        machine: the kind of machine it was created on, in a few words.
        corpus_sha256: of the whole corpus.
        val_sha256: of the validation part; None without one.
        test_sha256: of the test part; None without one.
        is_leaky: whether its model reads its own target, so that its figures are none of a language model.
        train_sha256: of the training part, or the corpus where that was not recorded.
        readings: its evaluations, in their order.
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

    @property
    def is_finished(self) -> bool:
        """Whether it has ended by itself, and nobody goes on with it just now."""
        return self.state == "finished"

    @property
    def warning(self) -> str | None:
        """What must stand beside every figure of a leaky model; None for the others."""
        return WARNING if self.is_leaky else None


def read_result(run: Run, *, name: str) -> RunResult:
    """Read what a run came to.

    Args:
        name: to call it by.
    Raises:
        CharlmError: where its configuration, environment or records are missing or damaged.
    """
    settings, environment, history = run.settings(), run.environment(), run.history()
    end, latest = history.summary, history.summary or history.latest
    is_running = owner_of(run.path) is not None
    split = environment.split
    val_sha256 = _hash(end.val if end else None, split.val if split else None)
    test_sha256 = _hash(end.test if end else None, split.test if split else None)
    train_sha256 = split.train.sha256 if split else environment.corpus_sha256
    return RunResult(
        name=name,
        seed=settings.train.seed,
        settings=_values(settings),
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
        readings=tuple(_readings(history.evaluations, split.val if split else None)),
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
    # Where there are no kernels, their place holds the reason, a sentence.
    kernels = (machine.kernels or "").partition(",")[0]
    has_kernels = bool(INSTRUCTION_SET.fullmatch(kernels))
    system = machine.platform or ""
    architecture = ARCHITECTURE.search(system)
    words += [kernels] if has_kernels else [architecture[0]] if architecture else []
    words += [system.partition("-")[0]] if system else []
    words += [environment.implementation] if environment.implementation not in (None, "native") else []
    return printable(", ".join(words), MAX_NAME) if words else "unknown"


def names_of(runs: Sequence[Run]) -> list[str]:
    """Return a name for each run, its path where two have the same."""
    names = [run.name if run.name not in ("", "..") else run.path.resolve().name for run in runs]
    return [
        printable(str(run.path) if names.count(name) > 1 else name, MAX_NAME)
        for run, name in zip(runs, names, strict=True)
    ]


def _values(settings: Settings) -> Json:
    """Return the settings by dotted key, `{epochs: 1}` as one value in the place that may hold a number of steps."""
    values: Json = {}
    for key, value in dotted_values(settings).items():
        parent, _, name = key.rpartition(".")
        is_period = name == "epochs" and parent != "train"
        values[parent if is_period else key] = {"epochs": value} if is_period else value
    return values


def _readings(evaluations: Iterable[EvaluationLine], val_part: PartFacts | None) -> Iterator[Reading]:
    """Yield the evaluations that tell when they were."""
    for each in evaluations:
        if math.isfinite(each.seconds):
            yield Reading(
                step=each.step,
                chars_seen=each.chars_seen,
                minutes=each.seconds / 60,
                # An older charlm knew the recent figures by their former name alone.
                recent_bpc=recent.bpc if (recent := each.recent or each.train) else None,
                val_bpc=each.val.bpc if each.val else None,
                # The first character of a part is not predicted.
                is_partial=each.val is not None and val_part is not None and each.val.chars + 1 < val_part.chars,
            )


def _figures(
    history: History, val_sha256: str | None, test_sha256: str | None, train_sha256: str
) -> Iterator[tuple[str, Measured]]:
    """Yield each figure there is, under its name."""
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
    """Return the SHA-256 of a part of the corpus as it was when it was measured, else when the run began."""
    measured = rates.standing.sha256 if rates and rates.standing else None
    return measured or (part.sha256 if part else None)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
