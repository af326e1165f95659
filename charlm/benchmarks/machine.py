"""The machine that a benchmark runs on: its processor, and how much of it other processes used meanwhile."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import asdict, dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
STAT = Path("/proc/stat")
# The flags that decide which code torch and the kernels run, by Linux' names for x86-64 and ARM.
FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16")
QUIET_FRACTION = 0.05


@dataclass(frozen=True)
class Processor:
    """A processor as Linux describes it; elsewhere only its name is known.

    Args:
        name: what it calls itself, which is often the same for several generations.
        family: the family of an x86-64 processor, which tells the generations apart.
        model: its model within the family.
        flags: those of FLAGS that it has.
    """

    name: str
    family: int | None = None
    model: int | None = None
    flags: tuple[str, ...] = ()

    def __str__(self) -> str:
        family = "" if self.family is None else f" (family {self.family}, model {self.model})"
        return f"{self.name}{family}" + (f": {' '.join(self.flags)}" if self.flags else "")


@dataclass(frozen=True)
class CpuTimes:
    """Seconds that all cores together have spent since the machine started, and this process since it did.

    Args:
        total: whether they worked or not.
        busy: at work, and taken away by the host of a virtual machine.
        own: at work for this process and for its children that have ended.
    """

    total: float
    busy: float
    own: float


@dataclass(frozen=True)
class Load:
    """What else the machine did during a benchmark.

    Args:
        cores: the number of cores.
        load_average: the mean number of processes that wanted to run in the minute before, or None if it is not known.
        others_fraction: the share of all cores' time that others took, or None if it is not known.
    """

    cores: int
    load_average: float | None
    others_fraction: float | None

    @property
    def is_quiet(self) -> bool | None:
        """Whether others took at most QUIET_FRACTION, or None if it cannot be told."""
        return None if self.others_fraction is None else self.others_fraction <= QUIET_FRACTION

    def as_record(self) -> dict[str, object]:
        """Return a JSON object of the fields and `is_quiet`."""
        return {**asdict(self), "is_quiet": self.is_quiet}


def read_processor() -> Processor:
    """Return this machine's processor."""
    text = CPUINFO.read_text() if CPUINFO.exists() else ""
    fields = dict(re.findall(r"^(.*?)\s*:\s*(.*)$", text.partition("\n\n")[0], flags=re.MULTILINE))
    has = set((fields.get("flags") or fields.get("Features", "")).split())
    return Processor(
        name=fields.get("model name") or platform.processor() or platform.machine(),
        family=int(fields["cpu family"]) if "cpu family" in fields else None,
        model=int(fields["model"]) if "model" in fields else None,
        flags=tuple(flag for flag in FLAGS if flag in has),
    )


def read_load_average() -> float | None:
    """Return the load average of the last minute, or None where the system has none."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def read_cpu_times() -> CpuTimes | None:
    """Return the times so far, or None where the system does not report those of all cores."""
    if not STAT.exists():
        return None
    # user, nice, system, idle, iowait, irq, softirq, steal; what follows is contained in the first two.
    ticks = [int(count) for count in STAT.read_text().split("\n", 1)[0].split()[1:9]]
    rate = os.sysconf("SC_CLK_TCK")
    return CpuTimes(total=sum(ticks) / rate, busy=(sum(ticks) - sum(ticks[3:5])) / rate, own=sum(os.times()[:4]))


def load_between(before: CpuTimes | None, after: CpuTimes | None, load_average: float | None) -> Load:
    """Return what others did between two readings; load_average is that of the minute before the first one."""
    cores = os.cpu_count() or 1
    if before is None or after is None or after.total <= before.total:
        return Load(cores, load_average, None)
    others = (after.busy - before.busy) - (after.own - before.own)
    # Clocks of different grain may leave a little less than nothing.
    return Load(cores, load_average, max(0.0, others / (after.total - before.total)))
