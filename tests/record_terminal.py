"""Record a first run of charlm on a terminal as an animated picture: `.venv/bin/python tests/record_terminal.py`.

The commands run on a real pseudo-terminal in an empty folder. pyte keeps the screen, and Rich draws what is left on it
as SVG. Each line appears in its turn, with the minute of training in a few seconds; a viewer without animations shows
all of them.
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
from dataclasses import dataclass
from io import StringIO
from itertools import groupby
from pathlib import Path

import pyte
from pyte.screens import Char
from rich.console import Console
from rich.style import Style
from rich.text import Text

PICTURE = Path(__file__).parents[1] / "charlm" / "guide" / "images" / "first-run.svg"
COMMANDS = ("charlm train", 'charlm generate "The "')
COLUMNS = 92
# Nothing scrolls away on the terminal, and the last ones are in the picture.
ROWS = 200
SHOWN_ROWS = 36
PROMPT = ("$ ", "bold green")
# How long the animation takes for each command, and for typing it.
SECONDS = 6.0
TYPING_SECONDS = 1.0
# Rich's own picture would load its font from elsewhere.
PAGE = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace;
  font-size: {char_height}px; line-height: {line_height}px;
}}
.{unique_id}-title {{ font: bold 18px sans-serif; }}
{styles}
@keyframes hidden {{ from, to {{ visibility: hidden }} }}
ANIMATIONS
@media (prefers-reduced-motion: reduce) {{ text {{ animation: none !important }} }}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""


@dataclass(frozen=True)
class Line:
    """A line of the picture, and after how many seconds it appears."""

    text: Text
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


def left_on_screen(output: Iterator[tuple[str, float]], columns: int) -> list[Line]:
    """Return the lines that some output leaves on a terminal, each with the time when it was last written."""
    screen = pyte.Screen(columns, ROWS)
    stream = pyte.Stream(screen)
    changed: dict[int, float] = {}
    for text, now in output:
        screen.dirty.clear()
        stream.feed(text)
        changed |= dict.fromkeys(screen.dirty, now)
    rows = [[screen.buffer[row][column] for column in range(columns)] for row in range(screen.cursor.y)]
    return [Line(_text(cells), changed.get(row, 0.0)) for row, cells in enumerate(rows)]


def _text(cells: Sequence[Char]) -> Text:
    groups = groupby(cells, key=lambda cell: Style(color=_color(cell.fg), bold=cell.bold))
    text = Text.assemble(*(("".join(cell.data for cell in group), style) for style, group in groups))
    text.rstrip()
    return text


def _color(name: str) -> str | None:
    """Return Rich's name of one of pyte's colours."""
    if re.fullmatch("[0-9a-f]{6}", name):
        return f"#{name}"
    words = name.replace("brown", "yellow").replace("bright", "bright_")
    return None if name == "default" else words


def record(commands: Sequence[str], columns: int) -> list[Line]:
    """Run commands one after the other in an empty folder and return the lines that they leave on the screen."""
    lines: list[Line] = []
    begins = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for command in commands:
            lines.append(Line(Text.assemble(PROMPT, command), begins))
            begins += TYPING_SECONDS
            left = left_on_screen(output_of(command, Path(folder), columns), columns)
            pace = min(1.0, SECONDS / max((line.seconds for line in left), default=SECONDS))
            lines += [Line(line.text, begins + pace * line.seconds) for line in left]
            begins = max(line.seconds for line in lines) + TYPING_SECONDS
            lines.append(Line(Text(), begins))
    return lines[:-1]


def svg(lines: Sequence[Line], columns: int, title: str) -> str:
    """Return lines of a terminal as a picture in which each appears in its turn."""
    console = Console(record=True, width=columns, file=StringIO(), color_system="truecolor")
    for line in lines:
        console.print(line.text, no_wrap=True, overflow="crop")
    first = lines[0].seconds
    animations = "\n".join(
        f'[clip-path="url(#run-line-{number})"] {{ animation: hidden {line.seconds - first:.2f}s }}'
        for number, line in enumerate(lines)
        if line.seconds > first
    )
    # Braces of a format are written twice.
    page = PAGE.replace("ANIMATIONS", animations.replace("{", "{{").replace("}", "}}"))
    return console.export_svg(title=title, code_format=page, unique_id="run")


def main() -> None:
    """Record the requested picture."""
    parser = argparse.ArgumentParser(description="Record commands on a terminal as SVG.")
    parser.add_argument("commands", nargs="*", default=COMMANDS, help="commands, each as one argument")
    parser.add_argument("--output", type=Path, default=PICTURE)
    parser.add_argument("--columns", type=int, default=COLUMNS)
    parser.add_argument("--rows", type=int, default=SHOWN_ROWS, help="lines of the picture, the last ones")
    arguments = parser.parse_args()
    lines = record(arguments.commands, arguments.columns)[-arguments.rows :]
    arguments.output.write_text(svg(lines, arguments.columns, "; ".join(arguments.commands)), encoding="utf-8")
    print(f"{arguments.output}: {arguments.output.stat().st_size:,} bytes, {len(lines)} lines")


if __name__ == "__main__":
    main()
