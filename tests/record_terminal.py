"""Record a first run of charlm on a terminal as an animated picture: `.venv/bin/python tests/record_terminal.py`.

The commands are run on a real pseudo-terminal, in an empty folder; what they leave on the screen is drawn as SVG, each
line appearing in its turn, the minute of training in a few seconds. A viewer without animations shows the last screen.
"""

from __future__ import annotations

import argparse
import codecs
import fcntl
import os
import pty
import re
import shlex
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from io import StringIO
from itertools import accumulate, groupby
from pathlib import Path

from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

PICTURE = Path(__file__).parents[1] / "charlm" / "guide" / "images" / "first-run.svg"
COMMANDS = ("charlm train", 'charlm generate "The "')
COLUMNS = 92
# Nothing scrolls away on the terminal, and these are left in the picture.
ROWS = 200
SHOWN_ROWS = 36
PROMPT = "\x1b[1;32m$\x1b[0m "
# How long the animation takes for each command, and for typing it.
SECONDS = 6.0
TYPING_SECONDS = 1.0
# The size of one character, in units of the picture; a letter of a monospaced font is 0.6 of its size wide.
SIZE, LEADING, MARGIN = 15.0, 20.0, 20.0
LETTER = 0.6 * SIZE
FONTS = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
PLAIN = [(60, 64, 77), (237, 110, 110), (120, 200, 120), (226, 185, 90), (110, 160, 240), (200, 130, 220)]
BRIGHT = [(120, 125, 140), (255, 140, 140), (150, 225, 150), (245, 210, 120), (140, 185, 255), (220, 160, 240)]
THEME = TerminalTheme(
    (24, 26, 33),
    (216, 219, 226),
    [*PLAIN, (90, 195, 205), (216, 219, 226)],
    [*BRIGHT, (120, 220, 230), (255, 255, 255)],
)
CONTROL = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\x1b\][^\x07]*\x07|[\r\n\x08]")
UNFINISHED = re.compile(r"\x1b(\[[?0-9;]*|\][^\x07]*)?\Z")


@dataclass
class Row:
    """A line of the screen.

    Args:
        cells: each a character and the colours it has, as a terminal's codes.
        changed: when one was last written, in seconds.
    """

    cells: list[tuple[str, str]] = field(default_factory=list)
    changed: float = 0.0

    @property
    def ansi(self) -> str:
        """The line with its codes, without blanks at its end."""
        groups = groupby(self.cells, key=lambda cell: cell[1])
        return "".join(f"\x1b[0m{codes}{''.join(each for each, _ in cells)}" for codes, cells in groups).rstrip()


