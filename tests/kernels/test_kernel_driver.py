"""The kernels as a C++ program of their own, under the compiler's sanitizers."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KERNELS = HERE.parents[1] / "charlm" / "kernels"
# The longest first, so that none of them is waited for alone.
SOURCES = sorted([*KERNELS.glob("*.cpp"), HERE / "driver.cpp"], key=lambda source: -source.stat().st_size)
pytestmark = pytest.mark.kernels


def compiler() -> list[str]:
    """Return what compiles C++ here."""
    command = shlex.split(os.environ.get("CXX", "")) or [shutil.which("g++") or shutil.which("c++") or ""]
    if not command[0] or not shutil.which(command[0]):
        pytest.skip("there is no C++ compiler")
    return command


def run_driver(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Compile the kernels and the driver with some options, and run it."""
    command = [*compiler(), "-std=c++17", "-march=x86-64-v3", "-ffp-contract=off", f"-I{KERNELS}", *options]
    objects = [folder / f"{source.stem}.o" for source in SOURCES]

    def compile_one(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, "-c", str(source), "-o", str(target)], capture_output=True, text=True)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        compiled = list(pool.map(compile_one, SOURCES, objects))
    assert [result.stderr for result in compiled if result.returncode] == []
    program = folder / "driver"
    subprocess.run([*command, *map(str, objects), "-pthread", "-o", str(program)], check=True)
    return subprocess.run([str(program)], capture_output=True, text=True)


def test_the_kernels_equal_plain_loops_and_touch_nothing_that_is_not_theirs(tmp_path: Path) -> None:
    result = run_driver(tmp_path, "-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    assert result.stdout.startswith("213 cases")


@pytest.mark.slow
def test_no_two_threads_of_the_kernels_race(tmp_path: Path) -> None:
    result = run_driver(tmp_path, "-O1", "-g1", "-fsanitize=thread")
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
