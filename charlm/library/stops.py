"""Convert stops, the texts before which a sample ends, to what a model can write."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from charlm.errors import CharlmWarning, TextError, printable
from charlm.library.models import Model
from charlm.text.cleaning import clean_prefix
from charlm.text.escapes import hint_of_escapes
from charlm.text.forms import match_form
from charlm.text.nearest_characters import known_instead
from charlm.text.vocabulary import Vocabulary


def possible_stops(model: Model, stops: Sequence[str]) -> list[str]:
    """Return the stops that can occur in a model's texts, cleaned as its corpus was, with the model's line ends.

    A model of items always stops where an item ends.

    A `CharlmWarning` reports each stop that cannot occur.

    Raises:
        TextError: where none of them can occur.
    """
    vocabulary = model.checkpoint.vocabulary
    possible: list[str] = []
    reasons: list[str] = []
    for stop in stops:
        cleaned = _cleaned(stop, model)
        spellings = [each for each in _with_line_ends(cleaned, vocabulary) if _is_known(each, vocabulary)]
        possible += spellings
        if not spellings:
            reasons.append(_reason(stop, cleaned, vocabulary))
    if reasons and not possible:
        raise TextError("\n".join(reasons))
    for reason in reasons:
        warnings.warn(reason, CharlmWarning, stacklevel=2)
    return list(dict.fromkeys([*possible, *([] if model.end is None else [model.end])]))


def _cleaned(stop: str, model: Model) -> str:
    clean = model.checkpoint.settings.corpus.clean
    # `letters` would turn a full stop into a space, and the text would end at every space.
    kept = clean.model_copy(update={"letters": False, "lowercase": clean.lowercase or clean.letters})
    return match_form(clean_prefix(stop, kept), model.checkpoint.vocabulary).text


def _with_line_ends(stop: str, vocabulary: Vocabulary) -> list[str]:
    """Return a stop with each kind of line end that the model may know, including CRLF."""
    plain = stop.replace("\r\n", "\n").replace("\r", "\n")
    if "\n" not in plain:
        return [stop]
    ends = ["\n", "\r\n"] if "\n" in vocabulary.characters else ["\r"]
    return list(dict.fromkeys([stop, *(plain.replace("\n", end) for end in ends)]))


def _is_known(stop: str, vocabulary: Vocabulary) -> bool:
    return set(vocabulary.characters).issuperset(stop)


def _reason(stop: str, cleaned: str, vocabulary: Vocabulary) -> str:
    unknown = dict.fromkeys(each for each in cleaned if each not in vocabulary.characters)
    named = ", ".join(f"{printable(each)} (U+{ord(each):04X})" for each in unknown)
    if {"\n", "\r"}.issuperset(unknown):
        named = "line ends"
    remedy = hint_of_escapes(stop, vocabulary) or known_instead(cleaned, vocabulary)
    return f"no text can end before the stop '{printable(stop)}': this model does not know {named}{remedy}"
