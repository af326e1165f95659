"""What the tab Learn shows: how a network came to be, what its units do, and one step of it in its own numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from charlm.pages.charts import chart_record, rounded
from charlm.reports.pictures import Picture
from charlm.runs.json_records import Json
from charlm.runs.records import EvaluationLine, Sample, SampleTable

# All samples of a page together.
MAX_STAGES, MAX_SAMPLE_CHARS = 200, 400_000


@dataclass(frozen=True, kw_only=True)
class LearnData:
    """The data of the tab; what is None is not shown.

    Args:
        notes: sentences about what is missing.
        curves: the learning curves, by what they are drawn against.
        stages: what the network wrote as it learned, from the first sample to the last.
        num_stages: how many there were, of which a page has a selection.
        gradients: the gradients by lag.
        memory: what a character costs by the number of characters read.
        gates: how often the gates of each network are shut and open.
        readings: a sentence about each network that was inspected.
        equations: one step in the network's own numbers.
    """

    notes: Sequence[str] = ()
    curves: Mapping[str, Picture] = field(default_factory=dict[str, Picture])
    stages: Sequence[Json] = ()
    num_stages: int = 0
    gradients: Picture | None = None
    memory: Picture | None = None
    gates: Picture | None = None
    readings: Sequence[str] = ()
    equations: Json | None = None

    def as_json(self) -> Json | None:
        """Return what the script reads; None if there is nothing to show."""
        pictures: dict[str, Picture | None] = {name: getattr(self, name) for name in ("gradients", "memory", "gates")}
        if not any((self.notes, self.curves, self.stages, self.equations, *pictures.values())):
            return None
        return {
            "notes": list[JsonValue](self.notes),
            "curves": [{"name": name, "chart": chart_record(picture)} for name, picture in self.curves.items()],
            "stages": list[JsonValue](self.stages),
            "num_stages": self.num_stages,
            "readings": list[JsonValue](self.readings),
            "equations": self.equations,
            **{name: picture and chart_record(picture) for name, picture in pictures.items()},
        }


def sample_stages(tables: Sequence[SampleTable], evaluations: Iterable[EvaluationLine]) -> list[Json]:
    """Return what a network wrote at each step, with its perplexity there where it is known.

    Of many steps, those are kept that are spread evenly; the first and the last are always among them.

    Args:
        tables: the samples of a run.
        evaluations: its evaluations.
    """
    by_step = {each.step: each for each in evaluations}
    size = max((sum(len(sample.continuation) for sample in table.samples) for table in tables), default=0)
    most = max(2, min(MAX_STAGES, MAX_SAMPLE_CHARS // max(size, 1)))
    return [_stage(tables[at], by_step.get(tables[at].step)) for at in _spread(len(tables), most)]


def _spread(number: int, most: int) -> list[int]:
    """Return `most` places or fewer, spread evenly from the first to the last."""
    if number <= most:
        return list(range(number))
    return [round(at * (number - 1) / (most - 1)) for at in range(most)]


def _stage(table: SampleTable, evaluation: EvaluationLine | None) -> Json:
    val, recent = (evaluation.val, evaluation.recent) if evaluation else (None, None)
    rates = recent if val is None else val
    return {
        "step": table.step,
        "epoch": table.epoch,
        "perplexity": None if rates is None else rounded(rates.perplexity),
        "of": "training" if val is None else "validation",
        "texts": [_pieces(sample) for sample in table.samples],
    }


def _pieces(sample: Sample) -> list[JsonValue]:
    """Return what was given before the text, the text, and what was given after it, each not too long for a page."""
    return [sample.prefix or "", sample.continuation[:MAX_SAMPLE_CHARS], sample.suffix or ""]
