"""Accents in Unicode: one character (NFC) or a letter and a mark of its own (NFD), which look the same."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Literal

from charlm.text.vocabulary import Vocabulary

Form = Literal["NFC", "NFD"]
FORMS: tuple[Form, ...] = ("NFC", "NFD")


@dataclass(frozen=True)
class Matched:
    """A text as a model can read it, and the form that it was brought to; None where it stands as it was typed."""

    text: str
    form: Form | None = None

    def told(self, what: str) -> str | None:
        """Return the sentence that says so; None where nothing was done."""
        if self.form is None:
            return None
        other = "NFD" if self.form == "NFC" else "NFC"
        return f"{what} was typed in {other} and is read in {self.form}, as the model's corpus is written"


def match_form(text: str, vocabulary: Vocabulary) -> Matched:
    """Return a text in the Unicode form in which a vocabulary knows more of its characters.

    A text that is known as it stands is left alone, and so is one that no form makes better known.

    Example:
        An e with an accent of its own becomes one character, for a vocabulary that has that one:
        >>> match_form("e\\u0301", Vocabulary("\\xe9"))
        Matched(text='\xe9', form='NFC')
    """
    known = set(vocabulary.characters)
    candidates: list[Matched] = [Matched(text)]
    if not known.issuperset(text):
        candidates += [Matched(unicodedata.normalize(form, text), form) for form in FORMS]
    # Of equals the first: as it was typed.
    return min(candidates, key=lambda each: len(set(each.text) - known))
