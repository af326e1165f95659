"""What a benchmark says about its machine: the processor, and whether others used it meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from charlm.benchmarks import machine, suite
from charlm.benchmarks.findings import Findings
from charlm.benchmarks.machine import (
    CpuTimes,
    Load,
    Processor,
    load_between,
    read_cpu_times,
    read_load_average,
    read_processor,
)
from charlm.benchmarks.sizes import Sizes
from charlm.console.benchmarks import header_lines

X86 = """\
processor\t: 0
cpu family\t: 25
model\t\t: 17
model name\t: AMD EPYC
cache size\t: 1024 KB
flags\t\t: fpu fma avx512_bf16 avx2 avx512f avx512_vnni

processor\t: 1
model name\t: another
"""
ARM = """\
processor\t: 0
BogoMIPS\t: 2000.00
Features\t: fp asimd sve bf16
"""


def found(load: Load, device: str = "cpu") -> Findings:
    """Return findings without results."""
    facts = {"cpu_capability": "AVX2", "versions": {"torch": "2"}, "threads": 1, "device": device, "gpus": ["First"]}
    return Findings(facts, Processor("AMD EPYC"), load, Sizes(), 9, (), ())


@pytest.mark.parametrize(
    ("text", "processor", "shown"),
    [
        (
            X86,
            Processor("AMD EPYC", 25, 17, ("avx2", "fma", "avx512f", "avx512_bf16")),
            "AMD EPYC (family 25, model 17): avx2 fma avx512f avx512_bf16",
        ),
        (ARM, Processor("a name", flags=("asimd", "sve", "bf16")), "a name: asimd sve bf16"),
        (None, Processor("a name"), "a name"),
    ],
)
def test_the_processor_is_described_by_what_the_system_tells(
    text: str | None, processor: Processor, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine.platform, "processor", lambda: "")
    monkeypatch.setattr(machine.platform, "machine", lambda: "a name")
    assert read_processor() == processor
    assert str(processor) == shown


def test_times_are_those_of_all_cores_and_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # user, nice, system, idle, iowait, irq, softirq, steal, and two that user and nice contain.
    (tmp_path / "stat").write_text("cpu  100 20 30 1000 200 4 5 6 70 8\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
    monkeypatch.setattr(machine, "STAT", tmp_path / "stat")
    monkeypatch.setattr(machine.os, "sysconf", lambda _: 10)
    monkeypatch.setattr(machine.os, "times", lambda: os.times_result((1.0, 2.0, 0.5, 0.25, 99.0)))
    assert read_cpu_times() == CpuTimes(total=136.5, busy=16.5, own=3.75)


@pytest.mark.parametrize(
    ("busy", "own", "fraction", "is_quiet"),
    [(50.0, 50.0, 0.0, True), (50.0, 45.0, 0.05, True), (50.0, 44.0, 0.06, False), (50.0, 50.5, 0.0, True)],
)
def test_others_used_what_was_busy_and_not_ours(busy: float, own: float, fraction: float, *, is_quiet: bool) -> None:
    load = load_between(CpuTimes(1000.0, 10.0, 1.0), CpuTimes(1100.0, 10.0 + busy, 1.0 + own), 0.5)
    assert load.others_fraction == pytest.approx(fraction)
    assert load.is_quiet is is_quiet
    assert load.as_record() == {
        "cores": os.cpu_count(),
        "load_average": 0.5,
        "others_fraction": load.others_fraction,
        "is_quiet": is_quiet,
    }


def test_without_the_times_of_all_cores_it_cannot_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "STAT", tmp_path / "none")
    monkeypatch.delattr(machine.os, "getloadavg", raising=False)
    assert read_cpu_times() is None
    assert read_load_average() is None
    load = load_between(read_cpu_times(), read_cpu_times(), read_load_average())
    assert (load.others_fraction, load.is_quiet) == (None, None)
    assert "not known how much other processes used" in header_lines(found(load))


def test_a_benchmark_shorter_than_a_tick_is_not_called_quiet() -> None:
    times = CpuTimes(1000.0, 10.0, 1.0)
    assert load_between(times, times, None).is_quiet is None


def test_the_header_calls_a_machine_quiet_only_if_it_was() -> None:
    quiet, busy = Load(2, 0.123, 0.0123), Load(1, None, 0.4)
    assert "load average before: 0.12; other processes used 1.2% of 2 cores: quiet" in header_lines(found(quiet))
    lines = header_lines(found(busy))
    assert "other processes used 40.0% of 1 core: not quiet" in lines
    assert "close other programs and measure again before you rely on these results" in lines
    assert not any(line.endswith(": quiet") for line in lines)


def test_a_gpu_stands_in_place_of_the_processor() -> None:
    lines = header_lines(found(Load(2, None, 0.0), "cuda:0"))
    assert lines[0] == "First, torch 2, 1 thread, float32"


def test_a_benchmark_measures_others_from_its_beginning_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([CpuTimes(1000.0, 10.0, 1.0), CpuTimes(1100.0, 60.0, 21.0)])
    monkeypatch.setattr(suite, "read_cpu_times", lambda: next(times))
    plan = suite.Benchmark(("layer",), (), ("torch",), Sizes(), 1, suite.torch.device("cpu"))
    assert suite.run_benchmark(plan, lambda *_: None).load.others_fraction == pytest.approx(0.3)
