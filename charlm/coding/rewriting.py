"""Turn any bytes into the text that a model reads, and what that text lacks into edits; and back, byte for byte.

The model's text is the one that `charlm eval` measures: decoded, with the line ends, cleaning and Unicode form of the
corpus, and without the characters that the model does not know, or with its unknown symbol in their places. Whatever
this changes, edits restore; bytes that do not decode are among the characters that no model knows.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from charlm.coding.edits import Edit, apply_edits, pack_edits, unpack_edits
from charlm.coding.packing import DamagedError, Reader
from charlm.errors import ConfigError
from charlm.settings.corpus import Clean, CorpusSettings
from charlm.text.cleaning import clean_text
from charlm.text.items import LINE_END, NONCHARACTER
from charlm.text.vocabulary import REPLACEMENT, Vocabulary

LINE_ENDS = ("\n", "\r\n", "\r")
# Pieces that are cleaned alike alone and within their text; see `charlm.text.cleaning`.
WORDS = re.compile(r" ?[^ \n]*\n?")
LINES = re.compile(r"[^\n]*\n|[^\n]+")
LETTERS_AND_OTHERS = re.compile(r"[A-Za-z]+|[^A-Za-z]+")


@dataclass(frozen=True)
class Rewritten:
    """Bytes as a text that a model reads, and what turns it back into them.

    Args:
        text: the text; all its characters have symbols, if only the unknown one.
        layout: how characters become bytes, and what its line ends stand for.
        edits: all edits; empty if there are none.
    """

    text: str
    layout: int
    edits: bytes


def rewrite(content: bytes, corpus: CorpusSettings, vocabulary: Vocabulary) -> Rewritten:
    """Return any bytes as a text that a model reads.

    Args:
        content: the bytes.
        corpus: how the model's corpus was read.
        vocabulary: the model's symbols.
    Raises:
        ConfigError: for a model of items between separators.
    """
    if corpus.items == "separated":
        raise ConfigError("a model of items with a separator between them cannot code files; one of lines or files can")
    is_plain, text = _decoded(content, corpus.encoding)
    number, unified, line_edits = 0, text, list[Edit]()
    if corpus.clean.newline == "lf" or corpus.clean.letters or corpus.items == "lines":
        number = _usual_line_end(text)
        unified, line_edits = _unified(text, LINE_ENDS[number])
    draft = _Draft(vocabulary)
    for cleaned, original in _pieces(unified, corpus):
        draft.add(cleaned, original)
    errors = _errors(is_plain)
    edits = b""
    if draft.edits or line_edits:
        edits = pack_edits(draft.edits, errors) + pack_edits(line_edits, errors)
    return Rewritten("".join(draft.pieces), 2 * number + is_plain, edits)


def restore(rewritten: Rewritten, corpus: CorpusSettings) -> bytes:
    """Return the bytes that a text was made from.

    Raises:
        DamagedError: where there are no such bytes.
    """
    number, is_plain = divmod(rewritten.layout, 2)
    if number >= len(LINE_ENDS):
        raise DamagedError("it has an unknown layout")
    edits, line_edits = list[Edit](), list[Edit]()
    errors = _errors(bool(is_plain))
    if rewritten.edits:
        reader = Reader(rewritten.edits)
        edits, line_edits = unpack_edits(reader, errors), unpack_edits(reader, errors)
    text = apply_edits(rewritten.text, edits)
    if number:
        text = text.replace(LINE_END, LINE_ENDS[number])
    try:
        return apply_edits(text, line_edits).encode("utf-8" if is_plain else corpus.encoding, errors)
    except (LookupError, UnicodeError) as error:
        raise DamagedError("its text has no bytes") from error


class _Draft:
    """The model's text in the making, with the edits that it needs."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.pieces: list[str] = []
        self.edits: list[Edit] = []
        self._vocabulary, self._length = vocabulary, 0

    def add(self, cleaned: str, original: str) -> None:
        """Add a piece of a text as it was cleaned, which edits will turn into the original."""
        if cleaned == original:
            self._add_known(cleaned)
            return
        start = _num_shared(cleaned, original)
        num_behind = _num_shared(cleaned[start:][::-1], original[start:][::-1])
        self._add_known(cleaned[:start])
        before = self._length
        self._append(self._readable(cleaned[start : len(cleaned) - num_behind]))
        self._edit(before, original[start : len(original) - num_behind])
        self._add_known(cleaned[len(cleaned) - num_behind :])

    def _add_known(self, text: str) -> None:
        """Add a text that stays as it is, but for the characters that the model does not know."""
        is_unknown = self._vocabulary.mark(text) >= len(self._vocabulary.characters)
        turns = np.flatnonzero(np.diff(is_unknown, prepend=False, append=False)).tolist()
        done = 0
        for start, stop in zip(turns[::2], turns[1::2], strict=True):
            self._append(text[done:start])
            before = self._length
            self._append(self._readable(text[start:stop]))
            self._edit(before, text[start:stop])
            done = stop
        self._append(text[done:])

    def _readable(self, text: str) -> str:
        is_unknown = self._vocabulary.mark(text) >= len(self._vocabulary.characters)
        instead = REPLACEMENT if self._vocabulary.has_unknown else ""
        return "".join(instead if unknown else each for each, unknown in zip(text, is_unknown.tolist(), strict=True))

    def _append(self, text: str) -> None:
        if text:
            self.pieces.append(text)
            self._length += len(text)

    def _edit(self, before: int, original: str) -> None:
        self.edits.append(Edit(before, self._length - before, original))


