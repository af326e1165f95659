"""The order in which a model reads: from the first character, or, for a backward model, from the last."""

from __future__ import annotations

from typing import TypeVar

from charlm.settings.model import Direction
from charlm.text.vocabulary import Ids

# Texts and results are reversed here and nowhere else; all other code reads and writes from first to last.
Text = TypeVar("Text", Ids, str)


def turned(text: Text, direction: Direction) -> Text:
    """Return a text in the order in which a model of that direction reads it; a second call restores its own order."""
    return text[::-1] if direction == "backward" else text
