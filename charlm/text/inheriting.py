"""Read a text with the vocabulary of a model that knows another text already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlm.errors import ConfigError, TextError
from charlm.settings.corpus import VocabularySettings
from charlm.settings.start import NewCharacters
from charlm.text.notices import Notice, times
from charlm.text.unknown import UnknownCount, listed, unknown_sentence
from charlm.text.vocabulary import Vocabulary

# If this share of a text is not read as it is, the text is probably not meant for this model.
MUCH = 0.05


@dataclass(frozen=True)
class KnownSymbols:
    """The symbols of a model that is to read a text.

    Args:
        vocabulary: the model's vocabulary.
        new: what becomes of other characters: error, extend, or drop (read as the unknown symbol, or left out).
    """

    vocabulary: Vocabulary
    new: NewCharacters

    def choose(self, counts: Mapping[str, int], settings: VocabularySettings, what: str) -> Vocabulary:
        """Return the symbols with which to read a text.

        Args:
            counts: how often each character of the text occurs.
            settings: which characters become symbols; they hold for characters that are added, too.
            what: the text's name in messages.
        Raises:
            TextError: naming the commonest new characters if they are refused, or if nothing else is left.
            ConfigError: if characters that are added exceed `vocabulary.max_size`.
        """
        old = self.vocabulary
        strange = _strange(counts, old)
        if self.new == "extend":
            return _extended(old, strange, settings)
        if self.new == "error" and strange:
            sentence = unknown_sentence(what, _told(strange), has_unknown=old.has_unknown)
            fate = "reads them as its unknown symbol" if old.has_unknown else "leaves them out"
            raise TextError(
                f"{sentence}; --new-characters extend adds them to the model, and --new-characters drop {fate}"
            )
        if len(strange) == len(counts):
            raise TextError(f"{what} has no character that the model knows")
        return old

    def notices(self, counts: Mapping[str, int], chosen: Vocabulary) -> Iterator[Notice]:
        """Yield what a person should know about the characters that are added, and about those that are not read.

        Args:
            counts: how often each character of the text occurs.
            chosen: the symbols that the text is read with.
        """
        if added := added_characters(self.vocabulary, chosen):
            named = _told({each: number for each, number in _strange(counts, self.vocabulary).items() if each in added})
            yield Notice(f"{times(len(added), 'new character')} added to the model's vocabulary: {listed(named)}")
        if strange := _strange(counts, chosen):
            total = sum(strange.values())
            unknown = UnknownCount(replaced=total) if chosen.has_unknown else UnknownCount(skipped=total)
            is_much = total > MUCH * sum(counts.values())
            yield Notice(f"{unknown.sentence}: {listed(_told(strange))}", is_warning=is_much)


def added_characters(old: Vocabulary, new: Vocabulary) -> str:
    """Return the characters that a vocabulary has in addition to those of an older one."""
    return "".join(sorted(set(new.characters) - set(old.characters)))


def without_characters(vocabulary: Vocabulary, added: str) -> Vocabulary:
    """Return a vocabulary as it was before some characters were added to it."""
    kept = "".join(each for each in vocabulary.characters if each not in added)
    return Vocabulary(kept, vocabulary.has_unknown)


def new_ids(old: Vocabulary, new: Vocabulary) -> npt.NDArray[np.int64]:
    """Return the id in a larger vocabulary of each symbol of an older one, (V,).

        >>> new_ids(Vocabulary("ac", has_unknown=True), Vocabulary("abc", has_unknown=True)).tolist()
        [0, 2, 3]

    Args:
        old: the older vocabulary, all of whose symbols the new one has.
        new: the larger one.
    """
    ids = new.mark(old.characters).astype(np.int64)
    return np.append(ids, len(new.characters)) if old.has_unknown else ids


def _strange(counts: Mapping[str, int], vocabulary: Vocabulary) -> dict[str, int]:
    """Return the characters without a symbol of their own and how often each occurs, the commonest first."""
    known = set(vocabulary.characters)
    strange = [(character, number) for character, number in counts.items() if character not in known]
    return dict(sorted(strange, key=lambda pair: (-pair[1], pair[0])))


def _told(strange: Mapping[str, int]) -> dict[str, str]:
    return {character: times(number, "time") for character, number in strange.items()}


def _extended(old: Vocabulary, strange: Mapping[str, int], settings: VocabularySettings) -> Vocabulary:
    """Add characters by the rules that the vocabulary was built with; others are read as the unknown symbol."""
    added = list(strange)
    if old.has_unknown:
        added = [each for each in added if strange[each] >= settings.min_count]
        if settings.max_size is not None:
            added = added[: max(0, settings.max_size - len(old))]
    elif settings.max_size is not None and len(old) + len(added) > settings.max_size:
        raise ConfigError(
            f"start.new_characters extend would make {len(old) + len(added):,} symbols, and vocabulary.max_size of the "
            f"model is {settings.max_size:,}: use drop, or leave rare characters out of the text"
        )
    return Vocabulary("".join(sorted({*old.characters, *added})), old.has_unknown)