class Screen:
    """As much of a terminal as charlm's output needs: colours, moving up, erasing lines."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.rows = [Row()]
        self.row = self.column = 0
        self.codes = self.unfinished = ""

    def feed(self, text: str, now: float) -> None:
        """Write output; `now` is when it came."""
        text = self.unfinished + text
        cut = UNFINISHED.search(text)
        self.unfinished = cut[0] if cut else ""
        text = text.removesuffix(self.unfinished)
        at = 0
        for found in CONTROL.finditer(text):
            self._write(text[at : found.start()], now)
            self._obey(found)
            at = found.end()
        self._write(text[at:], now)

    def _write(self, text: str, now: float) -> None:
        for character in text:
            if self.column == self.columns:
                self._down()
                self.column = 0
            row = self.rows[self.row]
            row.cells += [(" ", "")] * (self.column + 1 - len(row.cells))
            row.cells[self.column] = (character, self.codes)
            row.changed = now
            self.column += 1

    def _obey(self, control: re.Match[str]) -> None:
        values, name = control[1] or "", control[2]
        number = int(values) if values.isdigit() else 0
        if control[0] == "\n":
            self._down()
        elif control[0] == "\r":
            self.column = 0
        elif control[0] == "\x08":
            self.column = max(self.column - 1, 0)
        elif name == "m":
            self.codes = "" if values in ("", "0") else self.codes + control[0]
        elif name == "A":
            self.row = max(self.row - max(number, 1), 0)
        elif name == "K":
            kept = {0: self.rows[self.row].cells[: self.column], 2: []}
            self.rows[self.row].cells = kept[number]
        else:
            # Showing and hiding the cursor changes no text.
            assert name in ("h", "l", None), f"the screen does not know {control[0]!r}"

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.rows):
            self.rows.append(Row())


@dataclass(frozen=True)
class Line:
    """A line of the picture.

    Args:
        ansi: its text with a terminal's codes.
        seconds: when it appears.
    """

    ansi: str
    seconds: float


def output_of(command: str, folder: Path, columns: int) -> Iterator[tuple[str, float]]:
    """Run a command on a terminal of its own and yield its output as it comes, with the seconds since the start.

    Raises:
        SystemExit: where the command fails.
    """
    program, *arguments = shlex.split(command)
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
        os.chdir(folder)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        kept = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR", "COLUMNS", "LINES")}
        os.execvpe(program, [program, *arguments], {**kept, "PATH": path, "TERM": "xterm-256color"})
    begun = time.monotonic()
    decoder = codecs.getincrementaldecoder("utf-8")()
    while content := _read(terminal):
        yield decoder.decode(content), time.monotonic() - begun
    os.close(terminal)
    if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise SystemExit(f"{command} has ended with {code}")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # Linux reports the end of the other side so
        return b""


def record(commands: Sequence[str], columns: int) -> list[Line]:
    """Run commands one after the other in an empty folder and return the lines that they leave on the screen."""
    lines: list[Line] = []
    begins = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for command in commands:
            screen, last = Screen(columns), 0.0
            for text, last in output_of(command, Path(folder), columns):
                screen.feed(text, last)
            lines.append(Line(PROMPT + command, begins))
            begins += TYPING_SECONDS
            pace = min(1.0, SECONDS / max(last, 1e-9))
            # An empty line is never written, and appears with the one before it.
            changes = accumulate((row.changed for row in screen.rows[: screen.row]), max)
            lines += [Line(row.ansi, begins + pace * each) for row, each in zip(screen.rows, changes, strict=False)]
            begins = lines[-1].seconds + TYPING_SECONDS
            lines.append(Line("", begins))
    return lines[:-1]


def svg(lines: Sequence[Line], columns: int, rows: int, title: str) -> str:
    """Return lines of a terminal as a picture in which each appears in its turn, and the first ones scroll away.

    Args:
        rows: lines of the picture; the last ones are what a viewer without animations shows.
    """
    width = 2 * MARGIN + columns * LETTER
    height = 2 * MARGIN + min(rows, len(lines)) * LEADING
    hidden = max(len(lines) - rows, 0)
    total = max(line.seconds for line in lines)
    # The lines move up when the next one comes; of those that come together the last says how far.
    moves = {lines[rows + n].seconds / total: _shift(hidden - n - 1) for n in range(hidden)}
    steps = [f"{100 * share:.2f}% {{ {shift} }}" for share, shift in ({0.0: _shift(hidden)} | moves).items()]
    paths = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img" '
        f'font-family="{FONTS}" font-size="{SIZE:g}" fill="{THEME.foreground_color.hex}" xml:space="preserve">',
        f"<title>{escape(title)}</title>",
        "<style>",
        "@keyframes hidden { from, to { visibility: hidden } }",
        f"@keyframes scrolled {{ {' '.join(steps)} }}",
        ".line { animation: hidden steps(1) }",
        f".all {{ animation: scrolled {total:.2f}s steps(1) }}",
        "@media (prefers-reduced-motion: reduce) { .line, .all { animation: none } }",
        "</style>",
        '<clipPath id="screen">',
        f'<rect x="0" y="{MARGIN:g}" width="{width:g}" height="{height - 1.5 * MARGIN:g}"/>',
        "</clipPath>",
        f'<rect width="{width:g}" height="{height:g}" rx="8" fill="{THEME.background_color.hex}"/>',
        '<g clip-path="url(#screen)"><g class="all">',
    ]
    for number, line in enumerate(lines):
        if content := "".join(_spans(line.ansi, number - hidden)):
            paths.append(f'<g class="line" style="animation-duration:{max(line.seconds, 0.01):.2f}s">{content}</g>')
    return "\n".join((*paths, "</g></g>", "</svg>")) + "\n"


def _shift(num_lines: int) -> str:
    return f"transform: translateY({num_lines * LEADING:g}px)"


def _spans(ansi: str, number: int) -> Iterator[str]:
    """Yield a text for each stretch of one colour on a line, without the wide gaps within it."""
    column = 0
    top = MARGIN + number * LEADING
    console = Console(width=1_000, color_system="truecolor", file=StringIO())
    for segment in Text.from_ansi(ansi, no_wrap=True).render(console, end=""):
        looks = "".join(_looks(segment.style or Style()))
        for words in re.finditer(r"\S+(?: \S+)*", segment.text):
            left, wide = MARGIN + (column + words.start()) * LETTER, len(words[0]) * LETTER
            # Whatever font there is, the columns stay where they are.
            place = f'x="{left:g}" y="{top + 0.75 * LEADING:g}" textLength="{wide:g}"'
            yield f"<text {place}{looks}>{escape(words[0], quote=False)}</text>"
        column += len(segment.text)


def _looks(style: Style) -> Iterator[str]:
    """Yield the attributes of a text in some style."""
    if style.color and not style.color.is_default:
        yield f' fill="{style.color.get_truecolor(THEME).hex}"'
    if style.bold:
        yield ' font-weight="bold"'
    if style.dim:
        yield ' opacity="0.6"'


def main() -> None:
    """Record the requested picture."""
    parser = argparse.ArgumentParser(description="Record commands on a terminal as SVG.")
    parser.add_argument("commands", nargs="*", default=COMMANDS, help="commands, each as one argument")
    parser.add_argument("--output", type=Path, default=PICTURE)
    parser.add_argument("--columns", type=int, default=COLUMNS)
    parser.add_argument("--rows", type=int, default=SHOWN_ROWS, help="lines of the picture")
    arguments = parser.parse_args()
    lines = record(arguments.commands, arguments.columns)
    title = f"A terminal: {' and '.join(arguments.commands)}"
    arguments.output.write_text(svg(lines, arguments.columns, arguments.rows, title), encoding="utf-8")
    print(f"{arguments.output}: {arguments.output.stat().st_size:,} bytes, {len(lines)} lines")


if __name__ == "__main__":
    main()
