"""Edits: what turns the text that a model reads into the text that was given, position by position."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from charlm.coding.packing import DamagedError, Reader, packed_number


@dataclass(frozen=True)
class Edit:
    """One place where the two texts differ.

    Args:
        position: where it is in the text that is edited.
        num_removed: how many characters are removed there.
        added: what stands there instead.
    """

    position: int
    num_removed: int
    added: str


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """Return a text after some edits, which are in order and do not overlap.

    Raises:
        DamagedError: for an edit beyond the end of the text.
    """
    pieces: list[str] = []
    done = 0
    for edit in edits:
        pieces += (text[done : edit.position], edit.added)
        done = edit.position + edit.num_removed
        if done > len(text):
            raise DamagedError("an edit in it lies beyond the end of the text")
    return "".join([*pieces, text[done:]])


def pack_edits(edits: Sequence[Edit], errors: str) -> bytes:
    """Return edits as bytes: how many there are, then the gaps between them, what is removed, and what is added.

    Args:
        edits: in order.
        errors: how the halves of surrogate pairs are written in UTF-8, as Python's codecs call it.
    """
    added = [edit.added.encode("utf-8", errors) for edit in edits]
    ends = [0, *(edit.position + edit.num_removed for edit in edits)]
    columns = (
        [edit.position - end for edit, end in zip(edits, ends, strict=False)],
        [edit.num_removed for edit in edits],
        [len(each) for each in added],
    )
    numbers = (packed_number(value) for column in columns for value in column)
    return b"".join([packed_number(len(edits)), *numbers, *added])


def unpack_edits(reader: Reader, errors: str) -> list[Edit]:
    """Return the edits that `pack_edits` was given.

    Raises:
        DamagedError: for anything else.
    """
    number = reader.number()
    gaps, removed, sizes = ([reader.number() for _ in range(number)] for _ in range(3))
    try:
        added = [reader.take(size).decode("utf-8", errors) for size in sizes]
    except UnicodeDecodeError as error:
        raise DamagedError("what its edits add is not text") from error
    starts = accumulate(zip(gaps, [0, *removed], strict=False), lambda at, each: at + sum(each), initial=0)
    next(starts)
    return [Edit(*each) for each in zip(starts, removed, added, strict=True)]
