"""What kind of place the output goes to, and how text is made fit for it."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Mapping
from typing import IO, Any, TextIO
from unicodedata import category

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from charlm.runs.json_records import json_line

# Bidirectional embeddings, overrides and isolates, and the deprecated format characters.
TURNING = frozenset(map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x2070)]))


class PlainConsole(Console):
    """Rich's console for text that comes from anybody: it is shown as it is, and obeyed by nobody.

    Where no terminal redraws, texts go out to the last character: Rich would expand tabs and drop a carriage return. On
    a terminal control characters are escaped. A closed pipe stays an OSError, for the command line to turn into its
    exit code.
    """

    def print(self, *objects: Any, end: str = "\n", **options: Any) -> None:
        """Print texts or whatever else Rich can draw."""
        if not self.is_terminal and all(isinstance(each, str | Text) for each in objects):
            self.file.write(" ".join(map(str, objects)) + end)
        else:
            super().print(*objects, end=end, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text as Rich draws it, escaped before it is measured."""
        return super().render_str(shown_safely(text, self.file), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Yield what is drawn, control characters within texts escaped."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=shown_safely(segment.text, self.file))

    def on_broken_pipe(self) -> None:
        """Raise it again, where Rich itself would exit with 1."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def is_live(stream: TextIO) -> bool:
    """Say whether a stream is a terminal that can redraw; a notebook, a log and CI are not."""
    return stream.isatty() and not os.environ.get("CI") and os.environ.get("TERM", "") != "dumb"


def is_watched() -> bool:
    """Say whether somebody looks on: standard error is a terminal, or this is a notebook."""
    return is_live(sys.stderr) or "ipykernel" in sys.modules


def console_for(stream: TextIO) -> Console:
    """Return a console that draws on a stream: colours on a terminal unless NO_COLOR, plain text elsewhere."""
    is_terminal = is_live(stream)
    # Brackets and colons are text here, never markup or the name of an emoji.
    return PlainConsole(
        file=stream,
        force_terminal=is_terminal,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=not is_terminal,
    )


def print_json(record: Mapping[str, object]) -> None:
    """Print one JSON object on a line of standard output; a terminal gets the escapes that JSON has."""
    line = json_line(record)
    sys.stdout.write((_escaped(line, "\\u00{:02x}") if sys.stdout.isatty() else line) + "\n")


def shown_safely(text: str, stream: IO[str] | None = None) -> str:
    """Return text as it is, or on a terminal with escapes for what the terminal would obey: see `is_harmless`."""
    return escaped(text) if (stream or sys.stdout).isatty() else text


def escaped(text: str) -> str:
    """Return text with an escape in place of each character that is not harmless on a terminal."""
    return _escaped(text, "\\x{:02x}")


def is_harmless(character: str) -> bool:
    """Say whether a terminal only shows a character.

    It would obey control characters other than newline and tab; separators of lines and paragraphs, and what turns the
    direction of all that follows, make a line show something else than it says. Joiners and direction marks stay, which
    scripts need.
    """
    return character in "\n\t" or not (category(character) in ("Cc", "Cs", "Zl", "Zp") or character in TURNING)


def _escaped(text: str, short: str) -> str:
    """Escape by a format for code points below 256; the others have one for all."""
    codes = ((character, ord(character)) for character in text)
    return "".join(
        character if is_harmless(character) else short.format(code) if code < 0x100 else f"\\u{code:04x}"
        for character, code in codes
    )
