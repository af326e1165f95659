r"""Escapes for characters that are hard to type: \n, \r, \t, \\, \xNN, \uNNNN and \UNNNNNNNN."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from charlm.errors import ConfigError, printable

if TYPE_CHECKING:
    from charlm.text.vocabulary import Vocabulary

SIMPLE = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}
SPELLED = {character: f"\\{name}" for name, character in SIMPLE.items()}
KNOWN = r"\n, \r, \t, \\, \xNN, \uNNNN and \UNNNNNNNN"
HEX = "[0-9A-Fa-f]"
# The two halves of a character beyond U+FFFF, as JSON writes it, are read together.
ESCAPE = re.compile(
    rf"\\(?:(?P<simple>[nrt\\])"
    rf"|u(?P<high>[Dd][89ABab]{HEX}{{2}})\\u(?P<low>[Dd][C-Fc-f]{HEX}{{2}})"
    rf"|x(?P<byte>{HEX}{{2}})|u(?P<short>{HEX}{{4}})|U(?P<long>{HEX}{{8}})"
    rf"|(?P<wrong>.?))",
    re.DOTALL,
)
# Escapes that nobody types by chance.
MEANT = re.compile(rf"\\(?:[nrt]|x{HEX}{{2}}|u{HEX}{{4}})")


def unescape(text: str, what: str) -> str:
    r"""Return a text with its escapes replaced by their characters.

        >>> unescape(r"one\ntwo\u00e9", "--prefix")
        'one\ntwoé'

    Args:
        text: the text as it was typed.
        what: what messages call it.
    Raises:
        ConfigError: for a backslash that does not begin an escape, and for an escape that is not a character.
    """

    def meant(found: re.Match[str]) -> str:
        parts = found.groupdict()
        if parts["simple"] is not None:
            return SIMPLE[parts["simple"]]
        if parts["high"] is not None:
            return chr(0x10000 + (int(parts["high"], 16) - 0xD800) * 0x400 + int(parts["low"], 16) - 0xDC00)
        code = int(parts["byte"] or parts["short"] or parts["long"] or "-1", 16)
        if code < 0:
            raise ConfigError(
                f"{what} has a backslash that does not begin an escape at position {found.start():,}: "
                f"{printable(found[0])}; --escapes knows {KNOWN}"
            )
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise ConfigError(f"{what} has an escape that is not a character at position {found.start():,}: {found[0]}")
        return chr(code)

    return ESCAPE.sub(meant, text)


def escape(text: str) -> str:
    r"""Return a text in printable characters, which `unescape` turns back into this one.

    >>> escape("one\ntwo")
    'one\\ntwo'
    """
    return "".join(SPELLED.get(character) or _printable(character) for character in text)


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def hint_of_escapes(text: str, vocabulary: Vocabulary) -> str:
    r"""Return a hint to add to a message if somebody typed \n and meant a line end, else an empty text.

    A line end was clearly meant if the model does not know the backslash.
    """
    if "\\" in vocabulary.characters or (found := MEANT.search(text)) is None:
        return ""
    return f"; if {found[0]} was meant as an escape, add --escapes on the command line"
