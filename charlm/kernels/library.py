"""The compiled kernels: how they are found, chosen for this processor, given torch's threads, and called.

Torch is not imported for this: where it is not loaded, the kernels use the OpenMP runtime that it brings.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from charlm.kernels.processor import best_instruction_set, has_bfloat16

CELL_NUMBERS = {"rnn_tanh": 0, "rnn_relu": 1, "gru_reset_after": 2, "gru_reset_before": 3, "lstm": 4}
OUT_OF_MEMORY, ID_OUT_OF_RANGE = 1, 2

_FLOATS = (
    *("weight_ih", "weight_hh", "bias_ih", "bias_hh", "hidden", "cells", "gates"),
    *("grad_outputs", "grad_hidden", "grad_cells", "grad_features"),
    *("grad_weight_ih", "grad_weight_hh", "grad_bias_ih", "grad_bias_hh"),
    *("grad_initial_hidden", "grad_initial_cells"),
)


class Layer(ctypes.Structure):
    """`CharlmLayer` of layers.h, field by field."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("cell", "threads")),
        *((name, ctypes.c_int64) for name in ("seq_len", "batch_size", "hidden_size", "input_size")),
        *((name, ctypes.c_void_p) for name in ("ids", "features", *_FLOATS)),
    )


class NetworkWeights(ctypes.Structure):
    """`CharlmNetwork` of writing.h, field by field."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("cell", "num_layers", "is_residual")),
        *((name, ctypes.c_int64) for name in ("hidden_size", "vocab_size", "num_characters")),
        *((name, ctypes.c_void_p) for name in ("weights", "decoder_weight", "decoder_bias")),
    )


class Writing(ctypes.Structure):
    """`CharlmWriting` of writing.h, field by field."""

    _fields_ = (
        ("threads", ctypes.c_int32),
        *((name, ctypes.c_int64) for name in ("rows", "length")),
        ("draws", ctypes.c_void_p),
        ("temperature", ctypes.c_double),
        ("top_k", ctypes.c_int64),
        *((name, ctypes.c_double) for name in ("top_p", "min_p")),
        *((name, ctypes.c_void_p) for name in ("ids", "h", "c", "logits")),
    )


@dataclass(frozen=True)
class Kernels:
    """The loaded library: its functions, as layers.h and writing.h declare them, and facts about it.

    Arrays are passed as addresses of contiguous memory. A call that fails raises MemoryError, or IndexError for an id
    that is not in the vocabulary.

    Args:
        gates_size: takes (cell, H); how many floats per character the forward call keeps for the backward call.
        forward: runs a layer over a window.
        backward: runs the layer's backward pass; it overwrites the gates that the forward call kept.
        linear_forward: writes out = x W^T + b; takes (threads, rows, depth, columns, x, weight, bias, out).
        linear_backward: takes (threads, rows, depth, columns, x, weight, grad_out, grad_x, grad_w); fills the last two.
        writer_new: returns the address of a copy of a network, laid out to write this many texts at once.
        write: draws characters with such a copy, each from the distribution after the last one, or reads those that are
            given; it advances the state.
        writer_free: frees the copy.
        forward_bf16, backward_bf16, linear_forward_bf16, linear_backward_bf16: the same with bfloat16 products.
        num_calls: how often a recurrent layer has run in this process, forward or backward.
        num_bfloat16_calls: how many of these calls had bfloat16 products.
        has_bfloat16: whether the processor's instructions compute these products, rather than plain loops for tests.
        share_threads: takes the address of a GOMP_parallel, whose threads all calls then use, or None for one thread.
        instruction_set: the instruction set that the library was compiled for.
        has_threads: whether torch's OpenMP threads could be shared; otherwise everything runs on one thread.
        build: the beginning of the library file's SHA-256.
    """

    gates_size: Callable[[int, int], int]
    forward: Callable[[Layer], int]
    backward: Callable[[Layer], int]
    linear_forward: Callable[..., int]
    linear_backward: Callable[..., int]
    forward_bf16: Callable[[Layer], int]
    backward_bf16: Callable[[Layer], int]
    linear_forward_bf16: Callable[..., int]
    linear_backward_bf16: Callable[..., int]
    writer_new: Callable[[NetworkWeights, int], int]
    write: Callable[[int, Writing], int]
    writer_free: Callable[[int], None]
    num_calls: Callable[[], int]
    num_bfloat16_calls: Callable[[], int]
    share_threads: Callable[[int | None], None]
    has_bfloat16: bool
    instruction_set: str
    has_threads: bool
    build: str

    @property
    def num_threads(self) -> int:
        """How many threads a call may use: as many as torch, if its threads can be shared, otherwise one."""
        if not self.has_threads:
            return 1
        torch = sys.modules.get("torch")
        return available_threads() if torch is None else torch.get_num_threads()

    @cached_property
    def in_bfloat16(self) -> Kernels:
        """The same kernels, whose layers compute their products in bfloat16."""
        return replace(
            self,
            forward=self.forward_bf16,
            backward=self.backward_bf16,
            linear_forward=self.linear_forward_bf16,
            linear_backward=self.linear_backward_bf16,
        )


def available_threads() -> int:
    """Return the number of threads that torch begins with: OMP_NUM_THREADS, or else one for each core."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(asked) if asked.isdecimal() and int(asked) > 0 else len(os.sched_getaffinity(0))


