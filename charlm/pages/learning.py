"""What the tab Learn shows: how a network came to be, what its units do, and one step of it in its own numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from charlm.insight.gates import GateShares
from charlm.pages.charts import MAX_POINTS, Axis, Chart, ChartKey, ChartPanel, Curve, rounded
from charlm.runs.json_records import Json
from charlm.runs.records import EvaluationLine, Sample, SampleTable

MANY_UNITS = f"Of layers with more than {MAX_POINTS} units, some units are shown, at even distances."
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
    curves: Mapping[str, Chart] = field(default_factory=dict[str, Chart])
    stages: Sequence[Json] = ()
    num_stages: int = 0
    gradients: Chart | None = None
    memory: Chart | None = None
    gates: Chart | None = None
    readings: Sequence[str] = ()
    equations: Json | None = None

    def as_json(self) -> Json | None:
        """Return what the script reads; None if there is nothing to show."""
        charts = {name: getattr(self, name) for name in ("gradients", "memory", "gates")}
        if not any((self.notes, self.curves, self.stages, self.equations, *charts.values())):
            return None
        return {
            "notes": list[JsonValue](self.notes),
            "curves": [{"name": name, "chart": chart.as_json()} for name, chart in self.curves.items()],
            "stages": list[JsonValue](self.stages),
            "num_stages": self.num_stages,
            "readings": list[JsonValue](self.readings),
            "equations": self.equations,
            **{name: chart and chart.as_json() for name, chart in charts.items()},
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
    """Return at most so many places, evenly, from the first to the last."""
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
    """Return what was given before the text, the text, and what was given after it, in at most so many characters."""
    return [sample.prefix or "", sample.continuation[:MAX_SAMPLE_CHARS], sample.suffix or ""]


def gate_chart(networks: Sequence[tuple[str, Sequence[GateShares]]]) -> Chart:
    """Return the saturation plot of Karpathy, Johnson and Li 2015: a panel for each gate, a point for each unit.

    Args:
        networks: the name of each network, and the shares of all its gates and layers.
    """
    panels = [panel for name, shares in networks for panel in _gate_panels(name, shares, with_name=len(networks) > 1)]
    depth = max((share.layer for _, shares in networks for share in shares), default=0)
    keys = [ChartKey(label=f"layer {layer + 1}", number=layer, kind="point") for layer in range(depth)]
    most = max((len(share.units) for _, shares in networks for share in shares), default=0)
    return Chart(panels=panels, keys=keys, sentences=[MANY_UNITS] if most > MAX_POINTS else [])


def _gate_panels(name: str, shares: Sequence[GateShares], *, with_name: bool) -> Iterable[ChartPanel]:
    for letter in dict.fromkeys(share.letter for share in shares):
        layers = [share for share in shares if share.letter == letter]
        gate = f"{layers[0].gate} {'units' if letter == 'h' else f'gate {letter}'}"
        low, high = layers[0].low, layers[0].high
        below = "exactly 0" if high is None else f"below {_signed(low)}"
        above = "never, for relu has no upper end" if high is None else f"above {_signed(high)}"
        yield ChartPanel(
            x=Axis(title=f"share of the time {below}", is_share=True),
            y=Axis(title=f"share of the time {above}", is_share=True),
            curves=[_units(each) for each in layers],
            title=f"{name}: {gate}" if with_name else gate,
        )


def _signed(value: float) -> str:
    """Return a number with a minus sign in place of a hyphen."""
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def _units(share: GateShares) -> Curve:
    return Curve(
        label=f"layer {share.layer}",
        number=share.layer - 1,
        x=[below for below, _ in share.units],
        y=[above for _, above in share.units],
        is_joined=False,
    )
