"""Print the scores of a text: coloured text on a terminal, tab-separated rows elsewhere."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, groupby

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from charlm.console.terminal import console_for, has_colours, print_json
from charlm.errors import printable
from charlm.evaluation.characters import ScoredCharacter
from charlm.evaluation.lines import ScoredLine
from charlm.evaluation.subject import Subject

# The fewest bits that give a character each colour: one darkening hue, legible to every eye on every background.
BANDS = (
    (0.0, ""),
    (1.0, "black on color(230)"),
    (2.0, "black on color(222)"),
    (4.0, "black on color(215)"),
    (6.0, "black on color(209)"),
    (8.0, "color(231) on color(124)"),
)
NOT_PREDICTED = "dim italic"
UNKNOWN = "bold reverse"
LINE_END = "↵"
CARRIER = "◌"
# The columns of scored lines on a terminal, with their widths; the text follows them.
WIDTHS = {"line": 6, "bits_per_char": 14, "bits": 11, "chars": 8, "cloze_bits": 11}
TITLES = {"bits_per_char": "bits per char", "cloze_bits": "cloze bits"}
GAP = 2
MAX_NAME = 40
# Fields with text from unknown sources, which is escaped wherever it is shown.
TEXTS = ("text", "unknown", "file")


@dataclass(frozen=True)
class Shape:
    """Which columns and fields a score has besides those that every score has.

    Args:
        has_cloze: whether the model is bidirectional.
        num_unknown: number of characters in the text that the model does not know.
        files: the files that lines were read from.
    """

    has_cloze: bool = False
    num_unknown: int = 0
    files: tuple[str, ...] = ()

    def record(self, scored: ScoredCharacter | ScoredLine, *, has_files: bool) -> dict[str, object]:
        """Return the fields of one character or line for this shape."""
        has_cloze, has_unknown = self.has_cloze, self.num_unknown > 0
        if isinstance(scored, ScoredCharacter):
            return scored.as_record(has_cloze=has_cloze, has_unknown=has_unknown)
        return scored.as_record(has_cloze=has_cloze, has_unknown=has_unknown, has_files=has_files)


PLAIN = Shape()


def print_records(subject: Subject, scored: Iterable[ScoredCharacter | ScoredLine], shape: Shape = PLAIN) -> None:
    """Print one JSON object for each, with the total number of unknown characters and a leaky model's warning."""
    beside = ({"unknown_chars": shape.num_unknown} if shape.num_unknown else {}) | subject.warning_record()
    for each in scored:
        print_json(shape.record(each, has_files=bool(shape.files)) | beside)


def show_characters(subject: Subject, characters: Iterable[ScoredCharacter], shape: Shape = PLAIN) -> None:
    """Print a text with each character coloured by its surprise, or one row per character without colours."""
    console = console_for(sys.stdout)
    if not has_colours(console):
        _print_rows(subject, characters, shape)
        return
    _show_heading(console, subject)
    console.print(_legend(has_unknown=shape.num_unknown > 0))
    styled = ((each.character, UNKNOWN if each.unknown else _style(each.bits)) for each in characters)
    for row in coloured_rows(styled, console.width):
        console.print(row, soft_wrap=True)


def show_lines(subject: Subject, lines: Iterable[ScoredLine], shape: Shape = PLAIN) -> None:
    """Print a row for each line: its surprise, then its text, shortened on a terminal to the space there is.

    A line with characters that the model does not know is always shown in full.
    """
    console = console_for(sys.stdout)
    if not has_colours(console):
        _print_rows(subject, lines, shape)
        return
    _show_heading(console, subject)
    widths = {key: width for key, width in WIDTHS.items() if shape.has_cloze or key != "cloze_bits"}
    if has_files := len(shape.files) > 1:
        longest = max(cell_len(printable(name, MAX_NAME)) for name in shape.files)
        widths["line"] += max(0, longest + 1 - GAP)
    titles = "".join(TITLES.get(key, key).rjust(width) for key, width in widths.items())
    console.print(Text(titles, style="bold"), soft_wrap=True)
    for line in lines:
        record, row = line.as_record(), Text()
        if has_files and line.file is not None:
            record["line"] = f"{printable(line.file, MAX_NAME)}:{line.line}"
        for key, width in widths.items():
            value = _plain(key, record[key])
            row.append(" " * (width - cell_len(value)))
            row.append(value, style=_style(line.bits_per_char) if key == "bits_per_char" else "")
        row.append(" " * GAP)
        console.print(row.append(_line_text(line, console.width - cell_len(row.plain))), soft_wrap=True)


