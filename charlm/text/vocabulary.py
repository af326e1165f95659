"""The symbols of a model: the characters that it knows, and their ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from charlm.errors import TextError
from charlm.settings.corpus import UnknownPolicy
from charlm.text.unknown import unknown_sentence

Ids = npt.NDArray[np.unsignedinteger[Any]]
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
NUM_CODE_POINTS = 0x110000
NOT_REPLACEABLE = "; they cannot be replaced: the model was trained without an unknown symbol"


@dataclass(frozen=True)
class Vocabulary:
    """Distinct characters in code-point order; with `has_unknown`, the last id stands for all others.

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
        """The id of each code point; unknown ones have the id after the last character's."""
        table = np.full(NUM_CODE_POINTS, len(self.characters), np.uint32)
        table[code_points(self.characters)] = np.arange(len(self.characters), dtype=np.uint32)
        return table

    @cached_property
    def _byte_table(self) -> bytes | None:
        """The same table for Latin-1 characters with one byte for each id, or None if the ids do not fit."""
        fits = len(self.characters) < 1 << 8
        return self._table[: 1 << 8].astype(np.uint8).tobytes() if fits else None

    def mark(self, text: str) -> Ids:
        """Return the id of each character, (len(text),), and `len(characters)` for each unknown one."""
        if self._byte_table is not None and (raw := latin_bytes(text)) is not None:
            return np.frombuffer(raw.translate(self._byte_table), dtype=np.uint8)
        return self._table.take(code_points(text))

    def encode(self, text: str, *, unknown: UnknownPolicy = "error", what: str = "the text", offset: int = 0) -> Ids:
        """Return the ids of a text, (len(text),), or fewer if unknown characters are skipped.

        Args:
            text: any text.
            unknown: error, skip, or replace (by the unknown symbol, which the model must have).
            what: what error messages call the text.
            offset: position of the text's first character in messages.
        Raises:
            TextError: naming each unknown character once, with its code point and its first position.
        """
        ids = self.mark(text)
        missing = ids >= len(self.characters)
        if (unknown == "replace" and self.has_unknown) or not missing.any():
            return ids.astype(self.dtype, copy=False)
        if unknown == "skip":
            return ids[~missing].astype(self.dtype, copy=False)
        places: dict[str, str] = {}
        for position in np.flatnonzero(missing):
            places.setdefault(text[position], f"at position {position + offset:,}")
        sentence = unknown_sentence(what, places, has_unknown=self.has_unknown)
        raise TextError(sentence + (NOT_REPLACEABLE if unknown == "replace" else ""))

    def policy(self, setting: UnknownPolicy) -> UnknownPolicy:
        """Return what becomes of unknown characters if a run's `corpus.unknown` is all that is known about it.

        A model with an unknown symbol was trained on such characters: it must be able to read its own training text,
        and reads other texts in the same way.
        """
        return "replace" if setting == "error" and self.has_unknown else setting

    def decode(self, ids: Sequence[int] | Ids) -> str:
        """Return the text of ids; the unknown symbol becomes U+FFFD."""
        symbols = np.append(code_points(self.characters), np.uint32(ord(REPLACEMENT)))
        return symbols[np.asarray(ids, dtype=np.int64)].astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


def code_points(text: str) -> npt.NDArray[np.uint32]:
    """Return the code points of a text, (len(text),)."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def latin_bytes(text: str) -> bytes | None:
    """Return one byte for each character if the text is Latin-1, the fast case, else None."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return None


def build_vocabulary(counts: Mapping[str, int], *, min_count: int = 1, max_size: int | None = None) -> Vocabulary:
    """Choose the symbols of a text from the counts of its characters.

    Args:
        counts: how often each character occurs.
        min_count: characters that occur less often become the unknown symbol.
        max_size: the largest number of symbols, the unknown symbol included; ties go to the lower code point.
    """
    kept = [character for character, count in counts.items() if count >= min_count]
    if max_size is not None and len(kept) + (len(kept) < len(counts)) > max_size:
        kept = sorted(kept, key=lambda character: (-counts[character], character))[: max_size - 1]
    return Vocabulary("".join(sorted(kept)), has_unknown=len(kept) < len(counts))
