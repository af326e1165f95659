"""What a run writes down as it trains, one JSON object a line: evaluations, samples, resumes, and its closing summary.

They are read as data from a stranger: see history.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from charlm.runs.facts import Fingerprint, SplitFacts
from charlm.runs.json_records import (
    Count,
    Flag,
    Inline,
    Line,
    Number,
    Record,
    Sha256,
    Text,
    Told,
)


@dataclass(frozen=True, eq=False, kw_only=True)
class BothWays(Record):
    """What a bidirectional model's other readouts came to: its backward half, and both halves together."""

    backward_bpc: Number
    backward_perplexity: Number
    cloze_bpc: Number
    cloze_pseudo_perplexity: Number


@dataclass(frozen=True, eq=False, kw_only=True)
class Standing(Record):
    """What it takes to judge the figures of a whole text.

    Args:
        bits_per_byte: of the predicted characters in the corpus' encoding.
        bpc_interval: between which bits a character 95 % of resampled texts lie; None for a short text.
        sha256: of the text.
        baselines: bits per character of simpler models; None where none were asked for.
        beats_5gram: whether the model is better than the hardest of them.
    """

    bits_per_byte: Number
    bpc_interval: tuple[Number, Number] | None
    sha256: Line | None = None
    baselines: Mapping[Line, Number] | None
    beats_5gram: Flag | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Rates(Record):
    """What a text came to, or a stretch of training.

    Args:
        nats_per_char: mean negative log-likelihood of a character; an older charlm told the bits alone.
        bpc: the same in bits; of a bidirectional model, of its forward half, like all that stands here.
        perplexity: of a character.
        chars: characters predicted.
        both_ways: the other readouts of a bidirectional model.
        standing: of a text read whole.
    """

    nats_per_char: Number | None = None
    bpc: Number
    perplexity: Number
    chars: Count
    both_ways: Annotated[BothWays | None, Inline()] = None
    standing: Annotated[Standing | None, Inline()] = None

    @property
    def nats(self) -> float:
        """Mean negative log-likelihood of a character, whether it was told in nats or in bits."""
        return self.bpc * math.log(2) if self.nats_per_char is None else self.nats_per_char


@dataclass(frozen=True, eq=False, kw_only=True)
class EvaluationLine(Record):
    """A line of metrics.jsonl: what the model had come to after a step.

    Args:
        step: steps taken so far.
        epoch: epochs begun so far.
        seconds: since the run began.
        chars_seen: training characters so far, repeated ones counted again.
        learning_rate: of the last step.
        gradient_norm: of the last step, before clipping.
        chars_per_second: of training steps alone.
        epoch_seconds: of the last whole epoch's steps; None before there is one.
        last_epoch: of that epoch's own batches, while the weights moved; what the closing summary calls `train`.
        recent: of the training windows since the evaluation before, while the weights moved; None where all were
            skipped.
        train: the same under its former name, which scripts read; an older charlm wrote no other.
        val: of the validation part, or of its beginning; None without one.
        is_closing: whether it falls outside the schedule, at the run's end: a run that goes on takes it back.
    """

    kind: Literal["evaluation"]
    step: Count
    epoch: Count
    seconds: Number
    chars_seen: Count
    learning_rate: Number
    gradient_norm: Number
    chars_per_second: Number
    epoch_seconds: Number | None
    last_epoch: Annotated[Rates | None, Inline("epoch_")]
    recent: Annotated[Rates | None, Inline("recent_")]
    train: Annotated[Rates | None, Inline("train_")]
    val: Annotated[Rates | None, Inline("val_")]
    is_closing: Flag = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Summary(Record):
    """The last line of metrics.jsonl, and what `charlm train --json` prints: what a run came to.

    Args:
        run: its name.
        stopped_by: what ended it.
        steps: taken.
        epochs: whole ones.
        best_step: of the checkpoint that validation and test were read with.
        is_chosen: whether validation has chosen it; else it is the last.
        seconds: over all its processes, this reading included.
        chars_seen: training characters, repeated ones counted again.
        chars_per_second: of training steps alone.
        train: of the last whole epoch's steps, while the weights moved; None where all were skipped.
        val: of the whole validation part; None without one.
        test: of the whole test part; None without one.
        warning: what must stand beside every figure of a leaky model.
    """

    kind: Literal["end"]
    run: Line
    stopped_by: Line
    steps: Count
    epochs: Count
    best_step: Count
    is_chosen: Flag = True
    seconds: Number
    chars_seen: Told[Count] = None
    chars_per_second: Number
    num_skipped_steps: Told[Count] = None
    num_rollbacks: Told[Count] = None
    num_parameters: Told[Count] = None
    # The first runs did not tell it: all read forwards.
    direction: Line | None = None
    implementation: Told[Line] = None
    device: Told[Line] = None
    corpus_sha256: Told[Sha256] = None
    split: Told[SplitFacts] = None
    train: Annotated[Rates | None, Inline("train_")]
    val: Annotated[Rates | None, Inline("val_")]
    test: Annotated[Rates | None, Inline("test_")]
    warning: Line | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Diverged(Record):
    """The last line of metrics.jsonl of a run that ended because a loss or weight was not a number.

    Args:
        step: that could not be taken.
        learning_rate: that it used.
        gradient_norm: before clipping; None where that was no number, which JSON does not have.
    """

    kind: Literal["diverged"]
    step: Count
    learning_rate: Number
    gradient_norm: Number | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Interruption(Record):
    """What `charlm train` knows of a run that was stopped from outside, and is to be gone on with.

    Args:
        stopped_by: interrupt, terminate or hangup.
        steps: taken.
    """

    stopped_by: Line
    steps: Count


@dataclass(frozen=True, eq=False, kw_only=True)
class Sample(Record):
    """What a model wrote: after a prefix, or before a suffix."""

    prefix: Text | None = None
    suffix: Text | None = None
    continuation: Text


@dataclass(frozen=True, eq=False, kw_only=True)
class SampleTable(Record):
    """A line of samples.jsonl.

    Args:
        step: steps taken so far.
        epoch: whole epochs so far.
        samples: one for each prefix.
        is_closing: whether it falls outside the schedule, at the run's end: a run that goes on takes it back.
    """

    step: Count
    epoch: Count
    samples: tuple[Sample, ...]
    is_closing: Flag = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Resume(Record):
    """A line of resumes.jsonl: a process has gone on with the run.

    Args:
        step: from which.
        time: local, with its offset.
        fingerprint: of what it computes with.
        note: what is not as it was; None where bits are promised.
    """

    step: Count
    time: Text
    fingerprint: Fingerprint
    note: Text | None
