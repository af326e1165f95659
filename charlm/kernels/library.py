"""The compiled kernels: how they are found, chosen for this processor, and called.

Torch is not imported for this.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
import sysconfig
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from charlm.kernels.processor import available_threads, best_instruction_set, has_bfloat16

CELL_NUMBERS = {"rnn_tanh": 0, "rnn_relu": 1, "gru_reset_after": 2, "gru_reset_before": 3, "lstm": 4}
OUT_OF_MEMORY, ID_OUT_OF_RANGE = 1, 2
_given = threading.local()

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


class Parameter(ctypes.Structure):
    """`CharlmParameter` of update.h, field by field."""

    _fields_ = (
        ("size", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("weight", "grad", "first", "second", "steps", "average")),
    )


class Update(ctypes.Structure):
    """`CharlmUpdate` of update.h, field by field."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("threads", "is_decoupled")),
        ("num_parameters", ctypes.c_int64),
        ("parameters", ctypes.c_void_p),
        *((name, ctypes.c_double) for name in ("learning_rate", "first_decay", "second_decay", "epsilon")),
        *((name, ctypes.c_double) for name in ("weight_decay", "scale", "limit", "share")),
    )


class Output(ctypes.Structure):
    """`CharlmOutput` of output.h, field by field."""

    _fields_ = (
        ("threads", ctypes.c_int32),
        *((name, ctypes.c_int64) for name in ("rows", "depth", "columns")),
        *((name, ctypes.c_void_p) for name in ("hidden", "weight", "bias", "targets")),
        *((name, ctypes.c_double) for name in ("smoothing", "loss", "mean")),
        *((name, ctypes.c_void_p) for name in ("grad_hidden", "grad_weight", "grad_bias")),
    )


