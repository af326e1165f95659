"""The kernels from other compilers and for another processor: no warnings, and the same bits.

Programs for aarch64 run in an emulator, qemu, which computes what such a processor must. It says nothing about speed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from processes import run_code

from charlm.kernels.library import library_file
from charlm.kernels.processor import best_instruction_set, has_bfloat16

HERE = Path(__file__).parent
KERNELS = HERE.parents[1] / "charlm" / "kernels"
FLAGS = ("-std=c++17", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-pthread", f"-I{KERNELS}")
# The compilers for aarch64, and the options with which CMake uses them.
CROSS = ("-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64")
FOR_AARCH64 = {
    "g++": ("-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++", *CROSS),
    "clang++": ("-DCMAKE_CXX_COMPILER=clang++", "-DCMAKE_CXX_COMPILER_TARGET=aarch64-linux-gnu", *CROSS),
}
EMULATOR = ("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu")
pytestmark = pytest.mark.kernels


def need(*commands: str) -> None:
    """Skip a test that needs a command of a package that is not installed; CI installs all of them."""
    for command in commands:
        if not shutil.which(command):
            pytest.skip(f"{command} is not installed")


def output_of(*command: str | Path) -> str:
    """Return what a command says that must end well."""
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def build(folder: Path, *options: str) -> Path:
    """Build the libraries as an installation does, with each warning an error; return their folder."""
    need("cmake")
    generator = ("-G", "Ninja") if shutil.which("ninja") else ()
    output_of("cmake", "-S", KERNELS, "-B", folder, *generator, "-DCMAKE_CXX_FLAGS=-Werror", *options)
    output_of("cmake", "--build", folder, "--parallel", str(os.cpu_count()))
    return folder


def outcome(library: Path, folder: Path, compiler: str, *emulator: str) -> str:
    """Compare a library with plain loops; return what the driver says: what it compared, and a digest of all bits."""
    program = folder / f"driver-{library.parent.name}"
    output_of(compiler, *FLAGS, HERE / "driver.cpp", library, f"-Wl,-rpath,{library.parent}", "-o", program)
    # In the emulator, a child that starts threads ends now and then with a failed assertion of the emulator itself.
    return output_of(*emulator, program, *(["without-children"] if emulator else []))


def installed(instruction_set: str, *, with_bfloat16: bool = False) -> Path:
    """Return the library that was compiled at the installation."""
    path = library_file(instruction_set, with_bfloat16=with_bfloat16)
    assert path is not None
    return path


@pytest.fixture(scope="module", params=FOR_AARCH64)
def for_aarch64(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the library for aarch64, built by one of the compilers."""
    need(request.param, "aarch64-linux-gnu-g++", "qemu-aarch64")
    return build(tmp_path_factory.mktemp("aarch64"), *FOR_AARCH64[request.param]) / "libcharlm-aarch64.so"


@pytest.mark.slow
def test_the_kernels_for_aarch64_equal_plain_loops_and_have_the_bits_of_those_for_avx2(
    for_aarch64: Path, tmp_path: Path
) -> None:
    found = outcome(for_aarch64, tmp_path, "aarch64-linux-gnu-g++", *EMULATOR)
    assert re.fullmatch(r"\d+ cases, \d+ calls, digest [0-9a-f]{16}\n", found)
    if best_instruction_set() in ("x86-64-v3", "x86-64-v4"):
        assert found == outcome(installed("x86-64-v3"), tmp_path, "g++")


@pytest.mark.slow
def test_the_library_for_aarch64_has_the_functions_of_the_one_here_and_neither_needs_openmp(for_aarch64: Path) -> None:
    need("nm", "readelf")
    ours = installed(best_instruction_set() or "")

    def functions(library: Path) -> set[str]:
        names = output_of("nm", "--dynamic", "--defined-only", library).split()
        return {name for name in names if name.startswith("charlm_")}

    assert functions(for_aarch64) == functions(ours) != set()
    for library in (for_aarch64, ours):
        needed = re.findall(r"Shared library: \[(.*)\]", output_of("readelf", "--dynamic", library))
        assert any(name.startswith("libstdc++") for name in needed)
        assert not any("omp" in name for name in needed)


@pytest.mark.slow
def test_clang_compiles_the_same_kernels(tmp_path: Path) -> None:
    need("clang++", "g++")
    built = sorted(build(tmp_path / "build", "-DCMAKE_CXX_COMPILER=clang++").glob("libcharlm-*.so"))
    compared = 0
    for library in built:
        instruction_set, bfloat16, _ = library.stem.removeprefix("libcharlm-").partition("-bf16")
        # A processor with the wider instruction set has the narrower one too.
        can_run = instruction_set <= (best_instruction_set() or "")
        if can_run and (not bfloat16 or has_bfloat16(instruction_set)):
            theirs = installed(instruction_set, with_bfloat16=bool(bfloat16))
            assert outcome(library, tmp_path, "clang++") == outcome(theirs, tmp_path, "g++")
            compared += 1
    assert compared > 0


@pytest.mark.slow
@pytest.mark.parametrize("has_compiler", [True, False])
def test_an_installation_on_aarch64_has_its_library_and_without_a_compiler_it_has_none(
    has_compiler: bool, tmp_path: Path
) -> None:
    need("aarch64-linux-gnu-g++")
    compiler = "aarch64-linux-gnu-g++" if has_compiler else "/nonexistent/c++"
    environment = {**os.environ, "CXX": compiler, "CMAKE_ARGS": " ".join(CROSS)}
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", tmp_path, HERE.parents[1]], env=environment, check=True)
    (wheel,) = tmp_path.glob("charlm-*.whl")
    names = ZipFile(wheel).namelist()
    assert "charlm/kernels/library.py" in names
    assert [name for name in names if "libcharlm" in name] == ["charlm/kernels/libcharlm-aarch64.so"] * has_compiler


ALONE = """
import json
from pathlib import Path
import numpy as np
from charlm.kernels.library import load_kernels
kernels = load_kernels()
generator = np.random.default_rng(0)
x, weight, bias = (generator.standard_normal(shape).astype(np.float32) for shape in ((50, 300), (20, 300), 20))
out = np.empty((50, 20), np.float32)
addresses = [array.ctypes.data for array in (x, weight, bias, out)]
threads = lambda: len(list(Path("/proc/self/task").iterdir()))
before = threads()
kernels.linear_forward(4, *x.shape, len(weight), *addresses)
wrong = float(np.abs(out - (x.astype(float) @ weight.T.astype(float) + bias)).max())
mapped = Path("/proc/self/maps").read_text()
runtimes = [name for name in ("libgomp", "libomp", "libiomp5") if name in mapped]
print(json.dumps([runtimes, threads() - before, wrong]))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="only Linux lists a process's threads and libraries")
def test_without_any_openmp_in_the_process_the_kernels_compute_on_as_many_threads_as_are_asked_for() -> None:
    # Start cold: a fork would have the libraries of the process it is forked from.
    ended = run_code(ALONE, is_cold=True)
    assert ended.exit_code == 0, ended.stderr
    runtimes, began, wrong = json.loads(ended.stdout)
    assert (runtimes, began) == ([], 3)
    assert wrong < 1e-4
