"""Read what a run has recorded, as untrusted data; a line that a crash has cut off is left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from charlm.runs.json_records import Json, from_json_or_none
from charlm.runs.rates import Rates
from charlm.runs.records import Diverged, EvaluationLine, SampleTable, Summary
from charlm.runs.untrusted import check_depth, open_regular

# The size of a table of the longest possible samples; a longer line is not kept.
MAX_LINE_BYTES = 1 << 25


@dataclass(frozen=True)
class History:
    """The content of metrics.jsonl.

    Args:
        evaluations: the evaluations in order.
        summary: the closing summary, if the run has ended.
        divergence: the step that diverged, if the run ended for that reason.
    """

    evaluations: tuple[EvaluationLine, ...]
    summary: Summary | None
    divergence: Diverged | None = None

    @property
    def latest(self) -> EvaluationLine | None:
        """The last evaluation."""
        return self.evaluations[-1] if self.evaluations else None

    @property
    def train(self) -> Rates | None:
        """The training result: of the last whole epoch's batches, or of all batches of a shorter run that ended."""
        if self.summary is not None:
            return self.summary.train
        return self.latest.last_epoch if self.latest else None

    @property
    def best(self) -> Rates | None:
        """The lowest result on the validation split, or the earliest of equals."""
        measured = [each.val for each in self.evaluations if each.val is not None]
        return min(measured, key=lambda val: val.nats, default=None)


def read_history(path: Path) -> History:
    """Read a metrics.jsonl up to the first line that is not an evaluation, such as a summary or a divergence.

    Raises:
        RunError: if it is not a regular file.
    """
    evaluations: list[EvaluationLine] = []
    for _, line in read_lines(path):
        evaluation = from_json_or_none(EvaluationLine, line)
        if evaluation is None:
            end, divergence = from_json_or_none(Summary, line), from_json_or_none(Diverged, line)
            return History(tuple(evaluations), end, divergence)
        evaluations.append(evaluation)
    return History(tuple(evaluations), None)


def read_samples(path: Path) -> Iterator[SampleTable]:
    """Yield the tables of a samples.jsonl up to the first line that is not one.

    Raises:
        RunError: if it is not a regular file.
    """
    for _, line in read_lines(path):
        table = from_json_or_none(SampleTable, line)
        if table is None:
            return
        yield table


def read_lines(path: Path) -> Iterator[tuple[int, Json]]:
    """Yield each JSON object of a file, with the number of bytes from the start of the file to the end of its line.

    The first line that is not an object, such as one that a crash has cut off, ends the reading.

    Raises:
        RunError: if it is not a regular file.
    """
    if not path.exists():
        return
    end = 0
    with open_regular(path) as file:
        # Bytes: lines of text would also end at U+2028, and a line that was cut off may end inside a character.
        while line := file.readline(MAX_LINE_BYTES):
            end += len(line)
            value = _parsed(line) if line.endswith(b"\n") else None
            if not isinstance(value, dict):
                return
            yield end, value


def _parsed(line: bytes) -> JsonValue:
    try:
        value: JsonValue = json.loads(line)
        check_depth(value)
    except (ValueError, RecursionError):
        return None
    return value
