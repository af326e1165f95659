"""Commands that are printed to be copied: pasted into a shell, they give the very same arguments."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from charlm.text.escapes import escape

ANSI_C = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", "'": "\\'"}


def shell_line(words: Iterable[str]) -> str:
    r"""Return words as one line of printable characters that bash, ksh and zsh read as just these words.

        >>> print(shell_line(["charlm", "generate", "--prefix", "it's\n"]))
        charlm generate --prefix $'it\'s\n'

    Args:
        words: without NUL, which no argument can hold; see `prompt_words`.
    """
    return " ".join(_quoted(word) for word in words)


def prompt_words(option: str, text: str) -> list[str]:
    """Return an option with a prompt as its value, escaped where no argument could hold it as it is."""
    # As bytes, half a surrogate pair would come back as three characters.
    if "\0" in text or not _is_unicode(text):
        return ["--escapes", option, escape(text)]
    return [option, text]


def _quoted(word: str) -> str:
    """Quote a word; what a terminal would not show, or a paste would not carry, by $'...'."""
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + "".join(map(_ansi_c, word)) + "'"


def _ansi_c(character: str) -> str:
    if character in ANSI_C:
        return ANSI_C[character]
    # Bytes, not \u: what that becomes depends on the shell's locale. Three octal digits end by themselves.
    encoded = character.encode("utf-8", "surrogateescape")
    return character if character.isprintable() else "".join(f"\\{byte:03o}" for byte in encoded)


def _is_unicode(text: str) -> bool:
    return not any(0xD800 <= ord(character) < 0xE000 for character in text)
