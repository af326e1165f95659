"""Print which characters a model expects next."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Sequence

from charlm.console.evaluation import show_table
from charlm.console.surprise import CARRIER
from charlm.console.terminal import console_for, is_live
from charlm.evaluation.next_character import NextCharacter
from charlm.evaluation.subject import Subject
from charlm.settings.model import Direction

HEADER = ("rank", "character", "probability", "bits")
PLACES: dict[Direction, str] = {
    "forward": "the character that comes next",
    "backward": "the character that comes before the text, because the model reads backwards",
    "bidirectional": "the character that comes next, predicted by the model's forward half",
}
NAMES = {"\n": "newline", "\t": "tab", "\r": "carriage return", "\x1b": "escape", "\0": "zero"}


def show_next(subject: Subject, expected: Sequence[NextCharacter], *, direction: Direction, vocab_size: int) -> None:
    """Print a row for each character: a table on a terminal, tab-separated fields elsewhere."""
    rows = [(str(each.rank), shown_name(each), f"{each.probability:.4g}", f"{each.bits:.3f}") for each in expected]
    if not is_live(sys.stdout):
        for row in (HEADER, *rows):
            print("\t".join(row))
        return
    console = console_for(sys.stdout)
    console.print(subject.heading, style="bold", markup=False)
    show_table(PLACES[direction], [HEADER, *rows])
    if vocab_size > len(expected):
        rest = max(0.0, 1 - sum(each.probability for each in expected))
        number = vocab_size - len(expected)
        console.print(f"\nall {number:,} others: {rest:.4g}" if number > 1 else f"\nthe other one: {rest:.4g}")


def shown_name(expected: NextCharacter) -> str:
    """Return a character quoted as in Python, with its name where it is not visible."""
    if expected.is_unknown:
        return "any unknown character"
    character = expected.character
    quoted = repr(character)
    is_mark = unicodedata.category(character).startswith("M")
    if character.isprintable() and not character.isspace() and not is_mark:
        return quoted
    if is_mark:
        quoted = f"'{CARRIER}{character}'"
    name = NAMES.get(character) or unicodedata.name(character, f"U+{ord(character):04X}").lower()
    return f"{quoted} {name}"
