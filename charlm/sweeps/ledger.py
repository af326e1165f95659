"""What a sweep knows of its trials: a JSON line for each outcome and each proposal, on the disk at once.

The runs themselves hold the truth; a line whose run is gone counts for nothing, and a trial without a line is asked
again, which costs nothing where its run is done.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from charlm.runs.durable import append_lines, cut_file, sync_file
from charlm.runs.records import read_lines
from charlm.runs.run import Run
from charlm.runs.untrusted import as_object
from charlm.sweeps.tasks import Outcome

LEDGER = "trials.jsonl"


class Ledger:
    """The outcomes of a sweep's trials.

    Args:
        folder: the sweep's; its owner is the only one to write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / LEDGER
        self.proposals: list[dict[str, Any]] = []
        self._outcomes: dict[tuple[str, int | None], Outcome] = {}
        end = 0
        for line_end, record in read_lines(self.path):
            self._read(record)
            end = line_end
        if self.path.exists() and self.path.stat().st_size > end:
            # A line torn by a crash would make one with the next.
            cut_file(self.path, end)

    def get(self, trial: str, rung: int | None = None) -> Outcome | None:
        """Return what is known of a trial at a rung, or None."""
        return self._outcomes.get((trial, rung))

    def add(self, outcome: Outcome) -> None:
        """Write down an outcome, unless it is one that is cut."""
        if outcome.status == "cut":
            return
        self._outcomes[outcome.trial, outcome.rung] = outcome
        self._append(outcome.as_record())

    def propose(self, values: Mapping[str, Any]) -> None:
        """Write down the point that a search wants tried next, so that it is tried whatever happens."""
        self.proposals.append(dict(values))
        self._append({"kind": "proposal", "settings": dict(values)})

    def _append(self, record: Mapping[str, Any]) -> None:
        append_lines(self.path, [json.dumps(record, ensure_ascii=False)])
        sync_file(self.path)

    def _read(self, record: Mapping[str, Any]) -> None:
        if record.get("kind") == "proposal":
            self.proposals.append(as_object(record.get("settings")))
        if record.get("kind") == "outcome" and (outcome := _outcome(record)):
            key = outcome.trial, outcome.rung
            self._outcomes.pop(key, None)
            # What may be otherwise today is tried again.
            if outcome.is_final and Run(self.folder / outcome.trial).exists:
                self._outcomes[key] = outcome


def _outcome(record: Mapping[str, Any]) -> Outcome | None:
    """Return the outcome of a line, or None where it is none of ours."""
    trial, rung, reason = record.get("trial"), record.get("rung"), record.get("reason")
    status, exit_code, figures = record.get("status"), record.get("exit_code"), as_object(record.get("figures"))
    are_right = isinstance(trial, str) and (rung is None or type(rung) is int) and type(exit_code) is int
    if not are_right or status not in ("reached", "failed") or not (reason is None or isinstance(reason, str)):
        return None
    assert isinstance(trial, str)
    assert type(exit_code) is int
    return Outcome(trial, rung, status, reason, exit_code, figures, float(record.get("seconds") or 0.0))
