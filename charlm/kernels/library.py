"""The compiled kernels: found, chosen for this processor, given torch's threads, and called."""

from __future__ import annotations

import ctypes
import hashlib
import re
import sysconfig
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# Only what the tests have run on such a processor; torch's name for it, and ours.
INSTRUCTION_SETS = {"AVX512": "x86-64-v4", "AVX2": "x86-64-v3"}
CELL_NUMBERS = {"rnn_tanh": 0, "rnn_relu": 1, "gru_reset_after": 2, "gru_reset_before": 3, "lstm": 4}
OUT_OF_MEMORY, ID_OUT_OF_RANGE = 1, 2

_FLOATS = (
    *("weight_ih", "weight_hh", "bias_ih", "bias_hh", "hidden", "cells", "gates"),
    *("grad_outputs", "grad_hidden", "grad_cells", "grad_features"),
    *("grad_weight_ih", "grad_weight_hh", "grad_bias_ih", "grad_bias_hh"),
    *("grad_initial_hidden", "grad_initial_cells"),
)


class Layer(ctypes.Structure):
    """`CharlmLayer` of layers.h, field for field."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("cell", "threads")),
        *((name, ctypes.c_int64) for name in ("seq_len", "batch_size", "hidden_size", "input_size")),
        *((name, ctypes.c_void_p) for name in ("ids", "features", *_FLOATS)),
    )


class NetworkWeights(ctypes.Structure):
    """`CharlmNetwork` of writing.h, field for field."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("cell", "num_layers", "is_residual")),
        *((name, ctypes.c_int64) for name in ("hidden_size", "vocab_size", "num_characters")),
        *((name, ctypes.c_void_p) for name in ("weights", "decoder_weight", "decoder_bias")),
    )


class Writing(ctypes.Structure):
    """`CharlmWriting` of writing.h, field for field."""

    _fields_ = (
        ("threads", ctypes.c_int32),
        *((name, ctypes.c_int64) for name in ("rows", "length")),
        ("draws", ctypes.c_void_p),
        ("temperature", ctypes.c_double),
        ("top_k", ctypes.c_int64),
        *((name, ctypes.c_double) for name in ("top_p", "min_p")),
        *((name, ctypes.c_void_p) for name in ("ids", "h", "c")),
    )


@dataclass(frozen=True)
class Kernels:
    """The loaded library.

    Args:
        instruction_set: it was compiled for.
        has_threads: whether torch's OpenMP threads could be shared; without them everything runs on one.
        build: the beginning of the library file's SHA-256.
    """

    library: Any
    instruction_set: str
    has_threads: bool
    build: str

    def forward(self, layer: Layer) -> None:
        """Run a layer over a window."""
        self._check(self.library.charlm_forward(ctypes.byref(layer)))

    def backward(self, layer: Layer) -> None:
        """Run it back; the gates that the forward call kept are overwritten."""
        self._check(self.library.charlm_backward(ctypes.byref(layer)))

    def gates_size(self, cell: int, hidden_size: int) -> int:
        """Return how many floats of a character the forward call keeps for the backward call."""
        return self.library.charlm_gates_size(cell, hidden_size)

    def linear_forward(self, x: Tensor, weight: Tensor, bias: Tensor, out: Tensor) -> None:
        """Write x W^T + b to out: x (rows, depth), W (columns, depth), out (rows, columns)."""
        sizes = (self.num_threads, len(x), x.shape[-1], len(weight))
        self._check(self.library.charlm_linear_forward(*sizes, *map(address, (x, weight, bias, out))))

    def linear_backward(self, x: Tensor, weight: Tensor, grad_out: Tensor, grad_x: Tensor, grad_weight: Tensor) -> None:
        """Write the gradients of x and W."""
        sizes = (self.num_threads, len(x), x.shape[-1], len(weight))
        arrays = map(address, (x, weight, grad_out, grad_x, grad_weight))
        self._check(self.library.charlm_linear_backward(*sizes, *arrays))

    def new_writer(self, network: NetworkWeights, num_texts: int) -> int:
        """Return the address of a network's copy, laid out to write so many texts at once; `free_writer` frees it."""
        writer = self.library.charlm_writer_new(ctypes.byref(network), num_texts)
        if not writer:
            raise MemoryError("the kernels could not allocate their copy of the weights")
        return writer

    def write(self, writer: int, writing: Writing) -> None:
        """Draw characters, each from the distribution after the last; the state is advanced."""
        self._check(self.library.charlm_write(writer, ctypes.byref(writing)))

    def free_writer(self, writer: int) -> None:
        """Free what `new_writer` returned."""
        self.library.charlm_writer_free(writer)

    @property
    def num_threads(self) -> int:
        """How many threads a call may use: torch's, where they can be shared."""
        return torch.get_num_threads() if self.has_threads else 1

    @property
    def num_calls(self) -> int:
        """How often a recurrent layer has run in this process, forward or back."""
        return self.library.charlm_num_calls()

    @staticmethod
    def _check(outcome: int) -> None:
        if outcome == OUT_OF_MEMORY:
            raise MemoryError("the kernels could not allocate their working memory")
        if outcome == ID_OUT_OF_RANGE:
            raise IndexError("an id is not of the vocabulary")


