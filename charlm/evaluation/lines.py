"""Score each line of a text, in its context or alone, and find the lines that do not belong."""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from charlm.evaluation.characters import ScoredCharacter, column
from charlm.evaluation.windows import BITS_PER_NAT, CHUNK_CHARS, score_windows
from charlm.settings.model import Direction
from charlm.text.encoding import EncodedText
from charlm.text.items import batches_of_equal_length
from charlm.text.vocabulary import Ids, Vocabulary

if TYPE_CHECKING:
    from charlm.evaluation.windows import Readable


@dataclass(frozen=True)
class ScoredLine:
    """How well a model predicted one line of a text.

    Args:
        line: its number, from 1; with several files, its number within its own file.
        text: the line without its newline, including characters that the model does not know.
        chars: number of characters predicted, including the newline but not the character that reading begins with.
        bits: total bits of these characters.
        cloze_bits: total of their `cloze_bits`; None for models that read in one direction.
        unknown: the characters in it that the model has no symbol for, in order.
        file: the file that the line begins in; None if the text is not from a file.
    """

    line: int
    text: str
    chars: int
    bits: float
    cloze_bits: float | None = None
    unknown: str = ""
    file: str | None = None

    @property
    def bits_per_char(self) -> float | None:
        """Mean bits per predicted character; None if no character was predicted."""
        return self.bits / self.chars if self.chars else None

    @property
    def unknown_share(self) -> float:
        """The share of its characters that the model has no symbol for, from 0 to 1."""
        return len(self.unknown) / len(self.text) if self.unknown else 0.0

    def as_record(
        self, *, has_cloze: bool = True, has_unknown: bool = False, has_files: bool = False
    ) -> dict[str, object]:
        """Return the fields and the rate as JSON values; cloze, unknown characters and the file only on request."""
        record: dict[str, object] = {
            "line": self.line,
            "bits_per_char": self.bits_per_char,
            "bits": self.bits,
            "chars": self.chars,
        }
        if has_cloze:
            record["cloze_bits"] = self.cloze_bits
        record["text"] = self.text
        if has_unknown:
            record["unknown"] = self.unknown
        if has_files:
            record["file"] = self.file
        return record


def join_lines(characters: Iterable[ScoredCharacter]) -> Iterator[ScoredLine]:
    """Add up a text's characters line by line; each line is scored in context, after everything before it."""
    number, text, chars, bits, cloze_bits, unknown = 1, "", 0, 0.0, None, ""
    for each in characters:
        text += each.character
        if each.unknown:
            unknown += each.character
        if each.bits is not None:
            chars, bits = chars + 1, bits + each.bits
        if each.cloze_bits is not None:
            cloze_bits = each.cloze_bits + (cloze_bits or 0.0)
        if each.character == "\n":
            yield ScoredLine(number, text[:-1], chars, bits, cloze_bits, unknown)
            number, text, chars, bits, cloze_bits, unknown = number + 1, "", 0, 0.0, None, ""
    if text:
        yield ScoredLine(number, text, chars, bits, cloze_bits, unknown)


def score_lines_alone(
    model: Readable,
    ids: Ids,
    vocabulary: Vocabulary,
    *,
    end: str = "\n",
    direction: Direction = "forward",
    chunk_chars: int = CHUNK_CHARS,
    report: Callable[[int, int], None] | None = None,
) -> Iterator[ScoredLine]:
    """Score each line of a text as if it were alone between two newlines; return the lines in order.

    The model reads each line from its initial state, so neither the order of the lines nor the other lines matter. The
    newline that reading begins with is not counted. The newline at the end is, even where the text ends without one.

    Args:
        model: the model.
        ids: the text, (N,), at least one character; never reversed.
        vocabulary: the model's vocabulary, which has a newline.
        end: what stands in place of the newline where items are scored.
        direction: the model's direction.
        chunk_chars: approximate number of characters processed at once; lines of equal length are processed together.
        report: called with the number of lines done and their total.
        Raises:
            DivergedError: if a probability is not a number.
    """
    newline = int(vocabulary.encode(end)[0])
    starts, lengths = _line_places(ids, newline)
    bits, cloze_bits = np.zeros((2, len(starts)))
    has_cloze, num_done = False, 0
    for batch in batches_of_equal_length(lengths, chunk_chars):
        length = int(lengths[batch[0]])
        texts = np.full((length + 2, len(batch)), newline, dtype=ids.dtype)
        texts[1:-1] = ids[starts[batch] + np.arange(length)[:, None]]
        for window in score_windows(model, texts, direction=direction, chunk_chars=chunk_chars):
            bits[batch] += window.nats.sum(axis=0) * BITS_PER_NAT
            if window.cloze_nats is not None:
                has_cloze = True
                cloze_bits[batch] += window.cloze_nats.sum(axis=0) * BITS_PER_NAT
        num_done += len(batch)
        if report:
            report(num_done, len(starts))
    cloze_column = column(cloze_bits if has_cloze else None, len(starts))
    columns = zip(starts.tolist(), lengths.tolist(), bits.tolist(), cloze_column, strict=True)
    return (
        ScoredLine(number, vocabulary.decode(ids[start : start + length]), length + 1, in_all, cloze_in_all)
        for number, (start, length, in_all, cloze_in_all) in enumerate(columns, 1)
    )


def lines_with_unknown(lines: Iterable[ScoredLine], text: EncodedText) -> Iterator[ScoredLine]:
    """Restore the original text of lines that were scored without their unknown characters, or with a symbol for them.

    Args:
        lines: all lines of the text, in order.
        text: the text that was scored.
    """
    start = 0
    for line in lines:
        end = int(text.line_ends[line.line - 1]) if line.line <= len(text.line_ends) else len(text.marked)
        first, last = np.searchsorted(text.positions, [start, end])
        unknown = "".join(map(chr, text.unknown[first:last]))
        yield replace(line, text=text.characters(start, end), unknown=unknown) if unknown else line
        start = end + 1


def most_surprising(lines: Iterable[ScoredLine], count: int) -> list[ScoredLine]:
    """Return the lines that fit the text least; of equal lines, the earlier comes first.

    Lines with characters that the model does not know come first, those with the largest share of them at the top,
    because such lines resemble nothing that the model has learned. The others follow by bits per character, highest
    first.
    """

    def place(line: ScoredLine) -> tuple[float, float, int]:
        return -line.unknown_share, math.inf if line.bits_per_char is None else -line.bits_per_char, line.line

    return heapq.nsmallest(count, lines, key=place)


def lines_in_files(lines: Iterable[ScoredLine], text: EncodedText) -> Iterator[ScoredLine]:
    """Give each line the file that it begins in and its number there; the lines are numbered through the whole text."""
    before = [text.lines_before(file.position) for file in text.files]
    # If a file's last line continues in the next file, that next file owns only the lines from its second on.
    is_cut = [file.position > 0 and file.position - 1 not in text.line_ends for file in text.files]
    firsts = [number + 1 + cut for number, cut in zip(before, is_cut, strict=True)]
    for line in lines:
        which = bisect_right(firsts, line.line) - 1
        yield replace(line, line=line.line - before[which], file=text.files[which].name) if firsts else line


def _line_places(ids: Ids, newline: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return where each line starts and its length without the newline; a final newline does not begin another line."""
    ends = np.flatnonzero(ids == newline)
    if ids[-1] != newline:
        ends = np.append(ends, len(ids))
    starts = np.append(0, ends[:-1] + 1)
    return starts, ends - starts
