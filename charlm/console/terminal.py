"""Find out what kind of place the output goes to, and make text safe for it."""

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
    """Rich's console for text from unknown sources, which must be shown without having any effect.

    Outside a terminal, texts are written unchanged, where Rich would expand tabs and drop carriage returns. On a
    terminal, control characters are escaped. A closed pipe stays an OSError, which the command line turns into an exit
    code.
    """

    def print(self, *objects: Any, end: str = "\n", **options: Any) -> None:
        """Print texts or anything else that Rich can draw."""
        if not self.is_terminal and all(isinstance(each, str | Text) for each in objects):
            self.file.write(" ".join(map(str, objects)) + end)
        else:
            super().print(*objects, end=end, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text as Rich draws it, escaped before its width is measured."""
        return super().render_str(shown_safely(text, self.file), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Yield the drawn segments, with control characters in texts escaped."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=shown_safely(segment.text, self.file))

    def on_broken_pipe(self) -> None:
        """Raise the error again, where Rich itself would exit with code 1."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def is_live(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that can redraw; a notebook, a log and CI cannot."""
    return stream.isatty() and not os.environ.get("CI") and os.environ.get("TERM", "") != "dumb"


def is_watched() -> bool:
    """Return whether a person is watching: standard error is a terminal, or this is a notebook."""
    return is_live(sys.stderr) or "ipykernel" in sys.modules


def console_for(stream: TextIO) -> Console:
    """Return a console for a stream: colours on a terminal unless NO_COLOR is set, plain text elsewhere."""
    is_terminal = is_live(stream)
    # Brackets and colons are text here, never markup or emoji names.
    return PlainConsole(
        file=stream,
        force_terminal=is_terminal,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=not is_terminal,
    )


def has_colours(console: Console) -> bool:
    """Return whether a console shows colours and other styles."""
    return console.color_system is not None and not console.no_color


def show_heading(text: str) -> None:
    """Print a line on standard output, in bold on a terminal, as the head of what follows."""
    sys.stdout.flush()
    console_for(sys.stdout).print(Text(text, style="bold"), soft_wrap=True)


def print_json(record: Mapping[str, object]) -> None:
    """Print one JSON object on a line of standard output; on a terminal, with JSON's own escapes."""
    line = json_line(record)
    sys.stdout.write((_escaped(line, "\\u00{:02x}") if sys.stdout.isatty() else line) + "\n")


def shown_safely(text: str, stream: IO[str] | None = None) -> str:
    """Return text unchanged, or on a terminal with escapes for characters it would act on; see `is_harmless`."""
    return escaped(text) if (stream or sys.stdout).isatty() else text


def escaped(text: str) -> str:
    """Return text with each character that is not harmless on a terminal replaced by an escape."""
    return _escaped(text, "\\x{:02x}")


def is_harmless(character: str) -> bool:
    """Return whether a terminal merely shows a character, without acting on it.

    A terminal acts on control characters other than newline and tab. Line and paragraph separators, and characters that
    change the direction of the text after them, can make a line look different from what it says. Joiners and direction
    marks are harmless, and many writing systems need them.
    """
    return character in "\n\t" or not (category(character) in ("Cc", "Cs", "Zl", "Zp") or character in TURNING)


def _escaped(text: str, short: str) -> str:
    """Escape code points below 256 in the `short` format, and all others as \\u escapes."""
    codes = ((character, ord(character)) for character in text)
    return "".join(
        character if is_harmless(character) else short.format(code) if code < 0x100 else f"\\u{code:04x}"
        for character, code in codes
    )
