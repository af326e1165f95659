"""The tensors of a checkpoint as NumPy arrays, compared with its configuration before any memory is allocated."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from charlm.errors import RunError, printable
from charlm.networks.shapes import num_numbers, parameter_shapes, state_shapes
from charlm.runs.json_records import Count, Json, Record, as_object, from_json_or_none
from charlm.runs.memory import require_room
from charlm.runs.untrusted import SMALL, Folder, open_regular, parse_json
from charlm.settings.optimizer import OptimizerSettings
from charlm.settings.schema import Settings

Shapes = Mapping[str, tuple[int, ...]]
Array = npt.NDArray[np.float32]
MODEL_FILE = "model.safetensors"
TRAINING_FILE = "training.safetensors"
MAX_HEADER_BYTES = 1 << 20
FLOAT_BYTES = 4
# Room for other allocations, such as the first threads.
SLACK_BYTES = 32 << 20
# What each optimiser stores for a parameter, in its shape, besides a count of steps; momentum adds a buffer.
MOMENTS = {
    "adam": {"step", "exp_avg", "exp_avg_sq"},
    "adamw": {"step", "exp_avg", "exp_avg_sq"},
    "sgd": set[str](),
    "rmsprop": {"step", "square_avg"},
}
MOMENT_NAME = re.compile(r"optimizer\.(\d{1,6})\.([a-z_]+)", re.ASCII)


@dataclass(frozen=True, eq=False, kw_only=True)
class TensorHeader(Record):
    """What the header of a safetensors file says about a tensor of float32 numbers."""

    dtype: Literal["F32"]
    shape: tuple[Count, ...]


def save_tensors(tensors: Mapping[str, Array]) -> bytes:
    """Return tensors as the bytes of a safetensors file."""
    # Copies that safetensors makes.
    require_room(3 * FLOAT_BYTES * sum(tensor.size for tensor in tensors.values()) + SLACK_BYTES)
    return save({name: np.asarray(tensor, order="C") for name, tensor in tensors.items()})


def read_tensors(
    folder: Folder, settings: Settings, vocab_size: int, *, step: int
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return a checkpoint's weights, and the tensors that training resumes from.

    Args:
        folder: the checkpoint's folder.
        settings: its configuration.
        vocab_size: size of its vocabulary.
        step: the step up to which it was trained.
    Raises:
        RunError: for names, shapes or types that do not fit the configuration, for weights that are not numbers, and
            for damaged files.
    """
    weights = parameter_shapes(settings.model, vocab_size)
    states = state_shapes(settings.model, settings.sampling.batch_size)
    state = {f"state.{number}": shape for number, shape in enumerate(states)}
    for name in (MODEL_FILE, TRAINING_FILE):
        if folder.entries[name].bytes <= SMALL:
            # Check the bytes before interpreting the header, so that damage is reported as damage.
            folder.read(name, at_most=SMALL)
    model = _read(folder, MODEL_FILE, weights)
    check_finite(model, folder.path / MODEL_FILE)
    path = folder.path / TRAINING_FILE
    moments = _moment_shapes(_header_shapes(path), [*weights.values()], settings.optimizer)
    if moments is None:
        raise RunError(f"the moments in {path} are not those of optimizer.method {settings.optimizer.method}")
    has_average = settings.optimizer.average.method != "none"
    raw = {f"weights.{name}": shape for name, shape in weights.items()} if has_average else {}
    training = _read(folder, TRAINING_FILE, {**state, **moments, **raw})
    check_finite({name: training[name] for name in raw}, path)
    if not all(_is_count(tensor, step) for name, tensor in training.items() if name.endswith(".step")):
        raise RunError(f"{path} does not count the {step:,} steps of its checkpoint")
    return model, training


def check_finite(weights: Mapping[str, Array], path: Path) -> None:
    """Refuse weights that are not numbers.

    Raises:
        RunError: if there are any.
    """
    if not all(np.isfinite(weight).all() for weight in weights.values()):
        raise RunError(f"{path} has weights that are not numbers")


def _moment_shapes(found: Shapes, parameters: Sequence[tuple[int, ...]], optimizer: OptimizerSettings) -> Shapes | None:
    """Return the shapes that a file's moments must have, for all parameters or for none; None for wrong moments."""
    kinds = {match[2] for match in map(MOMENT_NAME.fullmatch, found) if match}
    if kinds and kinds != MOMENTS[optimizer.method] | ({"momentum_buffer"} if optimizer.momentum else set()):
        return None
    return {
        f"optimizer.{index}.{kind}": () if kind == "step" else shape
        for index, shape in enumerate(parameters)
        for kind in kinds
    }


def _is_count(tensor: Array, limit: int) -> bool:
    """Say whether an optimiser's count is a whole number from 1 to a limit, because the optimiser divides by it."""
    number = tensor.item()
    return 1 <= number <= limit and number == int(number)


def _read(folder: Folder, name: str, expected: Shapes) -> dict[str, Array]:
    path = folder.path / name
    compare_shapes(_header_shapes(path), expected, path)
    num_bytes = FLOAT_BYTES * num_numbers(expected.values())
    require_room(3 * num_bytes + SLACK_BYTES)
    return load_tensors(folder.read(name, at_most=num_bytes + MAX_HEADER_BYTES), expected, path)


def load_tensors(content: bytes, expected: Shapes, path: Path) -> dict[str, Array]:
    """Return the tensors of a safetensors file, whose header has been compared already.

    Raises:
        RunError: if they are not those of the header.
    """
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise RunError(f"{path} is not a safetensors file: {printable(str(error), 200)}") from error
    if {key: tuple(tensor.shape) for key, tensor in tensors.items()} != expected:
        raise RunError(f"{path} contradicts itself about its tensors")
    return tensors


def _header_shapes(path: Path) -> Shapes:
    with open_regular(path) as file:
        header, _ = read_header(file, path, at_most=MAX_HEADER_BYTES)
    return shapes_of(header, path)


def read_header(file: BufferedReader, path: Path, *, at_most: int) -> tuple[Json, int]:
    """Return the header of a safetensors file, and how many bytes of the file it takes.

    Raises:
        RunError: for one that is longer than `at_most`, or no JSON.
    """
    length = int.from_bytes(file.read(8), "little")
    if length > at_most:
        raise RunError(f"{path} is not a safetensors file of charlm: its header has {length:,} bytes")
    return as_object(parse_json(file.read(length), path)), 8 + length


def shapes_of(header: Json, path: Path) -> Shapes:
    """Return the shapes of the tensors that a header names.

    Raises:
        RunError: if one is not float32.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        found = from_json_or_none(TensorHeader, entry)
        if found is None:
            raise RunError(f"{path}: its tensor {printable(name)!r} is not float32")
        shapes[name] = found.shape
    return shapes


def compare_shapes(found: Shapes, expected: Shapes, path: Path) -> None:
    """Refuse tensors that are not those of a configuration.

    Raises:
        RunError: naming one that differs.
    """
    if found != expected:
        raise RunError(f"{path} does not fit its configuration: {_difference(found, expected)}")


def _difference(found: Shapes, expected: Shapes) -> str:
    """Name one tensor that differs between two lists of shapes."""
    for name in (*expected, *found):
        if found.get(name) != expected.get(name):
            has, wants = (str(list(shapes[name]))[:60] if name in shapes else "absent" for shapes in (found, expected))
            return f"{printable(name)!r} is {has} and should be {wants}"
    return "its tensors differ"