def _line_text(line: ScoredLine, width: int) -> Text:
    """Return a line's text, cut to a width in cells; with unknown characters it stays whole and they are marked."""
    if not line.unknown:
        text = Text(printable(line.text, 4 * width + 100) if line.text else "")
        text.truncate(max(1, width), overflow="ellipsis")
        return text
    unknown = set(line.unknown)
    text = Text()
    for is_unknown, characters in groupby(line.text, lambda each: each in unknown):
        piece = "".join(characters)
        shown = "".join(map(visible, piece)) if is_unknown else printable(piece, len(piece))
        text.append(shown, style=UNKNOWN if is_unknown else "")
    return text


def visible(character: str) -> str:
    """Return how one character of a text is shown on a terminal, in cells of its own and without any effect.

    Control characters, bidirectional overrides and other non-printing characters are escaped. A character that would
    combine with the one before it, such as an accent, is shown on a dotted circle.
    """
    if character == "\n":
        return LINE_END
    if unicodedata.category(character).startswith("M"):
        return CARRIER + character
    return printable(character)


def _show_heading(console: Console, subject: Subject) -> None:
    console.print(Text(subject.heading, style="bold"), soft_wrap=True)
    if subject.warning:
        console.print(Text(f"warning: {subject.warning}", style="bold"), soft_wrap=True)


def _legend(*, has_unknown: bool) -> Text:
    """Return a legend of the colours and the bits they stand for."""
    legend = Text("bits: ")
    for (low, style), (high, _) in zip(BANDS, (*BANDS[1:], (0.0, "")), strict=True):
        legend.append(f" {low:.0f} to {high:.0f} " if high else f" {low:.0f} or more ", style=style)
    legend.append("  ").append("not predicted", style=NOT_PREDICTED)
    return legend.append("  ").append("unknown to the model", style=UNKNOWN) if has_unknown else legend


def _style(bits: float | None) -> str:
    return NOT_PREDICTED if bits is None else [style for low, style in BANDS if bits >= low][-1]


def coloured_rows(styled: Iterable[tuple[str, str]], width: int) -> Iterator[Text]:
    """Yield rows of at most `width` cells from characters and their styles; a newline ends its row, and none is cut."""
    row, num_cells = Text(), 0
    for character, style in styled:
        shown = visible(character)
        size = cell_len(shown)
        if num_cells and num_cells + size > width:
            yield row
            row, num_cells = Text(), 0
        row.append(shown, style=style)
        num_cells += size
        if character == "\n":
            yield row
            row, num_cells = Text(), 0
    # A row may hold text of no width, such as a skin tone on its own.
    if row:
        yield row


def _print_rows(subject: Subject, scored: Iterable[ScoredCharacter | ScoredLine], shape: Shape) -> None:
    """Print a header, then one row for each; characters are quoted and escaped as in Python."""
    has_files = len(shape.files) > 1
    records = (shape.record(each, has_files=has_files) | subject.warning_record() for each in scored)
    for first in records:
        print("\t".join(first))
        for record in chain([first], records):
            print("\t".join(_plain(key, value) for key, value in record.items()))


def _plain(key: str, value: object) -> str:
    if value is None or (key == "unknown" and not value):
        return "-"
    if key in ("character", "likeliest"):
        return repr(value)
    if isinstance(value, float):
        return f"{value:.4g}" if key.endswith("probability") else f"{value:.3f}"
    text = str(value)
    return printable(text, len(text)) if key in TEXTS and text else text
