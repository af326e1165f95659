"""The kernels as a separate C++ program, under the compiler's sanitisers."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest

from charlm.kernels.processor import has_bfloat16

HERE = Path(__file__).parent
KERNELS = HERE.parents[1] / "charlm" / "kernels"
# The longest first, so that none of them is waited for alone.
SOURCES = sorted([*KERNELS.glob("*.cpp"), HERE / "driver.cpp"], key=lambda source: -source.stat().st_size)
# Every aarch64 processor has the vectors that the kernels need.
MARCH = ["-march=x86-64-v3"] if platform.machine() == "x86_64" else []
EMULATOR = ("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu")
pytestmark = pytest.mark.kernels


def compiler() -> list[str]:
    """Return what compiles C++ here."""
    command = shlex.split(os.environ.get("CXX", "")) or [shutil.which("g++") or shutil.which("c++") or ""]
    if not command[0] or not shutil.which(command[0]):
        pytest.skip("there is no C++ compiler")
    return command


def run_driver(
    objects: Path, folder: Path, *options: str, cross: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Compile the kernels and the driver with some options, and run it; objects are kept for the next time.

    Args:
        cross: a compiler for aarch64, whose program then runs in the emulator.
    """
    chosen = [cross] if cross else [*compiler(), *MARCH]
    command = [*chosen, "-std=c++17", "-ffp-contract=off", *options]
    facts = sha256(repr([command, output_of(*command[:1], "--version")]).encode())
    for header in sorted(KERNELS.glob("*.h")):
        facts.update(header.read_bytes())

    def compile_one(source: Path) -> str:
        """Compile a file, unless it has been with all that the object depends on; return the object."""
        name = facts.copy()
        name.update(source.read_bytes())
        target = objects / f"{source.stem}-{name.hexdigest()}.o"
        if not target.exists():
            made = folder / target.name
            output_of(*command, f"-I{KERNELS}", "-c", str(source), "-o", str(made))
            shutil.copy(made, draft := target.with_suffix(f".{os.getpid()}"))
            draft.replace(target)
        return str(target)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        compiled = list(pool.map(compile_one, SOURCES))
    program = str(folder / "driver")
    output_of(*command, *compiled, "-pthread", "-o", program)
    # The emulator has no tracing, which the search for leaks needs.
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"} if cross else None
    run = [*(EMULATOR if cross else ()), program]
    return subprocess.run(run, capture_output=True, text=True, env=environment)


@pytest.fixture
def objects(pytestconfig: pytest.Config, tmp_path: Path) -> Path:
    """Return where object files are kept for the next time; without pytest's cache they last as long as the test."""
    cache: pytest.Cache | None = getattr(pytestconfig, "cache", None)
    if cache is not None:
        return cache.mkdir("kernel-objects")
    (own := tmp_path / "kernel-objects").mkdir()
    return own


def output_of(*command: str) -> str:
    """Return what a command says that must end well."""
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


@pytest.mark.slow
def test_the_kernels_equal_plain_loops_and_touch_nothing_that_is_not_theirs(objects: Path, tmp_path: Path) -> None:
    # Without optimisation it takes longer to run, and much less to compile.
    result = run_driver(objects, tmp_path, "-O0", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    assert result.stdout.startswith("230 cases")


@pytest.mark.slow
def test_the_kernels_for_aarch64_touch_nothing_that_is_not_theirs(objects: Path, tmp_path: Path) -> None:
    for needed in ("aarch64-linux-gnu-g++", EMULATOR[0]):
        if not shutil.which(needed):
            pytest.skip(f"{needed} is not installed")
    sanitisers = ("-O0", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    result = run_driver(objects, tmp_path, *sanitisers, cross="aarch64-linux-gnu-g++")
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    assert result.stdout.startswith("230 cases")


@pytest.mark.slow
def test_the_instructions_for_bfloat16_touch_nothing_that_is_not_theirs(objects: Path, tmp_path: Path) -> None:
    if not has_bfloat16("x86-64-v4"):
        pytest.skip("this processor has no instructions for bfloat16")
    options = ("-march=x86-64-v4", "-mavx512bf16", "-O0", "-g1", "-fsanitize=address,undefined")
    result = run_driver(objects, tmp_path, *options, "-fno-sanitize-recover=all")
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    assert result.stdout.startswith("230 cases")


@pytest.mark.slow
def test_no_two_threads_of_the_kernels_race(objects: Path, tmp_path: Path) -> None:
    result = run_driver(objects, tmp_path, "-O1", "-g1", "-fsanitize=thread")
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
