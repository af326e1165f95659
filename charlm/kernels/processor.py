"""What this processor can do, and which of the compiled instruction sets fits it best."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

# The instruction sets that the tests have run, the best one first, with Linux' names of what each needs. Torch's own
# code for AVX512 and AVX2 needs the same.
INSTRUCTION_SETS = {
    "x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    "x86-64-v3": {"avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"},
    "aarch64": {"asimd"},
}
# Those on which the kernels have been found faster than torch on a real processor.
MEASURED = {"x86-64-v4", "x86-64-v3"}
# What a processor needs for the library whose bfloat16 products are instructions. In float32 its bits are those of the
# library without them, so both have the same name.
BFLOAT16_FLAGS = {"x86-64-v4": "avx512_bf16"}
# With torch's variable, a better x86 processor is used like an older one.
CAPABILITIES = {"avx512": "x86-64-v4", "avx2": "x86-64-v3", "default": None}


def best_instruction_set() -> str | None:
    """Return the best instruction set that this processor has, or the one that ATEN_CPU_CAPABILITY asks for."""
    has = _processor_features()
    found = [name for name, needed in INSTRUCTION_SETS.items() if needed <= has]
    asked = os.environ.get("ATEN_CPU_CAPABILITY", "")
    if asked in CAPABILITIES and "asimd" not in has:
        found = [name for name in found if name == CAPABILITIES[asked]]
    return next(iter(found), None)


def has_bfloat16(instruction_set: str) -> bool:
    """Return whether this processor has instructions for bfloat16 beside those of an instruction set."""
    return BFLOAT16_FLAGS.get(instruction_set) in _processor_features()


def available_threads() -> int:
    """Return the number of threads that torch begins with: OMP_NUM_THREADS, or else one for each core."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor_features() -> set[str]:
    """Return what this processor has, under Linux' names; every 64-bit ARM has the vectors that the kernels need."""
    if platform.machine() in ("aarch64", "arm64"):
        return {"asimd"}
    cpuinfo = Path("/proc/cpuinfo")
    match = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(), flags=re.MULTILINE) if cpuinfo.exists() else None
    return set(match[1].split()) if match else set[str]()
