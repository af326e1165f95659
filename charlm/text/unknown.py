"""What is said of the characters that a model has no symbol for: which, how many, and where they stand."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

NUM_SHOWN = 10


@dataclass(frozen=True)
class UnknownCount:
    """How many characters of a text a model has no symbol for, and what became of them.

    Args:
        skipped: left out.
        replaced: read as the model's unknown symbol.
    """

    skipped: int = 0
    replaced: int = 0

    @property
    def total(self) -> int:
        """How many there are in all."""
        return self.skipped + self.replaced

    @property
    def sentence(self) -> str | None:
        """What is told of them, such as `3 characters the model does not know were skipped`; None where none is."""
        if not self.total:
            return None
        subject = "1 character" if self.total == 1 else f"{self.total:,} characters"
        fate = "skipped" if self.skipped else "read as its unknown symbol"
        return f"{subject} the model does not know {'was' if self.total == 1 else 'were'} {fate}"

    def as_record(self) -> dict[str, object]:
        """Return both counts as JSON values, nothing where the model knows all characters."""
        return {"skipped_chars": self.skipped, "replaced_chars": self.replaced} if self.total else {}


ALL_KNOWN = UnknownCount()


def unknown_sentence(what: str, places: Mapping[str, str], *, has_unknown: bool) -> str:
    """Return the sentence of an error: which characters a text has that the model does not know.

    Args:
        what: the name of the text.
        places: where each first stands, such as `at position 3`, by the character.
        has_unknown: whether the model has a symbol for all characters without one of their own: it was trained on
            some, so that nobody can tell now which it has seen.
    """
    reason = "too rare or never seen in this model's training" if has_unknown else "this model has never seen"
    number = "1 character" if len(places) == 1 else f"{len(places):,} characters"
    return f"{what} has {number} {reason}: {listed(places)}"


def listed(places: Mapping[str, str]) -> str:
    """Return some characters, each with its code point and its place, the first ten of them."""
    shown = [f"{named(character)} {place}" for character, place in islice(places.items(), NUM_SHOWN)]
    return ", ".join(shown) + (f" and {len(places) - NUM_SHOWN:,} more" if len(places) > NUM_SHOWN else "")


def named(character: str) -> str:
    """Return a character as a message shows it: quoted, by its name where it is invisible, with its code point."""
    visible = character if character.isprintable() else unicodedata.name(character, "a control character")
    return f"{visible!r} (U+{ord(character):04X})"
