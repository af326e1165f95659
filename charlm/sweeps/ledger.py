"""What a sweep knows about its trials: a JSON line for each outcome and each proposal, written to disk at once.

The runs themselves are authoritative: a line whose run no longer exists is ignored, and a trial without a line is
submitted again, which costs nothing if its run is complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from charlm.runs.durable import append_lines, cut_file, sync_file
from charlm.runs.history import read_lines
from charlm.runs.json_records import Json, as_object, from_json_or_none, json_line
from charlm.runs.run import Run
from charlm.sweeps.tasks import Outcome

LEDGER = "trials.jsonl"


class Ledger:
    """The outcomes of a sweep's trials.

    Args:
        folder: the sweep's folder; only its owner writes to the ledger.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / LEDGER
        self.proposals: list[Json] = []
        self._outcomes: dict[tuple[str, int | None], Outcome] = {}
        end = 0
        for line_end, record in read_lines(self.path):
            self._read(record)
            end = line_end
        if self.path.exists() and self.path.stat().st_size > end:
            # A line that a crash cut off would otherwise run into the next one.
            cut_file(self.path, end)

    def get(self, trial: str, rung: int | None = None) -> Outcome | None:
        """Return the outcome of a trial at a rung, or None if there is none yet."""
        return self._outcomes.get((trial, rung))

    def add(self, outcome: Outcome) -> None:
        """Record an outcome, unless the trial was interrupted."""
        if outcome.status == "cut":
            return
        self._outcomes[outcome.trial, outcome.rung] = outcome
        self._append({"kind": "outcome", **outcome})

    def propose(self, values: Mapping[str, JsonValue]) -> None:
        """Record the point that a search proposes next, so that it will be tried whatever happens."""
        self.proposals.append(dict(values))
        self._append({"kind": "proposal", "settings": dict(values)})

    def _append(self, line: Json) -> None:
        append_lines(self.path, [json_line(line)])
        sync_file(self.path)

    def _read(self, line: Json) -> None:
        if line.get("kind") == "proposal":
            self.proposals.append(as_object(line.get("settings")))
        outcome = from_json_or_none(Outcome, line) if line.get("kind") == "outcome" else None
        if outcome is not None and outcome.status != "cut":
            key = outcome.trial, outcome.rung
            self._outcomes.pop(key, None)
            # An outcome that might be different today is tried again.
            if outcome.is_final and Run(self.folder / outcome.trial).exists:
                self._outcomes[key] = outcome
