"""How much memory training takes: the growth of the peak in a fresh process, on Linux."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from charlm.benchmarks.sizes import Sizes
from charlm.benchmarks.subjects import Subject, training_steps
from charlm.settings.model import Cell

NUM_STEPS = 8
STATUS = Path("/proc/self/status")


def can_measure_memory() -> bool:
    """Return whether this system reports a process's peak memory, as Linux does."""
    return STATUS.exists()


def measure_memory(subjects: Sequence[Subject], cell: Cell, sizes: Sizes, device: torch.device) -> list[int]:
    """Return by how many bytes each subject's peak of resident memory grows over its first training steps.

    The network and its optimiser exist before the first step. On CUDA the peak is that of torch's memory on the GPU.
    The processes run at the same time, because memory, unlike time, is not shared between them.
    """
    with ExitStack() as stack:
        processes = [stack.enter_context(_start(subject, cell, sizes, device)) for subject in subjects]
        return [_result(process) for process in processes]


def _start(subject: Subject, cell: Cell, sizes: Sizes, device: torch.device) -> subprocess.Popen[str]:
    request = {
        "subject": subject,
        "cell": cell,
        "sizes": asdict(sizes),
        "device": str(device),
        "threads": torch.get_num_threads(),
    }
    # Use the same packages as this process, whatever is in the folder that Python is started from.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-P", "-m", "charlm.benchmarks.memory", json.dumps(request)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _result(process: subprocess.Popen[str]) -> int:
    output, errors = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"the process that measures memory ended with exit code {process.returncode}: {errors}")
    return int(output)


def measure_here(request: dict[str, Any]) -> int:
    """Return by how many bytes the peak memory of this process grows over some training steps."""
    torch.set_num_threads(request["threads"])
    device = torch.device(request["device"])
    steps = training_steps(request["subject"], request["cell"], Sizes(**request["sizes"]), device)
    before = _peak_bytes(device)
    for _ in range(NUM_STEPS):
        next(steps)
    return _peak_bytes(device) - before


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Do not use getrusage: its ru_maxrss starts at the peak of the process that started this one.
    found = re.search(r"^VmHWM:\s+(\d+) kB$", STATUS.read_text(encoding="ascii"), flags=re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


if __name__ == "__main__":
    print(measure_here(json.loads(sys.argv[1])))
