"""What a run has written down, read as data from a stranger; a line that a crash has torn is left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from charlm.runs.json_records import Json, from_json_or_none
from charlm.runs.records import Diverged, EvaluationLine, Rates, SampleTable, Summary
from charlm.runs.untrusted import check_depth, open_regular

# A table of the longest samples there can be; of a longer line nothing is kept.
MAX_LINE_BYTES = 1 << 25


@dataclass(frozen=True)
class History:
    """What metrics.jsonl tells.

    Args:
        evaluations: in their order.
        summary: of a run that has ended.
        divergence: of a run that could not go on.
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
        """The training figure: of the last whole epoch's own batches, or at the end of a shorter run of all batches."""
        if self.summary is not None:
            return self.summary.train
        return self.latest.last_epoch if self.latest else None

    @property
    def best(self) -> Rates | None:
        """The lowest figures of the validation part, the earliest of equals."""
        measured = [each.val for each in self.evaluations if each.val is not None]
        return min(measured, key=lambda val: val.nats, default=None)


def read_history(path: Path) -> History:
    """Read a metrics.jsonl until its last line, a summary or a divergence, or one that is no evaluation either.

    Raises:
        RunError: for what is no regular file.
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
    """Yield the tables of a samples.jsonl until a line that is none.

    Raises:
        RunError: for what is no regular file.
    """
    for _, line in read_lines(path):
        table = from_json_or_none(SampleTable, line)
        if table is None:
            return
        yield table


def read_lines(path: Path) -> Iterator[tuple[int, Json]]:
    """Yield each JSON object of a file, with the bytes from the file's start to its end.

    What is none, as a line torn by a crash, ends it; whatever stands before it is whole.

    Raises:
        RunError: for what is no regular file.
    """
    if not path.exists():
        return
    end = 0
    with open_regular(path) as file:
        # Bytes: a text's lines also end at U+2028 and its like, and a torn one may end within a character.
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
