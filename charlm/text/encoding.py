"""Turn characters into ids and hashes, chunk by chunk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from charlm.errors import TextError, printable
from charlm.settings.corpus import UnknownPolicy
from charlm.text.unknown import UnknownCount, listed, unknown_sentence
from charlm.text.vocabulary import NOT_REPLACEABLE, NUM_CODE_POINTS, Ids, Vocabulary, code_points, latin_bytes

MAX_NAME = 1_000


def count_characters(chunks: Iterable[str]) -> dict[str, int]:
    """Count each distinct character of a text."""
    totals = np.zeros(NUM_CODE_POINTS, dtype=np.int64)
    for chunk in chunks:
        raw = latin_bytes(chunk)
        codes = code_points(chunk) if raw is None else np.frombuffer(raw, dtype=np.uint8)
        counts = np.bincount(codes)
        totals[: len(counts)] += counts
    return {chr(code): int(totals[code]) for code in np.flatnonzero(totals)}


@dataclass(frozen=True)
class Source:
    """A file that a text is read from, or a text that does not come from a file.

    Args:
        name: what messages call the file; None for a text that does not come from a file.
        chunks: its characters, cleaned.
    """

    name: str | None
    chunks: Iterable[str]


@dataclass(frozen=True)
class FileStart:
    """Where a file begins in a text that was read from several: the position of its first character, from 0."""

    name: str
    position: int


@dataclass(frozen=True)
class EncodedText:
    """A text as ids that still knows which characters the model has no symbol for, and where they are.

    Args:
        marked: the id of each character, (N,), and `len(vocabulary.characters)` for each unknown one.
        unknown: the code points of the unknown characters, (U,), in order.
        vocabulary: the model's vocabulary.
        policy: what becomes of unknown characters: skip, or replace by the unknown symbol.
        files: the files that the text was read from, in order; empty if it does not come from files.
        line_end: the character that its lines, or its items, end with.
    """

    marked: Ids
    unknown: npt.NDArray[np.uint32]
    vocabulary: Vocabulary
    policy: Literal["skip", "replace"]
    files: tuple[FileStart, ...] = ()
    line_end: str = "\n"

    @cached_property
    def ids(self) -> Ids:
        """The ids that the model reads, (N,), or fewer if unknown characters are skipped."""
        is_whole = self.policy == "replace" or not len(self.unknown)
        kept = self.marked if is_whole else self.marked[self.marked < len(self.vocabulary.characters)]
        return kept.astype(self.vocabulary.dtype, copy=False)

    @cached_property
    def positions(self) -> npt.NDArray[np.int64]:
        """The positions of the unknown characters, (U,), from 0."""
        return np.flatnonzero(self.marked == len(self.vocabulary.characters))

    @property
    def count(self) -> UnknownCount:
        """How many characters were skipped or replaced."""
        number = len(self.unknown)
        return UnknownCount(skipped=number) if self.policy == "skip" else UnknownCount(replaced=number)

    @property
    def notice(self) -> str | None:
        """A sentence on the unknown characters: how many, which, and where; None if there are none."""
        return f"{self.count.sentence}: {listed(self.places)}" if len(self.unknown) else None

    @property
    def places(self) -> dict[str, str]:
        """Each unknown character with its first place in words; a file is named only if the one before is another."""
        codes, first = np.unique(self.unknown, return_index=True)
        order = np.argsort(first)
        places: dict[str, str] = {}
        named: FileStart | None = None
        for code, position in zip(codes[order].tolist(), self.positions[first[order]].tolist(), strict=True):
            file = self._file_at(position)
            places[chr(code)] = self._place(position, file, is_named=file == named)
            named = file
        return places

    def characters(self, start: int, stop: int) -> str:
        """Return a piece of the text with its unknown characters as they were read."""
        first, last = np.searchsorted(self.positions, [start, stop])
        piece = self.vocabulary.decode(self.marked[start:stop])
        if first == last:
            return piece
        whole = code_points(piece).copy()
        whole[self.positions[first:last] - start] = self.unknown[first:last]
        return whole.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")

    @cached_property
    def line_ends(self) -> npt.NDArray[np.int64]:
        """The positions of the line ends, in order."""
        newline = self.vocabulary.characters.find(self.line_end)
        if newline < 0:
            return self.positions[self.unknown == ord(self.line_end)]
        return np.flatnonzero(self.marked == newline)

    def lines_before(self, position: int) -> int:
        """Return how many lines end before a position."""
        return int(np.searchsorted(self.line_ends, position))

    def _file_at(self, position: int) -> FileStart | None:
        started = [file for file in self.files if file.position <= position]
        return started[-1] if started else None

    def _place(self, position: int, file: FileStart | None, *, is_named: bool) -> str:
        line, noun = self.lines_before(position) + 1, "line" if self.line_end == "\n" else "item"
        if file is None:
            return f"at position {position:,}" + (f" ({noun} {line:,})" if line > 1 else "")
        name = "" if is_named else f"{printable(file.name, MAX_NAME)}, "
        line -= self.lines_before(file.position)
        return f"at position {position - file.position:,} ({name}{noun} {line:,})"


def encode_text(
    sources: Iterable[Source],
    vocabulary: Vocabulary,
    *,
    unknown: UnknownPolicy,
    what: str = "the text",
    remedy: str = "",
    line_end: str = "\n",
) -> EncodedText:
    """Encode a text, file by file and chunk by chunk, in memory.

    Args:
        sources: the files, or the text itself, in order; nothing is put between them.
        vocabulary: the model's vocabulary.
        unknown: error, skip, or replace (by the unknown symbol, which the model must have).
        what: what error messages call the text.
        remedy: the end of an error's sentence, which says what to do about unknown characters.
        line_end: the character that lines, or items, end with.
    Raises:
        TextError: naming each unknown character once, with its code point, file and line.
    """
    pieces: list[Ids] = []
    strangers: list[npt.NDArray[np.uint32]] = []
    files: list[FileStart] = []
    length = 0
    for source in sources:
        if source.name is not None:
            files.append(FileStart(source.name, length))
        for chunk in source.chunks:
            pieces.append(marked := vocabulary.mark(chunk))
            if (missing := marked == len(vocabulary.characters)).any():
                strangers.append(code_points(chunk)[missing])
            length += len(chunk)
    marked = np.concatenate([np.empty(0, np.min_scalar_type(len(vocabulary.characters))), *pieces])
    codes = np.concatenate([np.empty(0, np.uint32), *strangers])
    policy = "replace" if unknown == "replace" else "skip"
    text = EncodedText(marked, codes, vocabulary, policy, tuple(files), line_end)
    if len(codes) and (unknown == "error" or (unknown == "replace" and not vocabulary.has_unknown)):
        sentence = unknown_sentence(what, text.places, has_unknown=vocabulary.has_unknown)
        raise TextError(sentence + (NOT_REPLACEABLE if unknown == "replace" else "") + remedy)
    return text


def encoded_chunks(
    chunks: Iterable[str], vocabulary: Vocabulary, *, unknown: UnknownPolicy, what: str
) -> Iterator[Ids]:
    """Encode a text chunk by chunk; positions in messages count from the start of the text."""
    offset = 0
    for chunk in chunks:
        yield vocabulary.encode(chunk, unknown=unknown, what=what, offset=offset)
        offset += len(chunk)


def hash_ids(ids: Ids, vocabulary: Vocabulary) -> str:
    """Return the SHA-256 of the UTF-8 text that ids stand for, in which the unknown symbol is U+FFFD."""
    digest = hashlib.sha256()
    step = 1 << 20
    for start in range(0, len(ids), step):
        digest.update(vocabulary.decode(ids[start : start + step]).encode("utf-8"))
    return digest.hexdigest()
