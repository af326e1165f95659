"""What this processor can do, and which of the compiled instruction sets fits it best."""

from __future__ import annotations

import os
import re
from pathlib import Path

# The instruction sets that the tests have run on such a processor, the best one first, with Linux' names of what each
# needs. Torch's own code for AVX512 and AVX2 needs the same.
INSTRUCTION_SETS = {
    "x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    "x86-64-v3": {"avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"},
}
# What a processor needs for the library whose bfloat16 products are instructions. In float32 its bits are those of the
# library without them, so both have the same name.
BFLOAT16_FLAGS = {"x86-64-v4": "avx512_bf16"}
# With torch's variable, a better processor is used like an older one.
CAPABILITIES = {"avx512": "x86-64-v4", "avx2": "x86-64-v3", "default": None}


def best_instruction_set() -> str | None:
    """Return the best instruction set that this processor has, or the one that ATEN_CPU_CAPABILITY asks for."""
    has = _processor_flags()
    found = [name for name, needed in INSTRUCTION_SETS.items() if needed <= has]
    asked = os.environ.get("ATEN_CPU_CAPABILITY", "")
    if asked in CAPABILITIES:
        found = [name for name in found if name == CAPABILITIES[asked]]
    return next(iter(found), None)


def has_bfloat16(instruction_set: str) -> bool:
    """Return whether this processor has instructions for bfloat16 beside those of an instruction set."""
    return BFLOAT16_FLAGS.get(instruction_set) in _processor_flags()


def _processor_flags() -> set[str]:
    cpuinfo = Path("/proc/cpuinfo")
    match = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(), flags=re.MULTILINE) if cpuinfo.exists() else None
    return set(match[1].split()) if match else set()