@cache
def load_kernels() -> Kernels | str:
    """Return the kernels for this processor, or one clause that says why there are none."""
    capability = torch.backends.cpu.get_cpu_capability()
    instruction_set = INSTRUCTION_SETS.get(capability)
    if instruction_set is None:
        return f"the native kernels have no version for this processor ({capability})"
    return load_kernels_for(instruction_set)


def load_kernels_for(instruction_set: str) -> Kernels | str:
    """Return the kernels compiled for an instruction set, which this processor must have."""
    name = f"libcharlm-{instruction_set}.so"
    # An editable install keeps what was compiled beside the other packages, not in the checkout.
    folders = (Path(__file__).parent, Path(sysconfig.get_path("platlib")) / "charlm" / "kernels")
    path = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if path is None:
        return "the native kernels were not compiled when charlm was installed"
    library = ctypes.CDLL(str(path))
    if not _declare(library):
        return f"{path} belongs to another version of charlm; install charlm again"
    entry = _parallel_entry()
    library.charlm_share_threads(entry)
    build = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return Kernels(library, instruction_set, entry is not None, build)


def _declare(library: ctypes.CDLL) -> bool:
    """Tell ctypes the signatures of layers.h and writing.h, and return whether it has them, with these structures."""
    count, size, array = ctypes.c_int32, ctypes.c_int64, ctypes.c_void_p
    for name, arguments, result in (
        ("gates_size", [count, size], size),
        ("forward", [array], count),
        ("backward", [array], count),
        ("linear_forward", [count, *[size] * 3, *[array] * 4], count),
        ("linear_backward", [count, *[size] * 3, *[array] * 5], count),
        ("writer_new", [array, size], array),
        ("write", [array, array], count),
        ("writer_free", [array], None),
        ("num_calls", [], size),
        ("share_threads", [array], None),
        *((f"{struct}_size", [], size) for struct in ("layer", "network", "writing")),
    ):
        function = getattr(library, f"charlm_{name}", None)
        if function is None:
            return False
        function.argtypes, function.restype = arguments, result
    sizes = [library.charlm_layer_size(), library.charlm_network_size(), library.charlm_writing_size()]
    return sizes == [ctypes.sizeof(struct) for struct in (Layer, NetworkWeights, Writing)]


def openmp_runtimes() -> list[Path]:
    """Return the OpenMP runtimes mapped into this process (Linux; elsewhere none are found)."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        return []
    found = re.findall(r"(/\S*/lib(?:gomp|iomp5|omp)[^/\s]*\.so[^/\s]*)$", maps.read_text(), flags=re.MULTILINE)
    return sorted({Path(path) for path in found})


def _parallel_entry() -> int | None:
    """Return the address of GOMP_parallel of the one OpenMP runtime that torch brought, or None.

    Two pools of threads that spin for work take the processor from each other; so there is this one or none.
    """
    runtimes = openmp_runtimes()
    if len(runtimes) != 1 or not runtimes[0].name.startswith("libgomp"):
        return None
    return ctypes.cast(ctypes.CDLL(str(runtimes[0])).GOMP_parallel, ctypes.c_void_p).value


def address(array: Tensor | None) -> int | None:
    """Return where a contiguous array lies."""
    assert array is None or array.is_contiguous()
    return None if array is None else array.data_ptr()