@cache
def load_kernels() -> Kernels | str:
    """Return the kernels for this processor, or a clause that says why there are none."""
    instruction_set = best_instruction_set()
    if instruction_set is None:
        return "the native kernels have no version for this processor"
    return load_kernels_for(instruction_set, with_bfloat16=has_bfloat16(instruction_set))


def load_kernels_for(instruction_set: str, *, with_bfloat16: bool = False) -> Kernels | str:
    """Return the kernels compiled for an instruction set, which this processor must have.

    Args:
        instruction_set: one of `INSTRUCTION_SETS`.
        with_bfloat16: whether bfloat16 products are to be instructions; see `has_bfloat16`.
    """
    name = f"libcharlm-{instruction_set}{'-bf16' if with_bfloat16 else ''}.so"
    # An editable install keeps compiled files with the other packages, not in the checkout.
    folders = (Path(__file__).parent, Path(sysconfig.get_path("platlib")) / "charlm" / "kernels")
    path = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if path is None:
        return "the native kernels were not compiled when charlm was installed"
    functions = _declare(ctypes.CDLL(str(path)))
    if functions is None:
        return f"{path} belongs to another version of charlm; install charlm again"
    entry = _parallel_entry()
    functions["share_threads"](entry)
    is_fast = bool(functions.pop("has_bfloat16")())
    build = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return Kernels(
        **functions,
        has_bfloat16=is_fast,
        instruction_set=instruction_set,
        has_threads=entry is not None,
        build=build,
    )


def _declare(library: ctypes.CDLL) -> dict[str, Callable[..., Any]] | None:
    """Return the library's functions with the signatures of layers.h and writing.h, or None if it has others."""
    outcome, count, size, array = ctypes.c_int32, ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p
    layer, network, writing = (ctypes.POINTER(struct) for struct in (Layer, NetworkWeights, Writing))
    functions: dict[str, Callable[..., Any]] = {}
    for name, arguments, result, check in (
        ("gates_size", [count, size], size, None),
        *((name, [layer], outcome, _check_outcome) for name in _in_both_precisions("forward", "backward")),
        *(
            (name, [count, *[size] * 3, *[array] * num_arrays], outcome, _check_outcome)
            for num_arrays, kind in ((4, "linear_forward"), (5, "linear_backward"))
            for name in _in_both_precisions(kind)
        ),
        ("writer_new", [network, size], array, _check_address),
        ("write", [array, writing], outcome, _check_outcome),
        ("writer_free", [array], None, None),
        ("num_calls", [], size, None),
        ("num_bfloat16_calls", [], size, None),
        ("has_bfloat16", [], count, None),
        ("share_threads", [array], None, None),
        *((f"{struct}_size", [], size, None) for struct in ("layer", "network", "writing")),
    ):
        function = getattr(library, f"charlm_{name}", None)
        if function is None:
            return None
        function.argtypes, function.restype = arguments, result
        if check:
            function.errcheck = check
        functions[name] = function
    sizes = [functions.pop(f"{struct}_size")() for struct in ("layer", "network", "writing")]
    return functions if sizes == [ctypes.sizeof(struct) for struct in (Layer, NetworkWeights, Writing)] else None


def _in_both_precisions(*names: str) -> list[str]:
    """Return the names of functions that compute in float32, and of those that do the same in bfloat16."""
    return [name + suffix for suffix in ("", "_bf16") for name in names]


def _check_outcome(outcome: int, function: object, arguments: object) -> int:
    """Raise the error that a call's outcome means."""
    del function, arguments
    if outcome == OUT_OF_MEMORY:
        raise MemoryError("the kernels could not allocate their working memory")
    if outcome == ID_OUT_OF_RANGE:
        raise IndexError("an id is not in the vocabulary")
    return outcome


def _check_address(found: int | None, function: object, arguments: object) -> int:
    del function, arguments
    if not found:
        raise MemoryError("the kernels could not allocate their copy of the weights")
    return found


def describe_kernels() -> str:
    """Return what environment.json says about the kernels: their instruction set and threads, or why there are none."""
    kernels = load_kernels()
    if isinstance(kernels, str):
        return kernels
    if kernels.has_threads:
        return kernels.instruction_set
    return f"{kernels.instruction_set}, on one thread: torch's OpenMP threads cannot be shared here"


def kernel_build() -> str | None:
    """Return what identifies this build of the kernels, or None if there are none."""
    kernels = load_kernels()
    return None if isinstance(kernels, str) else f"{kernels.instruction_set} {kernels.build}"


def load_runtime() -> None:
    """Load the OpenMP runtime that torch brings, unless torch has done so; without torch installed, do nothing."""
    spec = None if "torch" in sys.modules else PathFinder.find_spec("torch")
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in Path(folder).glob("lib/libgomp*.so*"):
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


def openmp_runtimes() -> list[Path]:
    """Return the OpenMP runtimes mapped into this process (on Linux; elsewhere none are found)."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return []
    found = re.findall(r"(/\S*/lib(?:gomp|iomp5|omp)[^/\s]*\.so[^/\s]*)$", maps.read_text(), flags=re.MULTILINE)
    return sorted({Path(path) for path in found})


def _parallel_entry() -> int | None:
    """Return the address of GOMP_parallel in the one OpenMP runtime that torch brought, or None.

    Two pools of threads that spin for work would take the processor from each other, so there is this pool or none.
    """
    load_runtime()
    runtimes = openmp_runtimes()
    if len(runtimes) != 1 or not runtimes[0].name.startswith("libgomp"):
        return None
    return ctypes.cast(ctypes.CDLL(str(runtimes[0])).GOMP_parallel, ctypes.c_void_p).value
