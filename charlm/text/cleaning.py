"""Clean a text chunk by chunk in constant memory, or a prefix at once."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from charlm.settings.corpus import Clean


def clean_text(chunks: Iterator[str], clean: Clean) -> Iterator[str]:
    """Clean a text given in chunks; the result does not depend on where it was cut into chunks.

    Args:
        chunks: the text, in order.
        clean: what to do: newlines come first, then Unicode, then case and letters.
    """
    if clean.newline == "lf" or clean.letters:
        chunks = _with_lf(chunks)
    if clean.unicode == "nfc" or clean.lowercase:
        chunks = (_cased(_composed(chunk, clean), clean) for chunk in _at_safe_places(chunks))
    yield from _letters_only(chunks) if clean.letters else chunks


def clean_prefix(text: str, clean: Clean) -> str:
    """Clean a prefix like its model's corpus; `letters` keeps the outer spaces, as a prefix may be part of a line."""
    if not clean.letters:
        return "".join(clean_text(iter([text]), clean))
    before_letters = clean.model_copy(update={"newline": "lf", "letters": False})
    return _joined_lines("".join(clean_text(iter([text]), before_letters)))


def _composed(chunk: str, clean: Clean) -> str:
    return unicodedata.normalize("NFC", chunk) if clean.unicode == "nfc" else chunk


def _cased(chunk: str, clean: Clean) -> str:
    return chunk.lower() if clean.lowercase else chunk


def _with_lf(chunks: Iterator[str]) -> Iterator[str]:
    held = ""
    for chunk in chunks:
        # A CR at the end is held back: the LF of the same line end may begin the next chunk.
        text = held + chunk
        held = "\r" if text.endswith("\r") else ""
        yield (text[:-1] if held else text).replace("\r\n", "\n").replace("\r", "\n")
    if held:
        yield "\n"


def _at_safe_places(chunks: Iterator[str]) -> Iterator[str]:
    """Cut after a line end or before a space, where no character depends on the next (final sigma, accents)."""
    held: list[str] = []
    for chunk in chunks:
        cut = max(chunk.rfind("\n") + 1, chunk.rfind(" "))
        if cut <= 0:
            held.append(chunk)
            continue
        yield "".join(held) + chunk[:cut]
        held = [chunk[cut:]]
    yield "".join(held)


def _letters_only(chunks: Iterator[str]) -> Iterator[str]:
    """Replace each run of other characters by nothing if it ends a line or the text, else by one space."""
    held = "\n"
    for chunk in chunks:
        text = held + chunk
        end = _end_of_last_letter(text)
        yield _joined_lines(text[:end])
        # One character replaces the whole run: it records that there is one, and whether a line ends in it.
        held = "\n" if "\n" in text[end:] else " " * (end < len(text))


def _end_of_last_letter(text: str) -> int:
    for end in range(len(text), 0, -1):
        if text[end - 1].isascii() and text[end - 1].isalpha():
            return end
    return 0


def _joined_lines(text: str) -> str:
    spaced = re.sub("[^A-Za-z\n]+", " ", text).lower()
    return spaced.replace(" \n", "\n").replace("\n ", "\n").replace("\n", "")
