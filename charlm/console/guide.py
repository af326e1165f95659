"""Pages of Markdown on a terminal: drawn in its width, and in a pager where they are longer than the screen."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from types import FrameType

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Heading, Markdown, TableElement
from rich.table import Table

from charlm.console.terminal import console_for, is_live

# Longer lines are hard to read.
MAX_WIDTH = 100
# On a narrower terminal every column of a table is wrapped.
MIN_WIDTH = 60
# As git has it: less ends at once where all fits, passes colours through, and leaves the text on the screen.
LESS = {"LESS": "FRX", "LESSCHARSET": "utf-8"}


class LeftHeading(Heading):
    """A heading at the left, whatever its level."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the heading's text."""
        del console, options
        text = self.text.copy()
        text.justify = "left"
        yield text


class WholeTable(TableElement):
    """A table of which nothing is cut: its first column stays on one line, and long words of the others are broken."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table."""
        for drawn in super().__rich_console__(console, options):
            if isinstance(drawn, Table):
                for column in drawn.columns:
                    column.overflow = "fold"
                drawn.columns[0].no_wrap = options.max_width >= MIN_WIDTH
            yield drawn


class Page(Markdown):
    """A page of the guide."""

    elements = {**Markdown.elements, "heading_open": LeftHeading, "table_open": WholeTable}  # noqa: RUF012


def show_markdown(text: str, *, source: str) -> None:
    """Show a page on a terminal, and write its source wherever else output goes.

    Args:
        text: Markdown to be drawn.
        source: what no terminal gets.
    """
    if not is_live(sys.stdout):
        sys.stdout.write(source)
        return
    console = console_for(sys.stdout)
    console.width = min(console.width, MAX_WIDTH)
    with console.capture() as captured:
        console.print(Page(text, hyperlinks=False))
    drawn = captured.get()
    is_long = drawn.count("\n") >= console.height
    pager = pager_command() if is_long else None
    if pager is None or not _paged(drawn, pager):
        sys.stdout.write(drawn)


def pager_command() -> str | None:
    """Return the command line of the pager to use: of PAGER, else less or more; None where none is wanted."""
    wanted = os.environ.get("PAGER")
    if "NO_PAGER" in os.environ or (wanted is not None and wanted.strip() in ("", "cat")):
        return None
    return wanted or next((each for each in ("less", "more") if shutil.which(each)), None)


def _go_on(number: int, frame: FrameType | None) -> None:
    """Do nothing about a signal."""


def _paged(text: str, pager: str) -> bool:
    """Show a text in a pager and wait for its end; say whether there is such a program."""
    # An interrupt is the pager's business; set to a function, it is back to normal in the pager.
    before = signal.signal(signal.SIGINT, _go_on)
    try:
        # Through the shell, as git does it: PAGER may have options, variables and pipes.
        process = subprocess.Popen(pager, shell=True, stdin=subprocess.PIPE, env={**LESS, **os.environ})
        # Whoever leaves the pager early has seen enough.
        with suppress(BrokenPipeError):
            process.communicate(text.encode())
        no_such_program = 127
        return process.wait() != no_such_program
    finally:
        signal.signal(signal.SIGINT, before)