@dataclass(frozen=True)
class Kernels:
    """The loaded library: its functions, as the headers declare them, and facts about it.

    Arrays are passed as addresses of contiguous memory. A call that fails raises MemoryError, or IndexError for an id
    that is not in the vocabulary.

    Args:
        gates_size: takes (cell, H); how many floats per character the forward call keeps for the backward call.
        forward: runs a layer over a window.
        backward: runs the layer's backward pass; it overwrites the gates that the forward call kept.
        linear_forward: writes out = x W^T + b; takes (threads, rows, depth, columns, x, weight, bias, out).
        linear_backward: takes (threads, rows, depth, columns, x, weight, grad_out, grad_x, grad_w); fills the last two.
        output: computes the output layer, its mean cross entropy and all its gradients, without keeping the logits.
        gradient_norm: fills in the norm of all gradients of an update; its second argument is where to.
        update: clips the gradients, moves the parameters by a step of Adam or AdamW, and averages them.
        writer_new: returns the address of a copy of a network, laid out to write this many texts at once.
        write: draws characters with such a copy, each from the distribution after the last one, or reads those that are
            given; it advances the state.
        writer_free: frees the copy.
        forward_bf16, backward_bf16, linear_forward_bf16, linear_backward_bf16: the same with bfloat16 products.
        num_calls: how often a recurrent layer has run in this process, forward or backward.
        num_bfloat16_calls: how many of these calls had bfloat16 products.
        has_bfloat16: whether the processor's instructions compute these products, rather than plain loops for tests.
        share_threads: takes the address of a function like GOMP_parallel, whose threads all calls then use instead of
            the kernels' own, or None.
        instruction_set: the instruction set that the library was compiled for.
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
    output: Callable[[Output], int]
    gradient_norm: Callable[[Update, ctypes.c_double], int]
    update: Callable[[Update], int]
    writer_new: Callable[[NetworkWeights, int], int]
    write: Callable[[int, Writing], int]
    writer_free: Callable[[int], None]
    num_calls: Callable[[], int]
    num_bfloat16_calls: Callable[[], int]
    share_threads: Callable[[int | None], None]
    has_bfloat16: bool
    instruction_set: str
    build: str

    @property
    def num_threads(self) -> int:
        """How many threads a call may use: as many as torch, unless `computing_with` gave a number."""
        given: int | None = getattr(_given, "num_threads", None)
        if given is not None:
            return given
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


@contextmanager
def computing_with(num_threads: int) -> Generator[None]:
    """Let the kernels use this many threads, however many torch uses, when this thread of Python calls them."""
    before: int | None = getattr(_given, "num_threads", None)
    _given.num_threads = num_threads
    try:
        yield
    finally:
        _given.num_threads = before


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
    path = library_file(instruction_set, with_bfloat16=with_bfloat16)
    if path is None:
        return "the native kernels were not compiled when charlm was installed"
    functions = _declare(ctypes.CDLL(str(path)))
    if functions is None:
        return f"{path} belongs to another version of charlm; install charlm again"
    is_fast = bool(functions.pop("has_bfloat16")())
    build = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return Kernels(**functions, has_bfloat16=is_fast, instruction_set=instruction_set, build=build)


def library_file(instruction_set: str, *, with_bfloat16: bool = False) -> Path | None:
    """Return the library compiled for an instruction set, or None if it was not compiled; see `load_kernels_for`."""
    ending = ".dylib" if sys.platform == "darwin" else ".so"
    name = f"libcharlm-{instruction_set}{'-bf16' if with_bfloat16 else ''}{ending}"
    # An editable install keeps compiled files with the other packages, not in the checkout.
    folders = (Path(__file__).parent, Path(sysconfig.get_path("platlib")) / "charlm" / "kernels")
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _declare(library: ctypes.CDLL) -> dict[str, Callable[..., Any]] | None:
    """Return the library's functions with the signatures of the headers, or None if it has others."""
    outcome, count, size, array = ctypes.c_int32, ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p
    structs = {
        "layer": Layer,
        "network": NetworkWeights,
        "writing": Writing,
        "output": Output,
        "update": Update,
        "parameter": Parameter,
    }
    layer, network, writing, output, update, _ = map(ctypes.POINTER, structs.values())
    functions: dict[str, Callable[..., Any]] = {}
    for name, arguments, result, check in (
        ("gates_size", [count, size], size, None),
        *((name, [layer], outcome, _check_outcome) for name in _in_both_precisions("forward", "backward")),
        *(
            (name, [count, *[size] * 3, *[array] * num_arrays], outcome, _check_outcome)
            for num_arrays, kind in ((4, "linear_forward"), (5, "linear_backward"))
            for name in _in_both_precisions(kind)
        ),
        ("output", [output], outcome, _check_outcome),
        ("gradient_norm", [update, ctypes.POINTER(ctypes.c_double)], outcome, _check_outcome),
        ("update", [update], outcome, _check_outcome),
        ("writer_new", [network, size], array, _check_address),
        ("write", [array, writing], outcome, _check_outcome),
        ("writer_free", [array], None, None),
        ("num_calls", [], size, None),
        ("num_bfloat16_calls", [], size, None),
        ("has_bfloat16", [], count, None),
        ("share_threads", [array], None, None),
        *((f"{struct}_size", [], size, None) for struct in structs),
    ):
        function = getattr(library, f"charlm_{name}", None)
        if function is None:
            return None
        function.argtypes, function.restype = arguments, result
        if check:
            function.errcheck = check
        functions[name] = function
    sizes = {name: functions.pop(f"{name}_size")() for name in structs}
    return functions if sizes == {name: ctypes.sizeof(struct) for name, struct in structs.items()} else None


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
    """Return what environment.json says about the kernels: their instruction set, or why there are none."""
    kernels = load_kernels()
    return kernels if isinstance(kernels, str) else kernels.instruction_set


def kernel_build() -> str | None:
    """Return what identifies this build of the kernels, or None if there are none."""
    kernels = load_kernels()
    return None if isinstance(kernels, str) else f"{kernels.instruction_set} {kernels.build}"
