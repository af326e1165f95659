"""The symbols of a model: which characters it knows, and their ids."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.errors import TextError
from charlm.settings.corpus import UnknownPolicy

Ids = npt.NDArray[np.unsignedinteger[Any]]
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
NUM_CODE_POINTS = 0x110000
NUM_SHOWN = 10


@dataclass(frozen=True)
class Vocabulary:
    """Distinct characters in code-point order; with `has_unknown` the last id stands for all others.

    Args:
        characters: the known characters, sorted by code point.
        has_unknown: whether one more symbol stands for every other character.
    """

    characters: str
    has_unknown: bool = False

    def __len__(self) -> int:
        """Return V, the unknown symbol included."""
        return len(self.characters) + self.has_unknown

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16] | type[np.uint32]:
        """The smallest unsigned type that holds every id."""
        if len(self) <= 1 << 8:
            return np.uint8
        return np.uint16 if len(self) <= 1 << 16 else np.uint32

    @cached_property
    def _table(self) -> npt.NDArray[np.uint32]:
        """The id of each code point; an unknown one has the id after the last character's."""
        table = np.full(NUM_CODE_POINTS, len(self.characters), np.uint32)
        table[code_points(self.characters)] = np.arange(len(self.characters), dtype=np.uint32)
        return table

    @cached_property
    def _byte_table(self) -> bytes | None:
        """The same for Latin-1 characters, one byte an id, or None where the ids do not fit."""
        fits = len(self.characters) < 1 << 8
        return self._table[: 1 << 8].astype(np.uint8).tobytes() if fits else None

    def _lookup(self, text: str) -> Ids:
        """Return the id of each character, len(self.characters) where it is unknown."""
        if self._byte_table is not None and (raw := latin_bytes(text)) is not None:
            return np.frombuffer(raw.translate(self._byte_table), dtype=np.uint8)
        return self._table.take(code_points(text))

    def encode(self, text: str, *, unknown: UnknownPolicy = "error", what: str = "the text", offset: int = 0) -> Ids:
        """Return the ids of a text, (len(text),), fewer where unknown characters are skipped.

        Args:
            text: any text.
            unknown: error, skip, or replace (by the unknown symbol, which the model must have).
            what: the name of the text in error messages.
            offset: position of the text's first character in messages.
        Raises:
            TextError: naming each unknown character, its code point and its position.
        """
        ids = self._lookup(text)
        missing = ids >= len(self.characters)
        if (unknown == "replace" and self.has_unknown) or not missing.any():
            return ids.astype(self.dtype, copy=False)
        if unknown == "skip":
            return ids[~missing].astype(self.dtype, copy=False)
        sentence = _unknown_sentence(text, missing, what, offset)
        if unknown == "replace":
            sentence += "; they cannot be replaced: the model was trained without an unknown symbol"
        raise TextError(sentence)

    def decode(self, ids: Sequence[int] | Ids) -> str:
        """Return the text of some ids; the unknown symbol is shown as U+FFFD."""
        symbols = np.append(code_points(self.characters), np.uint32(ord(REPLACEMENT)))
        return symbols[np.asarray(ids, dtype=np.int64)].astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


def code_points(text: str) -> npt.NDArray[np.uint32]:
    """Return the code points of a text, (len(text),)."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def latin_bytes(text: str) -> bytes | None:
    """Return one byte a character where the text is Latin-1, the fast case, else None."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return None


def build_vocabulary(counts: Mapping[str, int], *, min_count: int = 1, max_size: int | None = None) -> Vocabulary:
    """Choose the symbols of a text from the counts of its characters.

    Args:
        counts: how often each character occurs.
        min_count: rarer characters become the unknown symbol.
        max_size: at most so many symbols, the unknown symbol included; ties go to the lower code point.
    """
    kept = [character for character, count in counts.items() if count >= min_count]
    if max_size is not None and len(kept) + (len(kept) < len(counts)) > max_size:
        kept = sorted(kept, key=lambda character: (-counts[character], character))[: max_size - 1]
    return Vocabulary("".join(sorted(kept)), has_unknown=len(kept) < len(counts))


def _unknown_sentence(text: str, missing: npt.NDArray[np.bool_], what: str, offset: int) -> str:
    """Say which characters are unknown: each once, with code point and first position."""
    first_at: dict[str, int] = {}
    for position in np.flatnonzero(missing):
        first_at.setdefault(text[position], int(position) + offset)
    shown = [_named(character, at) for character, at in list(first_at.items())[:NUM_SHOWN]]
    more = f" and {len(first_at) - NUM_SHOWN:,} more" if len(first_at) > NUM_SHOWN else ""
    number = "1 character" if len(first_at) == 1 else f"{len(first_at):,} characters"
    return f"{what} has {number} this model has never seen: {', '.join(shown)}{more}"


def _named(character: str, position: int) -> str:
    visible = character if character.isprintable() else unicodedata.name(character, "a control character")
    return f"{visible!r} (U+{ord(character):04X}) at position {position:,}"
