"""What kind of place the output goes to, and how text is made fit for it."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Mapping
from typing import IO, Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from charlm.runs.json_records import json_line


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
    """Print one JSON object on a line of standard output."""
    sys.stdout.write(json_line(record) + "\n")


def shown_safely(text: str, stream: IO[str] | None = None) -> str:
    """Return text with control characters escaped where a terminal would obey them; newline and tab stay."""
    if not (stream or sys.stdout).isatty():
        return text
    return "".join(character if _is_harmless(character) else _escaped(character) for character in text)


def _is_harmless(character: str) -> bool:
    code = ord(character)
    return character in "\n\t" or not (code < 0x20 or 0x7F <= code < 0xA0)


def _escaped(character: str) -> str:
    return f"\\x{ord(character):02x}"
