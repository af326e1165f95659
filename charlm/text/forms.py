"""The two Unicode forms of an accented letter, which look the same: one character (NFC), or letter and mark (NFD)."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Literal

from charlm.text.vocabulary import Vocabulary

Form = Literal["NFC", "NFD"]
FORMS: tuple[Form, ...] = ("NFC", "NFD")


@dataclass(frozen=True)
class Matched:
    """A text as a model can read it, and the form that it was converted to, or None if it is as it was typed."""

    text: str
    form: Form | None = None

    def told(self, what: str) -> str | None:
        """Return a sentence that reports the conversion, or None if there was none."""
        if self.form is None:
            return None
        other = "NFD" if self.form == "NFC" else "NFC"
        return f"{what} was typed in {other} and is read in {self.form}, like the model's corpus"


def match_form(text: str, vocabulary: Vocabulary) -> Matched:
    """Return a text in the Unicode form in which a vocabulary knows the most of its characters.

    A text stays as it is if all its characters are known, or if neither form makes more of them known.

    Example:
        An e followed by an accent becomes one character if the vocabulary has it:
        >>> match_form("e\\u0301", Vocabulary("\\xe9"))
        Matched(text='\xe9', form='NFC')
    """
    known = set(vocabulary.characters)
    candidates: list[Matched] = [Matched(text)]
    if not known.issuperset(text):
        candidates += [Matched(unicodedata.normalize(form, text), form) for form in FORMS]
    # `min` returns the first of equals, which is the text as it was typed.
    return min(candidates, key=lambda each: len(set(each.text) - known))
