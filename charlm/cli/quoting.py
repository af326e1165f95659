"""Quote commands that are printed to be copied: pasted into a shell, they give exactly the same arguments."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from charlm.text.escapes import escape

ANSI_C = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", "'": "\\'"}


def shell_line(words: Iterable[str]) -> str:
    r"""Return words as one line of printable characters that bash, ksh and zsh split into exactly these words.

        >>> print(shell_line(["charlm", "generate", "--prefix", "it's\n"]))
        charlm generate --prefix $'it\'s\n'

    Args:
        words: must not contain NUL, which no argument can hold; see `prompt_words`.
    """
    return " ".join(_quoted(word) for word in words)


def program() -> list[str]:
    """Return how to call this program: by name where it is on the path, else as it was called."""
    called = Path(sys.argv[0])
    if shutil.which("charlm") is not None or called.name not in ("charlm", "__main__.py"):
        return ["charlm"]
    return [sys.argv[0]] if called.name == "charlm" else [sys.executable, "-m", "charlm"]


def prompt_words(option: str, text: str) -> list[str]:
    """Return an option with a prompt as its value, escaped where no argument could hold it unescaped."""
    # As bytes, a lone surrogate would come back as three characters.
    if "\0" in text or not _is_unicode(text):
        return ["--escapes", option, escape(text)]
    return [option, text]


def _quoted(word: str) -> str:
    """Quote a word, with $'...' where a terminal would not show a character or pasting would lose it."""
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + "".join(map(_ansi_c, word)) + "'"


def _ansi_c(character: str) -> str:
    if character in ANSI_C:
        return ANSI_C[character]
    # Bytes, not \u, whose meaning depends on the shell's locale. Three octal digits need no terminator.
    encoded = character.encode("utf-8", "surrogateescape")
    return character if character.isprintable() else "".join(f"\\{byte:03o}" for byte in encoded)


def _is_unicode(text: str) -> bool:
    return not any(0xD800 <= ord(character) < 0xE000 for character in text)
