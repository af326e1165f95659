"""What a text is written on from: an argument, an option, a file, standard input, or nothing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from charlm.cli.quoting import shell_line
from charlm.cli.standard_input import has_input
from charlm.errors import ConfigError, TextError, printable
from charlm.text.decoding import MAX_PREFIX_BYTES, decode_prefix
from charlm.text.escapes import unescape

MAX_SHOWN_NAME = 1_000
STANDARD_INPUT = "standard input"


@dataclass(frozen=True)
class Prompt:
    """What a text begins and ends with; None for what nobody gave.

    Args:
        prefix: as it was typed.
        suffix: as it was typed.
        content: of a file or of standard input, which has the prefix until it is decoded.
        name: of that, in messages.
        has_escapes: whether escapes in it stand for characters.
    """

    prefix: str | None
    suffix: str | None
    content: bytes | None = None
    name: str = ""
    has_escapes: bool = False

    @property
    def has_prefix(self) -> bool:
        """Whether there is a prefix, typed or in a file."""
        return self.prefix is not None or self.content is not None

    @property
    def is_gap(self) -> bool:
        """Whether what is written lies between the two."""
        return self.has_prefix and self.suffix is not None

    @property
    def is_absent(self) -> bool:
        """Whether nobody gave either."""
        return not self.has_prefix and self.suffix is None

    def decoded(self, encoding: str) -> Prompt:
        """Return the prompt with the prefix of a file as text.

        Args:
            encoding: of the model's corpus.
        Raises:
            TextError: for what does not decode.
            ConfigError: for a wrong escape.
        """
        if self.content is None:
            return self
        text = decode_prefix(self.content, self.name, encoding)
        return Prompt(unescape(text, "the prefix") if self.has_escapes else text, self.suffix)


def read_prompt(
    words: Sequence[str], *, prefix: str | None, file: str | None, suffix: str | None, escapes: bool
) -> Prompt:
    """Return the prompt, read from wherever it was given.

    Standard input is read for `-`, and where neither argument nor option gives a prompt; there an empty one is none.

    Args:
        words: the arguments of the command.
        prefix: of --prefix.
        file: of --prefix-file.
        suffix: of --suffix.
        escapes: whether escapes stand for characters.
    Raises:
        ConfigError: for a prompt that is given twice, and for a wrong escape.
        TextError: for a file that cannot be read.
    """
    word = _one_argument(words)
    names = [
        name
        for name, given in (("an argument", word), ("--prefix", prefix), ("--prefix-file", file))
        if given is not None
    ]
    if len(names) > 1:
        raise ConfigError(f"give either {names[0]} or {names[1]}: there is one prefix")
    text = prefix if word is None else word
    suffix = unescape(suffix, "--suffix") if suffix and escapes else suffix
    if word == "-" or file is not None:
        source = "-" if file is None else file
        return Prompt(None, suffix, _content(source), STANDARD_INPUT if source == "-" else source, escapes)
    if not names and suffix is None:
        return Prompt(None, None, _piped_content(), STANDARD_INPUT, escapes)
    return Prompt(unescape(text, "the prefix") if text and escapes else text, suffix)


def _one_argument(words: Sequence[str]) -> str | None:
    """Return the argument, if there is one.

    Raises:
        ConfigError: for several, and for the name of a file, which is more likely meant to be read.
    """
    if len(words) > 1:
        quoted = shell_line([" ".join(words)])
        raise ConfigError(f"the prefix is one argument: put it in quotes, as in charlm generate {quoted}")
    if words and words[0] != "-" and _is_file(words[0]):
        name = shell_line(words)
        raise ConfigError(
            f"{name} is a file: --prefix-file {name} reads it, --prefix {name} takes the name itself for the prefix"
        )
    return words[0] if words else None


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except (OSError, ValueError):  # too long for a name, or NUL in it
        return False


def _piped_content() -> bytes | None:
    """Return what standard input gives without being asked for; None where that is nothing, or line ends alone."""
    content = _content("-") if has_input("a prefix") else b""
    return content if content.strip(b"\r\n") else None


def _content(file: str) -> bytes:
    """Read a prefix's bytes; a pipe or a device may be without end."""
    name = STANDARD_INPUT if file == "-" else f"the prefix file {printable(file, MAX_SHOWN_NAME)}"
    if file == "-" and sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison]
        raise TextError("cannot read standard input: it is closed")
    try:
        with nullcontext(sys.stdin.buffer) if file == "-" else Path(file).open("rb") as stream:
            content = stream.read(MAX_PREFIX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise TextError(f"cannot read {name}: {reason.lower()}") from error
    if len(content) > MAX_PREFIX_BYTES:
        raise TextError(f"{name} is longer than {MAX_PREFIX_BYTES:,} bytes")
    return content
