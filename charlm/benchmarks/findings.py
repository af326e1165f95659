"""The results of a benchmark: rows that compare ours with a baseline, and the machine's matrix product."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from charlm.benchmarks.machine import Load, Processor
from charlm.benchmarks.sizes import ProductShape, Sizes
from charlm.benchmarks.timing import MedianRange, median_range
from charlm.networks.implementations import Chosen
from charlm.settings.model import Cell
from charlm.settings.training import ChosenPrecision

What = Literal["layer", "step", "generation", "memory"]
Unit = Literal["ms", "chars_per_second", "bytes"]


@dataclass(frozen=True)
class Measurement:
    """Values of ours and of the baseline, measured in the same rounds.

    Args:
        what: the kind of measurement.
        cell: the cell of both.
        implementation: our implementation.
        unit: the unit of both values.
        theirs: the baseline's value in each round.
        ours: our value in each round.
        baseline: the classic loop, the same under torch's autocast, or our network writing texts one by one.
        num_texts: number of texts that ours writes side by side, if it writes any.
        gflops: rate that ours reached in each round of layer steps.
        sgemm_gflops: rate that torch's matrix product reached in the same rounds.
    """

    what: What
    cell: Cell
    implementation: Chosen
    unit: Unit
    theirs: tuple[float, ...]
    ours: tuple[float, ...]
    baseline: Literal["classic", "autocast", "one_by_one"] = "classic"
    num_texts: int | None = None
    gflops: tuple[float, ...] = ()
    sgemm_gflops: tuple[float, ...] = ()

    @property
    def ratio(self) -> MedianRange:
        """How many times as fast ours is; for memory, how many times as much it takes."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return median_range(tuple(theirs / ours if self.unit == "ms" else ours / theirs for ours, theirs in pairs))

    @property
    def sgemm_fraction(self) -> MedianRange | None:
        """Our share of the matrix product's rate; it exceeds 1 where that product is not the processor's best."""
        if not self.gflops:
            return None
        pairs = zip(self.gflops, self.sgemm_gflops, strict=True)
        return median_range(tuple(gflops / sgemm for gflops, sgemm in pairs))

    def as_record(self) -> dict[str, object]:
        """Return a JSON object of medians, with their units in the names, and ratios with their range."""
        record: dict[str, object] = {
            "what": self.what,
            "cell": self.cell,
            "implementation": self.implementation,
            **({} if self.num_texts is None else {"num_texts": self.num_texts}),
            "baseline": self.baseline,
            f"baseline_{self.unit}": median_range(self.theirs).median,
            f"ours_{self.unit}": median_range(self.ours).median,
            "ratio_of": "memory" if self.unit == "bytes" else "speed",
            **self.ratio.as_record("ratio"),
            "rounds": len(self.ours),
        }
        if fraction := self.sgemm_fraction:
            record["ours_gflops"] = median_range(self.gflops).median
            record["sgemm_gflops"] = median_range(self.sgemm_gflops).median
            record |= fraction.as_record("sgemm_fraction")
        return record


@dataclass(frozen=True)
class Sgemm:
    """The rate of torch's product of two matrices in each round of a cell's layer steps."""

    cell: Cell
    shape: ProductShape
    gflops: tuple[float, ...]

    def as_record(self) -> dict[str, object]:
        """Return a JSON object of the shape, the median and its range."""
        return {"cell": self.cell, **asdict(self.shape), **median_range(self.gflops).as_record("gflops")}


@dataclass(frozen=True)
class Findings:
    """All results of a benchmark.

    Args:
        machine: what computations on the machine depend on.
        processor: the machine's processor.
        load: what else the machine did meanwhile.
        sizes: the sizes of networks and windows.
        rounds: the number of rounds, in each of which everything had a turn.
        sgemms: one for each cell, if layer steps were measured.
        comparisons: the rows, in the order in which they were asked for.
        precision: what our products were computed in.
        not_autocast: the cells that torch's autocast does not run here, if it was to be compared with.
    """

    machine: dict[str, Any]
    processor: Processor
    load: Load
    sizes: Sizes
    rounds: int
    sgemms: tuple[Sgemm, ...]
    comparisons: tuple[Measurement, ...]
    precision: ChosenPrecision = "float32"
    not_autocast: tuple[Cell, ...] = ()

    def as_record(self) -> dict[str, object]:
        """Return a JSON object of machine, processor, load, sizes, precision, sgemm and rows."""
        return {
            "machine": self.machine,
            "processor": asdict(self.processor),
            "load": self.load.as_record(),
            "sizes": asdict(self.sizes),
            "precision": self.precision,
            "sgemm": [sgemm.as_record() for sgemm in self.sgemms],
            "rows": [comparison.as_record() for comparison in self.comparisons],
        }