def _num_shared(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    differences = (place for place, (here, there) in enumerate(zip(one, other, strict=False)) if here != there)
    return next(differences, min(len(one), len(other)))


def _decoded(content: bytes, encoding: str) -> tuple[bool, str]:
    """Return a text that encodes to exactly these bytes, and whether its encoding is UTF-8 with room for any bytes."""
    if codecs.lookup(encoding).name not in ("utf-8", "utf-8-sig"):
        try:
            text = content.decode(encoding)
            if text.encode(encoding, _errors(False)) == content:
                return False, text
        except UnicodeError:
            pass
    return True, content.decode("utf-8", _errors(True))


def _errors(is_plain: bool) -> str:
    return "surrogateescape" if is_plain else "surrogatepass"


def _usual_line_end(text: str) -> int:
    num_both = text.count("\r\n")
    counts = (text.count("\n") - num_both, num_both, text.count("\r") - num_both)
    return counts.index(max(counts))


def _unified(text: str, line_end: str) -> tuple[str, list[Edit]]:
    """Return a text with LF for every line end, and edits for those that are not the usual one.

    The edits apply after each LF has become the usual line end again.
    """
    unified = text.replace("\r\n", "\n").replace("\r", "\n")
    if unified.replace("\n", line_end) == text:
        return unified, []
    edits: list[Edit] = []
    shift = 0
    for found in re.finditer(r"\r\n?|\n", text):
        if found[0] != line_end:
            edits.append(Edit(found.start() + shift, len(line_end), found[0]))
            shift += len(line_end) - len(found[0])
    return unified, edits


def _pieces(text: str, corpus: CorpusSettings) -> Iterator[tuple[str, str]]:
    """Yield a text piece by piece, cleaned and as it was; after each item stands the boundary."""
    clean = corpus.clean.model_copy(update={"newline": "keep"})
    if corpus.items is None:
        yield from _cleaned(text, clean)
    elif corpus.items == "lines":
        for line in LINES.findall(text):
            item = line.removesuffix(LINE_END)
            yield from _cleaned(item, clean)
            # No item is empty.
            yield LINE_END if item else "", line[len(item) :]
    else:
        item = text.strip("\r\n")
        start = text.find(item)
        yield "", text[:start]
        yield from _cleaned(item, clean)
        yield NONCHARACTER if item else "", text[start + len(item) :]


def _cleaned(text: str, clean: Clean) -> Iterator[tuple[str, str]]:
    whole = "".join(clean_text(iter([text]), clean))
    if whole == text:
        yield text, text
    elif clean.letters:
        tokens = LETTERS_AND_OTHERS.findall(text)
        for number, token in enumerate(tokens):
            is_inner = 0 < number < len(tokens) - 1 and LINE_END not in token
            yield token.lower() if token[0].isascii() and token[0].isalpha() else " " * is_inner, token
    else:
        for word in WORDS.findall(text):
            yield "".join(clean_text(iter([word]), clean)), word
