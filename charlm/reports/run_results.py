"""What a run came to, read off its folder: settings, figures with the texts they are of, cost, kind of machine."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from charlm.errors import printable
from charlm.networks.leaky import WARNING
from charlm.runs.ownership import owner_of
from charlm.runs.run import Run
from charlm.runs.untrusted import as_object
from charlm.settings.loading import dotted_values
from charlm.settings.schema import Settings

State = Literal["finished", "running", "unfinished"]

# The lowest of the evaluations during training; then what the end read whole, with that evaluation's weights.
BEST_VAL, VAL, TEST, VAL_CLOZE, TEST_CLOZE = FIGURES = ("best_val", "val", "test", "val_cloze", "test_cloze")
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


@dataclass(frozen=True)
class Reading:
    """An evaluation during training.

    Args:
        step: steps taken so far.
        chars_seen: training characters so far, repeated ones counted again.
        minutes: from the run's beginning.
        train_bpc: of the training windows since the evaluation before, while the weights moved; None without any.
        val_bpc: None without a validation part.
        is_partial: whether it read less than the whole validation part.
    """

    step: int
    chars_seen: float
    minutes: float
    train_bpc: float | None
    val_bpc: float | None
    is_partial: bool


@dataclass(frozen=True)
class RunResult:
    """What a run came to, or has come to so far.

    Args:
        name: of the run; its path where another run that is looked at has the same name.
        seed: train.seed.
        settings: resolved, by dotted key; a period in epochs is one value, `{"epochs": n}`.
        state: finished is one that has ended by itself, and that nobody goes on with just now.
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
        train_sha256: of the training part; None where that was not recorded.
        readings: its evaluations, in their order.
    """

    name: str
    seed: int
    settings: Mapping[str, Any]
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
    settings, facts, records = run.settings(), run.environment(), run.metrics()
    evaluations = [record for record in records if record.get("kind") == "evaluation"]
    nothing: dict[str, Any] = {}
    last = evaluations[-1] if evaluations else nothing
    end = records[-1] if records and records[-1].get("kind") == "end" else nothing
    is_running = owner_of(run.path) is not None
    latest = end or last
    seconds = latest.get("seconds")
    hashes = {part: end.get(f"{part}_sha256") or _recorded_hash(facts, part) for part in ("val", "test")}
    return RunResult(
        name=name,
        seed=settings.train.seed,
        settings=_values(settings),
        state="running" if is_running else "finished" if end else "unfinished",
        steps=latest.get("steps") or latest.get("step") or 0,
        figures=dict(_figures(evaluations, end, hashes)),
        num_parameters=facts["num_parameters"],
        chars_per_second=latest.get("chars_per_second"),
        minutes=None if seconds is None else seconds / 60,
        machine=describe_machine(facts),
        corpus_sha256=facts["corpus_sha256"],
        val_sha256=hashes["val"],
        test_sha256=hashes["test"],
        is_leaky=settings.model.direction == "leaky",
        train_sha256=_recorded_hash(facts, "train"),
        readings=tuple(_readings(evaluations, as_object(as_object(facts.get("split")).get("val")).get("chars"))),
    )


def describe_machine(facts: Mapping[str, Any]) -> str:
    """Return the kind of machine in a few words: GPU or cores, the kernels' instruction set, the system.

    Args:
        facts: what environment.json holds, of which anything may be missing.
    """
    words: list[str] = []
    cores, threads, gpus = facts.get("cores"), facts.get("threads"), facts.get("gpus")
    if isinstance(gpus, list) and str(facts.get("device")).startswith("cuda"):
        words += [str(gpu) for gpu in cast("list[Any]", gpus)[:1]]
    elif type(cores) is int:
        words.append(_counted(cores, "core"))
        words += [_counted(threads, "thread")] if type(threads) is int and threads != cores else []
    # Where there are no kernels, their place holds the reason, a sentence.
    kernels = str(facts.get("kernels") or "").partition(",")[0]
    has_kernels = bool(INSTRUCTION_SET.fullmatch(kernels))
    system = str(facts.get("platform") or "")
    architecture = ARCHITECTURE.search(system)
    words += [kernels] if has_kernels else [architecture[0]] if architecture else []
    words += [system.partition("-")[0]] if system else []
    words += [str(facts["implementation"])] if facts.get("implementation") not in (None, "native") else []
    return printable(", ".join(words), MAX_NAME) if words else "unknown"


def names_of(runs: Sequence[Run]) -> list[str]:
    """Return a name for each run, its path where two have the same."""
    names = [run.name if run.name not in ("", "..") else run.path.resolve().name for run in runs]
    return [
        printable(str(run.path) if names.count(name) > 1 else name, MAX_NAME)
        for run, name in zip(runs, names, strict=True)
    ]


def _values(settings: Settings) -> dict[str, Any]:
    """Return the settings by dotted key, `{epochs: 1}` as one value in the place that may hold a number of steps."""
    values: dict[str, Any] = {}
    for key, value in dotted_values(settings).items():
        parent, _, name = key.rpartition(".")
        is_period = name == "epochs" and parent != "train"
        values[parent if is_period else key] = {"epochs": value} if is_period else value
    return values


def _readings(evaluations: Sequence[Mapping[str, Any]], val_chars: Any) -> Iterator[Reading]:
    """Yield the evaluations that tell when they were.

    Args:
        evaluations: their records.
        val_chars: characters of the validation part, of which the first is not predicted.
    """
    for record in evaluations:
        step, chars_seen, seconds = (record.get(key) for key in ("step", "chars_seen", "seconds"))
        if step is None or not all(value is not None and math.isfinite(value) for value in (chars_seen, seconds)):
            continue
        num_read = record.get("val_chars")
        yield Reading(
            step=step,
            chars_seen=cast("float", chars_seen),
            minutes=cast("float", seconds) / 60,
            train_bpc=record.get("train_bpc"),
            val_bpc=record.get("val_bpc"),
            is_partial=num_read is not None and type(val_chars) is int and num_read + 1 < val_chars,
        )


def _figures(
    evaluations: Sequence[Mapping[str, Any]], end: Mapping[str, Any], hashes: Mapping[str, str | None]
) -> Iterator[tuple[str, Measured]]:
    """Yield each figure there is, under its name."""
    measured = [figure for record in evaluations if (figure := _figure(record, "val", "bpc", hashes["val"]))]
    if measured:
        yield BEST_VAL, min(measured, key=lambda figure: figure.nats_per_char)
    for part, whole, cloze in (("val", VAL, VAL_CLOZE), ("test", TEST, TEST_CLOZE)):
        for name, rate in ((whole, "bpc"), (cloze, "cloze_bpc")):
            if figure := _figure(end, part, rate, hashes[part]):
                yield name, figure


def _figure(record: Mapping[str, Any], part: str, rate: str, sha256: str | None) -> Measured | None:
    bits, num_chars = record.get(f"{part}_{rate}"), record.get(f"{part}_chars")
    if bits is None:
        return None
    # Of a run of an older charlm, and of cloze figures, there are the bits alone.
    nats = record.get(f"{part}_nats_per_char") if rate == "bpc" else None
    return Measured(bits * math.log(2) if nats is None else nats, num_chars and int(num_chars), sha256)


def _recorded_hash(facts: Mapping[str, Any], part: str) -> str | None:
    """Return the SHA-256 of a part of the corpus; None without it."""
    sha256 = as_object(as_object(facts.get("split")).get(part)).get("sha256")
    return sha256 if isinstance(sha256, str) else None


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
