"""A whole benchmark: the comparisons and their order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch

from charlm.benchmarks.findings import Findings, Measurement, Sgemm, Unit, What
from charlm.benchmarks.machine import load_between, read_cpu_times, read_load_average, read_processor
from charlm.benchmarks.memory import can_measure_memory, measure_memory
from charlm.benchmarks.sizes import Sizes, layer_flops, sgemm_shape
from charlm.benchmarks.subjects import (
    NUM_TEXTS,
    STREAM_CHARS,
    TEXT_CHARS,
    Classic,
    Ours,
    Subject,
    Work,
    can_autocast,
    joint_texts,
    layer_steps,
    products,
    single_texts,
    stream,
    training_steps,
)
from charlm.benchmarks.timing import measure_in_turn
from charlm.errors import ConfigError
from charlm.networks.implementations import Chosen, choose_precision
from charlm.networks.native import NativeStack
from charlm.settings.model import Cell, ModelSettings
from charlm.settings.training import ChosenPrecision
from charlm.training.environment import machine_facts

# Takes the number of measurements done, their total, and the name of the next one.
Observer = Callable[[int, int, str], None]
Rounds = tuple[float, ...]
GIGA = 1e9


@dataclass(frozen=True)
class Benchmark:
    """The plan of a benchmark.

    Args:
        whats: what to measure: layer steps, whole training steps, generation, memory.
        cells: the networks' cells.
        implementations: our implementations, each of which is compared with the classic loop.
        sizes: the sizes of networks and windows.
        rounds: the number of rounds, in each of which everything has a turn.
        device: the device to run on, cpu or cuda.
        precision: what our products are computed in; bfloat16 is compared with torch's autocast, too.
    Raises:
        ConfigError: if something cannot be measured on this machine.
    """

    whats: tuple[What, ...]
    cells: tuple[Cell, ...]
    implementations: tuple[Chosen, ...]
    sizes: Sizes
    rounds: int
    device: torch.device
    precision: ChosenPrecision = "float32"

    def __post_init__(self) -> None:
        missing = _missing_kernels(self.device)
        if "native" in self.implementations and missing:
            raise ConfigError(f"the native implementation cannot be measured: {missing}")
        if self.precision == "bfloat16":
            self._check_bfloat16()
        if "memory" in self.whats and not can_measure_memory():
            raise ConfigError("memory cannot be measured: only Linux reports the peak memory of a process")

    def _check_bfloat16(self) -> None:
        if self.implementations != ("native",):
            raise ConfigError("--precision bfloat16 measures the native implementation: leave --implementation out")
        if "generation" in self.whats:
            raise ConfigError("--precision bfloat16 concerns training: generation is always computed in float32")
        choose_precision(self.precision, ModelSettings(), "native", self.device.type)

    def baselines(self, cell: Cell) -> tuple[Classic, ...]:
        """Return what ours is compared with: the classic loop, and in bfloat16 torch's autocast, if it runs here."""
        has_autocast = self.precision == "bfloat16" and can_autocast(cell, self.sizes, self.device)
        return ("classic", "autocast") if has_autocast else ("classic",)

    def ours(self, implementation: Chosen) -> Ours:
        """Return what is measured for an implementation."""
        return "bfloat16" if self.precision == "bfloat16" else implementation

    def subjects(self, cell: Cell) -> tuple[Subject, ...]:
        """Return the baselines and our implementations."""
        return (*self.baselines(cell), *map(self.ours, self.implementations))


def default_implementations(device: torch.device) -> tuple[Chosen, ...]:
    """Return the implementations that `auto` can choose on this machine."""
    return ("torch",) if _missing_kernels(device) else ("native", "torch")


def _missing_kernels(device: torch.device) -> str | None:
    return NativeStack.missing(ModelSettings(), device.type)


def run_benchmark(plan: Benchmark, progress: Observer) -> Findings:
    """Measure everything that a plan names."""
    measurements: Mapping[What, tuple[Callable[[Benchmark, Cell], list[Measurement]], ...]] = {
        "layer": (compare_layers,),
        "step": (compare_steps,),
        "generation": (compare_streams, compare_texts),
        "memory": (compare_memory,),
    }
    todo: list[tuple[What, Callable[[Benchmark, Cell], list[Measurement]], Cell]] = [
        (what, compare, cell) for what in plan.whats for compare in measurements[what] for cell in plan.cells
    ]
    comparisons: list[Measurement] = []
    load_average, before = read_load_average(), read_cpu_times()
    for done, (what, compare, cell) in enumerate(todo):
        progress(done, len(todo), f"{what}, {cell}")
        comparisons += compare(plan, cell)
    load = load_between(before, read_cpu_times(), load_average)
    # All implementations of a cell were measured in the same rounds as one product.
    sgemms: dict[Cell, Rounds] = {each.cell: each.sgemm_gflops for each in comparisons if each.sgemm_gflops}
    compared = plan.cells if plan.precision == "bfloat16" else ()
    return Findings(
        machine={**machine_facts(), "device": str(plan.device)},
        processor=read_processor(),
        load=load,
        sizes=plan.sizes,
        rounds=plan.rounds,
        sgemms=tuple(Sgemm(cell, sgemm_shape(cell, plan.sizes), gflops) for cell, gflops in sgemms.items()),
        comparisons=tuple(comparisons),
        precision=plan.precision,
        not_autocast=tuple(cell for cell in compared if "autocast" not in plan.baselines(cell)),
    )


