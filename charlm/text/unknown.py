"""Sentences about the characters that a model has no symbol for: which they are, how many, and where."""

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
        skipped: how many were left out.
        replaced: how many were read as the model's unknown symbol.
    """

    skipped: int = 0
    replaced: int = 0

    @property
    def total(self) -> int:
        """How many there are in all."""
        return self.skipped + self.replaced

    @property
    def sentence(self) -> str | None:
        """A sentence such as `3 characters the model does not know were skipped`, or None if there are none."""
        if not self.total:
            return None
        subject = "1 character" if self.total == 1 else f"{self.total:,} characters"
        fate = "skipped" if self.skipped else "read as its unknown symbol"
        return f"{subject} the model does not know {'was' if self.total == 1 else 'were'} {fate}"

    def as_record(self) -> dict[str, object]:
        """Return both counts as JSON values, or an empty object if the model knows all characters."""
        return {"skipped_chars": self.skipped, "replaced_chars": self.replaced} if self.total else {}


ALL_KNOWN = UnknownCount()


def unknown_sentence(what: str, places: Mapping[str, str], *, has_unknown: bool) -> str:
    """Return an error's sentence that names the characters of a text that the model does not know.

    Args:
        what: what to call the text.
        places: the first place of each character, such as `at position 3`.
        has_unknown: whether the model has a symbol for all characters without one of their own. It was then trained
            on some of them, and nobody knows any more which it has seen.
    """
    reason = "too rare or never seen in this model's training" if has_unknown else "this model has never seen"
    number = "1 character" if len(places) == 1 else f"{len(places):,} characters"
    return f"{what} has {number} {reason}: {listed(places)}"


def listed(places: Mapping[str, str]) -> str:
    """Return the first ten characters, each with its code point and place, and how many more there are."""
    shown = [f"{named(character)} {place}" for character, place in islice(places.items(), NUM_SHOWN)]
    return ", ".join(shown) + (f" and {len(places) - NUM_SHOWN:,} more" if len(places) > NUM_SHOWN else "")


def named(character: str) -> str:
    """Return a character for a message: quoted, or its name if it is invisible, with its code point."""
    visible = character if character.isprintable() else unicodedata.name(character, "a control character")
    return f"{visible!r} (U+{ord(character):04X})"
