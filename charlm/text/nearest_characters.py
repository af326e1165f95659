"""Find characters known to a model that can replace one that it does not know."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from charlm.text.escapes import hint_of_escapes
from charlm.text.vocabulary import Vocabulary

NUM_NAMED = 3
# Plain spellings of what Unicode does not decompose: quotes, dashes, ligatures and crossed letters.
PLAIN = {
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032`\u00b4", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033", '"'),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
    "\t": " ",
    "\r": "\n",
    "'": "\u2019",
    '"': "\u201c",
    "-": "\u2013",
    "æ": "ae",
    "œ": "oe",
    "ø": "o",
    "ł": "l",
    "đ": "d",
    "ß": "ss",
    "Æ": "AE",
    "Œ": "OE",
    "Ø": "O",
    "Ł": "L",
}


def nearest_known(character: str, vocabulary: Vocabulary) -> str | None:
    """Return what a model knows that can replace a character: another case, no accent, or a plainer sign.

        >>> nearest_known("é", Vocabulary("e"))
        'e'

    Returns:
        One or more known characters, or None if nothing is close.
    """
    known = set(vocabulary.characters)
    return next((each for each in _candidates(character) if each and known.issuperset(each)), None)


def known_instead(text: str, vocabulary: Vocabulary) -> str:
    """Return the end of a message about a text's unknown characters: the nearest known ones, or an empty text."""
    unknown = [character for character in dict.fromkeys(text) if character not in vocabulary.characters]
    near = ((nearest_known(character, vocabulary), character) for character in unknown)
    named = [f"{instead!r} for {character!r}" for instead, character in near if instead is not None]
    return f"; the nearest it knows: {', '.join(named[:NUM_NAMED])}" if named else ""


def remedy_of_unknown(typed: str, cleaned: str, vocabulary: Vocabulary) -> str:
    """Return the end of a message that refuses a text's unknown characters: the advice that helps most.

    Args:
        typed: the text as it was given.
        cleaned: the text after cleaning.
        vocabulary: the model's vocabulary.
    """
    near = hint_of_escapes(typed, vocabulary) or known_instead(cleaned, vocabulary)
    return near or "; to leave such characters out, add --unknown skip on the command line"


def _candidates(character: str) -> Iterator[str]:
    apart = unicodedata.normalize("NFKD", character)
    bare = "".join(each for each in apart if not unicodedata.combining(each))
    for form in (character, PLAIN.get(character, ""), unicodedata.normalize("NFKC", character), apart, bare):
        yield from (form, form.swapcase(), form.lower(), form.upper())
