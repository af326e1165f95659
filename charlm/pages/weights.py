"""The weights of a network as a page carries them: as few bytes as its format needs, and where each parameter is."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from charlm.networks.predictor import Floats

WeightFormat = Literal["float32", "float16", "int8"]
# From this many parameters on, a page has float16.
MANY_PARAMETERS = 1_000_000
MAX_FLOAT16, MAX_INT8 = 65504.0, 127
# Each parameter begins where any number may.
ALIGNMENT = 4


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a parameter is among the bytes.

    Args:
        name: its name, as in torch.nn.
        format: that of its numbers.
        start: the place of its first byte.
        size: how many numbers it has.
        scales: of int8, the place of the first byte of its scales, one float32 for each row; else None.
        rows: of int8, how many rows it has; else None.
    """

    name: str
    format: WeightFormat
    start: int
    size: int
    scales: int | None = None
    rows: int | None = None


@dataclass(frozen=True)
class PackedWeights:
    """The weights of a network.

    Args:
        format: the format of its matrices.
        num_parameters: how many numbers there are.
        data: all bytes, little-endian.
        places: where each parameter is.
    """

    format: WeightFormat
    num_parameters: int
    data: bytes
    places: tuple[Place, ...]

    @property
    def base64(self) -> str:
        """The bytes as ASCII."""
        return base64.b64encode(self.data).decode("ascii")


def pack_weights(weights: Mapping[str, Floats], *, int8: bool = False) -> PackedWeights:
    """Pack the parameters of a network.

    They are float32 below a million parameters, else float16; a parameter that float16 cannot hold stays float32. As
    int8, each row of a matrix has a scale, the largest size in it over 127; vectors are float32.

    Args:
        weights: the parameters by their names.
        int8: whether to pack matrices as int8.
    """
    num_parameters = sum(array.size for array in weights.values())
    chosen: WeightFormat = "int8" if int8 else "float32" if num_parameters < MANY_PARAMETERS else "float16"
    data, places = bytearray(), list[Place]()
    for name, array in weights.items():
        each = _format_of(array, chosen)
        if each != "int8":
            start = _append(data, array.astype("<f4" if each == "float32" else "<f2"))
            places.append(Place(name=name, format=each, start=start, size=array.size))
            continue
        scales = np.abs(array).max(axis=1, keepdims=True) / np.float32(MAX_INT8)
        steps = np.rint(array / np.where(scales > 0, scales, 1)).astype(np.int8)
        at, start = _append(data, scales.astype("<f4")), _append(data, steps)
        places.append(Place(name=name, format=each, start=start, size=array.size, scales=at, rows=len(array)))
    return PackedWeights(chosen, num_parameters, bytes(data), tuple(places))


def _format_of(array: Floats, chosen: WeightFormat) -> WeightFormat:
    if chosen == "int8" and array.ndim < 2:
        return "float32"
    if chosen == "float16" and np.abs(array).max(initial=0) > MAX_FLOAT16:
        return "float32"
    return chosen


def _append(data: bytearray, array: npt.NDArray[np.generic]) -> int:
    """Append an array's bytes where any number may begin; return that place."""
    data.extend(bytes(-len(data) % ALIGNMENT))
    start = len(data)
    data.extend(array.tobytes())
    return start
