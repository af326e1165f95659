"""PPMd, an adaptive baseline: like a model under dynamic evaluation, it learns from the text that it codes.

It is therefore compared with dynamic results, and no verdict on the weights as they were trained counts it.

    bits = 8 (C(known + text) - C(known))    C: size in bytes after compression

Source: Shkarin 2002, "PPM: one step to practicality"; variant H, as in 7-Zip, of the package pyppmd.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from charlm.errors import ConfigError
from charlm.evaluation.baselines import MAX_TRAIN_CHARS, compressed_figure, encoded
from charlm.evaluation.figure import Figure
from charlm.text.vocabulary import Ids, Vocabulary

ORDER = 6
MEMORY_BYTES = 64 * 2**20
INSTALL = "pip install 'charlm[ppmd]'"


@dataclass(frozen=True)
class AdaptiveFigure:
    """What a text costs PPMd.

    Args:
        figure: the cost of the characters after the first.
        bits_per_byte: the same for each byte of the text in the corpus' encoding.
        known: the names of the splits that it has read before.
        order: the length of its longest contexts in bytes.
        memory_bytes: the memory for them; when it is full, PPMd forgets everything and begins anew.
    """

    figure: Figure
    bits_per_byte: float
    known: tuple[str, ...]
    order: int = ORDER
    memory_bytes: int = MEMORY_BYTES

    def as_record(self) -> dict[str, object]:
        """Return JSON values."""
        return {
            "name": "PPMd",
            "order": self.order,
            "memory_bytes": self.memory_bytes,
            "known": list(self.known),
            "bpc": self.figure.bits_per_char,
            "bits_per_byte": self.bits_per_byte,
        }


def has_ppmd() -> bool:
    """Say whether the package of PPMd, which is optional, is installed."""
    return find_spec("pyppmd") is not None


def measure_adaptive(
    known: Ids, part: Ids, vocabulary: Vocabulary, encoding: str, *, names: tuple[str, ...] = ("train",)
) -> AdaptiveFigure:
    """Measure what a text costs PPMd after it has read another.

    Args:
        known: what it reads before, in the same reading order; of a very long text, the last characters.
        part: the text, at least two characters.
        vocabulary: the symbols.
        encoding: the corpus' encoding.
        names: the names of the splits in `known`.
    Raises:
        ConfigError: if the package is not installed.
    """
    before, text = (encoded(ids, vocabulary, encoding) for ids in (known[-MAX_TRAIN_CHARS:], part))
    num_bytes = packed_size(before + text) - packed_size(before)
    return AdaptiveFigure(compressed_figure(num_bytes, len(part)), 8 * num_bytes / len(text), names)


def packed_size(text: bytes) -> int:
    """Return how many bytes PPMd needs for a text.

    Raises:
        ConfigError: if the package is not installed.
    """
    try:
        ppmd = import_module("pyppmd")
    except ModuleNotFoundError as error:
        raise ConfigError(f"PPMd needs the package pyppmd, which is not installed: {INSTALL}") from error
    encoder = ppmd.Ppmd7Encoder(ORDER, MEMORY_BYTES)
    return len(encoder.encode(text)) + len(encoder.flush())
