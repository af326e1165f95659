"""Items: a text as a list of lines, files or documents that are learned one by one, each with its begin and its end.

Between two items stands one symbol, the boundary, which is the end of the one and the begin of the next; it stands
before the first item and after the last too, and never inside one:

    boundary item boundary item boundary

Read from boundary to boundary, each item predicts its characters and its end. What counts characters therefore counts
the ends as well, and the number of predicted characters is one less than the number of ids, as in a running text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlm.errors import TextError, printable
from charlm.settings.corpus import Clean, CorpusSettings
from charlm.settings.model import Direction
from charlm.text.cleaning import clean_text
from charlm.text.vocabulary import Ids, Vocabulary

Places = npt.NDArray[np.int64]
# Lines cannot contain a line end. Other items can, so theirs is a code point that Unicode keeps for such uses.
LINE_END, NONCHARACTER = "\n", "\uffff"
NO_CLEANING = Clean(newline="keep")


@dataclass
class ItemCount:
    """Counts the items of a text while it is read, and those that were left out: repeated ones and empty ones."""

    number: int = 0
    duplicates: int = 0
    empty: int = 0


def boundary_character(corpus: CorpusSettings) -> str | None:
    """Return the character that stands between two items, or None for a running text."""
    if corpus.items is None:
        return None
    return LINE_END if corpus.items == "lines" else NONCHARACTER


def boundary_id(corpus: CorpusSettings, vocabulary: Vocabulary) -> int | None:
    """Return the id of the boundary in a vocabulary, or None for a running text."""
    character = boundary_character(corpus)
    return None if character is None else vocabulary.characters.index(character)


def split_items(chunks: Iterator[str], corpus: CorpusSettings) -> list[str]:
    """Return the items of a text, cleaned, the empty ones too.

    Args:
        chunks: the text; between files whose ends divide it stands the boundary.
        corpus: how it is divided and cleaned.
    Raises:
        TextError: for a text that has the boundary in it.
    """
    newline = "lf" if corpus.items == "lines" else corpus.clean.newline
    text = "".join(clean_text(chunks, Clean(newline=newline)))
    if corpus.items == "lines":
        items = text.removesuffix(LINE_END).split(LINE_END) if text else []
    elif corpus.items == "files":
        items = [item.strip("\r\n") for item in text.removesuffix(NONCHARACTER).split(NONCHARACTER)]
    else:
        refuse_boundary(text)
        items = [item.strip("\r\n") for item in text.split(corpus.separator)]
    clean = corpus.clean.model_copy(update={"newline": "keep"})
    return items if clean == NO_CLEANING else ["".join(clean_text(iter([item]), clean)) for item in items]


def arranged_text(chunks: Iterator[str], corpus: CorpusSettings, count: ItemCount) -> str:
    """Return the distinct items of a corpus, shuffled and joined by boundaries; an empty text if there are none.

    The order, and with it the splits, is that of the items' hashes. It depends neither on the order of the file nor on
    a random seed, so that runs with different seeds are measured on the same items; and an item that is added to the
    list hardly moves others from one split to another.

    Args:
        chunks: the corpus.
        corpus: how it is divided and cleaned; `max_chars` keeps only the first items.
        count: counts the items.
    Raises:
        TextError: for a text without the separator, or with the boundary in it.
    """
    distinct: dict[str, None] = {}
    num_chars = 0
    items = split_items(chunks, corpus)
    if corpus.separator is not None and len(items) == 1:
        raise TextError(f"the separator {corpus.separator!r} does not occur in the text{_typed(corpus.separator)}")
    for item in items:
        if not item.strip():
            count.empty += 1
        elif item in distinct:
            count.duplicates += 1
        else:
            num_chars += len(item) + 1
            if corpus.max_chars is not None and num_chars > corpus.max_chars and distinct:
                break
            distinct[item] = None
    count.number = len(distinct)
    shuffled = sorted(distinct, key=lambda item: hashlib.blake2b(item.encode("utf-8", "surrogatepass")).digest())
    boundary = boundary_character(corpus) or ""
    return boundary + boundary.join(shuffled) + boundary if shuffled else ""


def ended_items(chunks: Iterator[str], corpus: CorpusSettings) -> Iterator[str]:
    """Yield the items of a text that is not the corpus, as they are and in order, each with the boundary after it."""
    boundary = boundary_character(corpus) or ""
    yield from (item + boundary for item in split_items(chunks, corpus))


def begin_item(ids: Ids, boundary: int | None, direction: Direction, what: str) -> Ids:
    """Return a prefix with the begin of an item before it, or a backward model's suffix with its end after it.

    Args:
        ids: the text, (N,), in its own order.
        boundary: the id of the boundary; None for a running text, which is returned as it is.
        direction: the direction in which the model reads.
        what: what error messages call the text.
    Raises:
        TextError: for a text that has the boundary in it.
    """
    if boundary is None:
        return ids
    if (ids == boundary).any():
        raise TextError(
            f"{what} contains the end of an item, and the model writes single items: leave the line end out"
        )
    end = np.array([boundary], ids.dtype)
    return np.concatenate([ids, end] if direction == "backward" else [end, ids])


def with_boundaries(ids: Ids, boundary: int) -> Ids:
    """Return a text of items with one boundary before, between and after its items, and no empty items.

    Args:
        ids: the text, (N,); its items stand between any number of boundaries.
        boundary: the id of the boundary.
    """
    ends = np.array([boundary], ids.dtype)
    text = np.concatenate([ends, ids, ends])
    is_first = np.append(True, text[1:] != boundary) | np.append(True, text[:-1] != boundary)
    return text[is_first]


def item_places(ids: Ids, boundary: int) -> tuple[Places, Places]:
    """Return where the boundary before each item is, and how many characters each predicts, its end included.

    Args:
        ids: the items with boundaries before, between and after them, (N,).
        boundary: the id of the boundary.
    """
    places = np.flatnonzero(ids == boundary)
    return places[:-1], np.diff(places)


def first_items(ids: Ids, boundary: int, max_chars: int) -> Ids:
    """Return the first items that have at most this many ids together, boundaries included, or the first item."""
    if len(ids) <= max_chars:
        return ids
    places = np.flatnonzero(ids == boundary)
    last = max(1, int(np.searchsorted(places, max_chars)) - 1)
    return ids[: places[last] + 1]


def item_spans(ids: Ids, boundary: int, chunk_chars: int) -> Iterator[Places]:
    """Yield where the characters of items stand, with both boundaries, in batches of equal length, (T, B).

    Args:
        ids: the items, with boundaries before, between and after them, (N,).
        boundary: the id of the boundary.
        chunk_chars: about how many characters a batch has.
    """
    places, lengths = item_places(ids, boundary)
    for batch in batches_of_equal_length(lengths, chunk_chars):
        yield places[batch] + np.arange(int(lengths[batch[0]]) + 1)[:, None]


def batches_of_equal_length(lengths: Places, chunk_chars: int) -> Iterator[Places]:
    """Yield the numbers of items in batches of about chunk_chars characters; those of a batch have equal length."""
    by_length = np.argsort(lengths, kind="stable")
    changes = np.flatnonzero(np.diff(lengths[by_length])) + 1
    for same in np.split(by_length, changes):
        at_once = max(1, chunk_chars // (int(lengths[same[0]]) + 2)) if len(same) else 1
        for first in range(0, len(same), at_once):
            yield same[first : first + at_once]


def refuse_boundary(text: str) -> None:
    """Refuse a text in which the code point occurs that marks the ends of its items.

    Raises:
        TextError: where it does.
    """
    if NONCHARACTER in text:
        raise TextError(
            "the text contains the code point U+FFFF, which is no character and marks the ends of items here: remove it"
        )


def _typed(separator: str) -> str:
    """Say how a separator with escapes in it is typed."""
    return f": for line ends and tabs, type $'{printable(separator)}'" if "\\" in separator else ""