def compare_layers(plan: Benchmark, cell: Cell) -> list[Measurement]:
    """Compare layer steps, and measure torch's matrix product in the same rounds."""
    shape, flops = sgemm_shape(cell, plan.sizes), layer_flops(cell, plan.sizes)
    works: dict[str, Work] = {name: layer_steps(name, cell, plan.sizes, plan.device) for name in plan.subjects(cell)}
    works["sgemm"] = products(shape, plan.device)
    seconds = measure_in_turn(works, rounds=plan.rounds, device=plan.device)
    rows = _against_classics(plan, "layer", cell, "ms", _all(seconds, _milliseconds))
    sgemm = _rates(shape.flops / GIGA, seconds["sgemm"])
    return [
        replace(row, gflops=_rates(flops / GIGA, seconds[plan.ours(row.implementation)]), sgemm_gflops=sgemm)
        for row in rows
    ]


def compare_steps(plan: Benchmark, cell: Cell) -> list[Measurement]:
    """Compare whole training steps."""
    works = {name: training_steps(name, cell, plan.sizes, plan.device) for name in plan.subjects(cell)}
    seconds = measure_in_turn(works, rounds=plan.rounds, device=plan.device)
    return _against_classics(plan, "step", cell, "ms", _all(seconds, _milliseconds))


def compare_streams(plan: Benchmark, cell: Cell) -> list[Measurement]:
    """Compare how fast one text is written."""
    works = {name: stream(name, cell, plan.sizes, plan.device) for name in plan.subjects(cell)}
    seconds = measure_in_turn(works, rounds=plan.rounds, device=plan.device)
    rates = _all(seconds, lambda each: _rates(STREAM_CHARS, each))
    return [replace(row, num_texts=1) for row in _against_classics(plan, "generation", cell, "chars_per_second", rates)]


def compare_texts(plan: Benchmark, cell: Cell) -> list[Measurement]:
    """Compare, for each implementation, texts written side by side with the same texts written one by one."""
    works: dict[str, Work] = {}
    for name in plan.implementations:
        works[f"{name}, one by one"] = single_texts(name, cell, plan.sizes, plan.device)
        works[f"{name}, side by side"] = joint_texts(name, cell, plan.sizes, plan.device)
    seconds = measure_in_turn(works, rounds=plan.rounds, device=plan.device)
    return [
        Measurement(
            what="generation",
            cell=cell,
            implementation=name,
            unit="chars_per_second",
            theirs=_rates(TEXT_CHARS, seconds[f"{name}, one by one"]),
            ours=_rates(NUM_TEXTS * TEXT_CHARS, seconds[f"{name}, side by side"]),
            baseline="one_by_one",
            num_texts=NUM_TEXTS,
        )
        for name in plan.implementations
    ]


def compare_memory(plan: Benchmark, cell: Cell) -> list[Measurement]:
    """Compare how much training steps add to the peak memory; one round is enough, because it hardly varies."""
    subjects = plan.subjects(cell)
    growths = measure_memory(subjects, cell, plan.sizes, plan.device)
    values = {name: (float(growth),) for name, growth in zip(subjects, growths, strict=True)}
    return _against_classics(plan, "memory", cell, "bytes", values)


def _against_classics(
    plan: Benchmark, what: What, cell: Cell, unit: Unit, values: Mapping[str, Rounds]
) -> list[Measurement]:
    classics: tuple[Classic, ...] = ("classic", "autocast")
    return [
        Measurement(what, cell, name, unit, values[classic], values[plan.ours(name)], baseline=classic)
        for classic in classics
        if classic in values
        for name in plan.implementations
    ]


def _all(values: Mapping[str, Rounds], convert: Callable[[Rounds], Rounds]) -> dict[str, Rounds]:
    return {name: convert(each) for name, each in values.items()}


def _milliseconds(seconds: Rounds) -> Rounds:
    return tuple(1000 * each for each in seconds)


def _rates(amount: float, seconds: Rounds) -> Rounds:
    return tuple(amount / each for each in seconds)
