"""Surprise as a person sees it: a text in colours on a terminal, rows with tabs between the columns elsewhere."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import chain

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from charlm.console.terminal import console_for
from charlm.errors import printable
from charlm.evaluation.characters import ScoredCharacter
from charlm.evaluation.lines import ScoredLine
from charlm.evaluation.subject import Subject

# From how many bits on a character has which colours: one hue that darkens, for every eye and every background.
BANDS = (
    (0.0, ""),
    (1.0, "black on color(230)"),
    (2.0, "black on color(222)"),
    (4.0, "black on color(215)"),
    (6.0, "black on color(209)"),
    (8.0, "color(231) on color(124)"),
)
NOT_PREDICTED = "dim italic"
LINE_END = "↵"
CARRIER = "◌"
# The columns of lines on a terminal, with their widths; the text follows.
WIDTHS = {"line": 6, "bits_per_char": 14, "bits": 11, "chars": 8, "cloze_bits": 11}
TITLES = {"bits_per_char": "bits per char", "cloze_bits": "cloze bits"}
GAP = 2


def show_characters(subject: Subject, characters: Iterable[ScoredCharacter], *, has_cloze: bool = False) -> None:
    """Print a text, each character coloured by its surprise; without colours, a row for each."""
    console = console_for(sys.stdout)
    if not _has_colours(console):
        _print_rows(subject, characters, has_cloze=has_cloze)
        return
    _show_heading(console, subject)
    console.print(_legend())
    for row in _wrapped(characters, console.width):
        console.print(row, soft_wrap=True)


def show_lines(subject: Subject, lines: Iterable[ScoredLine], *, has_cloze: bool = False) -> None:
    """Print a row for each line: its surprise, then its text, on a terminal as much of it as there is room for."""
    console = console_for(sys.stdout)
    if not _has_colours(console):
        _print_rows(subject, lines, has_cloze=has_cloze)
        return
    _show_heading(console, subject)
    columns = [key for key in WIDTHS if has_cloze or key != "cloze_bits"]
    titles = "".join(TITLES.get(key, key).rjust(WIDTHS[key]) for key in columns)
    console.print(Text(titles, style="bold"), soft_wrap=True)
    for line in lines:
        record, row = line.as_record(), Text()
        for key in columns:
            value = _plain(key, record[key])
            row.append(" " * (WIDTHS[key] - len(value)))
            row.append(value, style=_style(line.bits_per_char) if key == "bits_per_char" else "")
        text = Text(printable(line.text, 4 * console.width) if line.text else "")
        text.truncate(max(1, console.width - len(row) - GAP), overflow="ellipsis")
        console.print(row.append(" " * GAP).append(text), soft_wrap=True)


def visible(character: str) -> str:
    """Return what stands for one character of a text on a terminal, alone in its cells and obeyed by nobody.

    Control characters, bidirectional overrides and whatever else is not printed are escaped; what would join the
    character before it, such as an accent, is carried by a dotted circle.
    """
    if character == "\n":
        return LINE_END
    if unicodedata.category(character).startswith("M"):
        return CARRIER + character
    return printable(character)


def _has_colours(console: Console) -> bool:
    return console.color_system is not None and not console.no_color


def _show_heading(console: Console, subject: Subject) -> None:
    console.print(Text(f"run {subject.run}, step {subject.step:,}", style="bold"), soft_wrap=True)
    if subject.warning:
        console.print(Text(f"warning: {subject.warning}", style="bold"), soft_wrap=True)


def _legend() -> Text:
    """Return which colours stand for how many bits."""
    legend = Text("bits: ")
    for (low, style), (high, _) in zip(BANDS, (*BANDS[1:], (0.0, "")), strict=True):
        legend.append(f" {low:.0f} to {high:.0f} " if high else f" {low:.0f} and more ", style=style)
    return legend.append("  ").append("nothing to predict it from", style=NOT_PREDICTED)


def _style(bits: float | None) -> str:
    return NOT_PREDICTED if bits is None else [style for low, style in BANDS if bits >= low][-1]


def _wrapped(characters: Iterable[ScoredCharacter], width: int) -> Iterator[Text]:
    """Yield rows of at most so many cells; no character is cut, and a newline ends its row."""
    row, num_cells = Text(), 0
    for each in characters:
        shown = visible(each.character)
        size = cell_len(shown)
        if num_cells and num_cells + size > width:
            yield row
            row, num_cells = Text(), 0
        row.append(shown, style=_style(each.bits))
        num_cells += size
        if each.character == "\n":
            yield row
            row, num_cells = Text(), 0
    # A skin tone alone has no cell of its own.
    if row:
        yield row


def _print_rows(subject: Subject, scored: Iterable[ScoredCharacter | ScoredLine], *, has_cloze: bool) -> None:
    """Print the names of the columns, then a row for each; characters are quoted and escaped as in Python."""
    records = (each.as_record(has_cloze=has_cloze) | subject.warning_record() for each in scored)
    for first in records:
        print("\t".join(first))
        for record in chain([first], records):
            print("\t".join(_plain(key, value) for key, value in record.items()))


def _plain(key: str, value: object) -> str:
    if value is None:
        return "-"
    if key in ("character", "likeliest"):
        return repr(value)
    if isinstance(value, float):
        return f"{value:.4g}" if key.endswith("probability") else f"{value:.3f}"
    text = str(value)
    return printable(text, len(text)) if key == "text" and text else text
