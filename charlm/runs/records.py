"""The records of a run, one JSON object on each line: evaluations, samples, resumes and the closing summary.

They are read as untrusted data: see history.py.
"""

from __future__ import annotations

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
from charlm.runs.rates import Rates


@dataclass(frozen=True, eq=False, kw_only=True)
class EvaluationLine(Record):
    """A line of metrics.jsonl: the results of an evaluation after a step.

    Args:
        step: steps taken so far.
        epoch: epochs begun so far.
        seconds: time since the run began.
        chars_seen: training characters so far, repeated ones counted again.
        learning_rate: learning rate of the last step.
        gradient_norm: gradient norm of the last step, before clipping.
        chars_per_second: speed of the training steps alone.
        epoch_seconds: time of the last whole epoch's steps; None before there is one.
        last_epoch: results on that epoch's batches, while the weights moved; the closing summary calls them `train`.
        recent: results on the training windows since the last evaluation, while the weights moved; None if all were
            skipped.
        train: the same as `recent` under its former name, which scripts read; an older charlm wrote only this one.
        val: results on the validation split, or on its beginning; None without that split.
        is_closing: whether the evaluation falls outside the schedule, at the end of the run; resuming removes it.
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
    """The last line of metrics.jsonl, which `charlm train --json` prints too: the results of a run.

    Args:
        run: the run's name.
        stopped_by: the reason why it ended.
        steps: number of steps taken.
        epochs: number of whole epochs.
        best_step: step of the checkpoint that validation and test were evaluated with.
        is_chosen: whether validation chose that checkpoint; otherwise it is the last one.
        seconds: time over all processes, this evaluation included.
        chars_seen: training characters, repeated ones counted again.
        chars_per_second: speed of the training steps alone.
        train: results on the last whole epoch's steps, while the weights moved; None if all were skipped.
        val: results on the whole validation split; None without that split.
        test: results on the whole test split; None without that split.
        warning: the sentence that must accompany every result of a leaky model.
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
    # The first runs did not record it: all of them read forwards.
    direction: Line | None = None
    implementation: Told[Line] = None
    device: Told[Line] = None
    corpus_sha256: Told[Sha256] = None
    split: Told[SplitFacts] = None
    train: Annotated[Rates | None, Inline("train_")]
    val: Annotated[Rates | None, Inline("val_")]
    test: Annotated[Rates | None, Inline("test_")]
    parent_val: Annotated[Rates | None, Inline("parent_val_")] = None
    parent_old_val: Annotated[Rates | None, Inline("parent_old_val_")] = None
    old_val: Annotated[Rates | None, Inline("old_val_")] = None
    old_text: Line | None = None
    warning: Line | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Diverged(Record):
    """The last line of metrics.jsonl for a run that ended because a loss or gradient was not a number.

    Args:
        step: the step that could not be taken.
        learning_rate: its learning rate.
        gradient_norm: its gradient norm before clipping; None if that was not a number, which JSON cannot represent.
    """

    kind: Literal["diverged"]
    step: Count
    learning_rate: Number
    gradient_norm: Number | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Interruption(Record):
    """What `charlm train` reports about a run that was stopped from outside and can be resumed.

    Args:
        stopped_by: interrupt, terminate or hangup.
        steps: number of steps taken.
    """

    stopped_by: Line
    steps: Count


@dataclass(frozen=True, eq=False, kw_only=True)
class Sample(Record):
    """A text that a model wrote after a prefix, or before a suffix."""

    prefix: Text | None = None
    suffix: Text | None = None
    continuation: Text


@dataclass(frozen=True, eq=False, kw_only=True)
class SampleTable(Record):
    """A line of samples.jsonl.

    Args:
        step: steps taken so far.
        epoch: whole epochs so far.
        samples: one sample for each prefix.
        is_closing: whether the table falls outside the schedule, at the end of the run; resuming removes it.
    """

    step: Count
    epoch: Count
    samples: tuple[Sample, ...]
    is_closing: Flag = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Resume(Record):
    """A line of resumes.jsonl: a process has resumed the run.

    Args:
        step: the step from which it resumed.
        time: local time with its offset.
        fingerprint: what the exact bits depend on besides settings and text.
        note: what differs from before; None if the same bits are promised.
    """

    step: Count
    time: Text
    fingerprint: Fingerprint
    note: Text | None
