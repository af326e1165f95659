"""Read the prompt that a text continues: an argument, an option, a file, standard input, or nothing."""

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
    """The prefix and suffix of a text; each is None where it was not given.

    Args:
        prefix: as it was typed.
        suffix: as it was typed.
        content: the bytes of a file or of standard input, which hold the prefix until it is decoded.
        name: of the file, for messages.
        has_escapes: whether escapes in the file stand for characters.
    """

    prefix: str | None
    suffix: str | None
    content: bytes | None = None
    name: str = ""
    has_escapes: bool = False

    @property
    def has_prefix(self) -> bool:
        """Whether there is a prefix, either typed or in a file."""
        return self.prefix is not None or self.content is not None

    @property
    def is_gap(self) -> bool:
        """Whether both are given, so that the text fills the gap between them."""
        return self.has_prefix and self.suffix is not None

    @property
    def is_absent(self) -> bool:
        """Whether neither was given."""
        return not self.has_prefix and self.suffix is None

    def decoded(self, encoding: str) -> Prompt:
        """Return the prompt with the prefix of a file as text.

        Args:
            encoding: of the model's corpus.
        Raises:
            TextError: for bytes that cannot be decoded.
            ConfigError: for an invalid escape.
        """
        if self.content is None:
            return self
        text = decode_prefix(self.content, self.name, encoding)
        return Prompt(unescape(text, "the prefix") if self.has_escapes else text, self.suffix)


def read_prompt(
    words: Sequence[str], *, prefix: str | None, file: str | None, suffix: str | None, escapes: bool
) -> Prompt:
    """Return the prompt, from whichever source gives it.

    Standard input is read for `-`, and where neither an argument nor an option gives a prompt; in the second case an
    empty input counts as no prompt.

    Args:
        words: the arguments of the command.
        prefix: the value of --prefix.
        file: the value of --prefix-file.
        suffix: the value of --suffix.
        escapes: whether escapes stand for characters.
    Raises:
        ConfigError: for a prompt that is given twice, and for an invalid escape.
        TextError: for a file that cannot be read.
    """
    word = _one_argument(words)
    names = [
        name
        for name, given in (("an argument", word), ("--prefix", prefix), ("--prefix-file", file))
        if given is not None
    ]
    if len(names) > 1:
        raise ConfigError(f"give either {names[0]} or {names[1]}: there can only be one prefix")
    text = prefix if word is None else word
    suffix = unescape(suffix, "--suffix") if suffix and escapes else suffix
    if word == "-" or file is not None:
        source = "-" if file is None else file
        return Prompt(None, suffix, _content(source), STANDARD_INPUT if source == "-" else source, escapes)
    if not names and suffix is None:
        return Prompt(None, None, _piped_content(), STANDARD_INPUT, escapes)
    return Prompt(unescape(text, "the prefix") if text and escapes else text, suffix)


def _one_argument(words: Sequence[str]) -> str | None:
    """Return the argument, or None without one.

    Raises:
        ConfigError: for several arguments, and for the name of a file, which was probably meant to be read.
    """
    if len(words) > 1:
        quoted = shell_line([" ".join(words)])
        raise ConfigError(f"the prefix must be one argument: put it in quotes, as in charlm generate {quoted}")
    if words and words[0] != "-" and _is_file(words[0]):
        name = shell_line(words)
        raise ConfigError(
            f"{name} is a file: --prefix-file {name} reads the file, --prefix {name} uses the name itself as the prefix"
        )
    return words[0] if words else None


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except (OSError, ValueError):  # too long for a name, or with NUL in it
        return False


def _piped_content() -> bytes | None:
    """Return what standard input gives without `-`; None where it is empty or holds only line ends."""
    content = _content("-") if has_input("a prefix") else b""
    return content if content.strip(b"\r\n") else None


def _content(file: str) -> bytes:
    """Read the bytes of a prefix, up to a limit: a pipe or a device may never end."""
    name = STANDARD_INPUT if file == "-" else f"the prefix file {printable(file, MAX_SHOWN_NAME)}"
    if file == "-" and sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison]
        raise TextError("cannot read standard input: it is closed")
    try:
        with nullcontext(sys.stdin.buffer) if file == "-" else Path(file).open("rb") as stream:
            content = stream.read(MAX_PREFIX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: no file can have this name
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise TextError(f"cannot read {name}: {reason.lower()}") from error
    if len(content) > MAX_PREFIX_BYTES:
        raise TextError(f"{name} is longer than {MAX_PREFIX_BYTES:,} bytes")
    return content
