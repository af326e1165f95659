"""The contiguous training, validation and test splits of a corpus."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from charlm.errors import ConfigError, TextError
from charlm.settings.corpus import CorpusSettings, SamplingSettings
from charlm.settings.model import Direction
from charlm.text.corpus import Corpus
from charlm.text.encoding import hash_ids
from charlm.text.items import boundary_id
from charlm.text.known import standard_split
from charlm.text.notices import times
from charlm.text.reading_order import turned
from charlm.text.unknown import ALL_KNOWN, UnknownCount
from charlm.text.vocabulary import Ids
from charlm.text.windows import fitting_options

PERCENT = {"default": (90, 5, 5), "nanogpt": (90, 10, 0), "torch-rnn": (80, 10, 10), "none": (100, 0, 0)}


@dataclass(frozen=True)
class Part:
    """One contiguous split.

    Args:
        ids: its ids, (N,); those of items begin and end with the boundary.
        sha256: SHA-256 of its text.
        unknown: how many of its characters the model does not know.
        boundary: the id that stands between two items; None for a running text.
    """

    ids: Ids
    sha256: str
    unknown: UnknownCount = ALL_KNOWN
    boundary: int | None = None

    @property
    def num_items(self) -> int | None:
        """How many items it has; None for a running text."""
        return None if self.boundary is None else int(np.count_nonzero(self.ids == self.boundary)) - 1

    def in_reading_order(self, direction: Direction) -> Part:
        """Return the split as a model of that direction reads it; the hash stays the same."""
        return replace(self, ids=turned(self.ids, direction))


@dataclass(frozen=True)
class Split:
    """The splits of a corpus; val and test are None if they are empty."""

    train: Part
    val: Part | None
    test: Part | None

    def part(self, name: str) -> Part | None:
        """Return the split called train, val or test.

        Raises:
            ConfigError: for another name.
        """
        parts = {"train": self.train, "val": self.val, "test": self.test}
        if name not in parts:
            raise ConfigError(f"there is no split called {name!r}: it must be one of {', '.join(parts)}")
        return parts[name]

    def in_reading_order(self, direction: Direction) -> Split:
        """Return the splits as a model of that direction reads them."""
        val, test = (part and part.in_reading_order(direction) for part in (self.val, self.test))
        return Split(self.train.in_reading_order(direction), val, test)


def split_corpus(corpus: Corpus, settings: CorpusSettings, sampling: SamplingSettings | None = None) -> Split:
    """Divide a corpus into its splits.

    Args:
        corpus: the corpus.
        settings: how to divide it.
        sampling: given if the splits are for training: the message about a short text then says which settings fit.
    Raises:
        TextError: if the sizes exceed the text, or a split has fewer than two characters, or no item.
    """
    if (boundary := boundary_id(settings, corpus.vocabulary)) is not None:
        return _split_items(corpus, settings, boundary)
    sizes = split_sizes(len(corpus.ids), settings)
    parts: list[Part | None] = []
    start = 0
    for name, size in zip(("training", "validation", "test"), sizes, strict=True):
        ids = corpus.ids[start : start + size]
        start += size
        if size == 1 or (size == 0 and name == "training"):
            raise TextError(
                f"the {name} split has {size} of the corpus's {len(corpus.ids):,} characters, too few to predict one"
                f"{_remedy(len(corpus.ids), sampling)}"
            )
        parts.append(Part(ids, hash_ids(ids, corpus.vocabulary)) if size else None)
    train, val, test = parts
    assert train is not None
    return Split(train, val, test)


def _split_items(corpus: Corpus, settings: CorpusSettings, boundary: int) -> Split:
    """Divide the items of a corpus; each split begins and ends with the boundary."""
    places = np.flatnonzero(corpus.ids == boundary)
    num_items, start = len(places) - 1, 0
    parts: list[Part | None] = []
    for size in split_sizes(num_items, settings, "items"):
        ids = corpus.ids[places[start] : places[start + size] + 1]
        start += size
        parts.append(Part(ids, hash_ids(ids, corpus.vocabulary), boundary=boundary) if size else None)
    train, val, test = parts
    if train is None:
        raise TextError(
            f"the training split has none of the corpus's {times(num_items, 'item')}: give more items, or train on all "
            "of them: --set corpus.split=none"
        )
    return Split(train, val, test)


def _remedy(num_chars: int, sampling: SamplingSettings | None) -> str:
    """Say what to do with a text that is too short for its splits."""
    if sampling is None or num_chars < 2:
        return ": give more text"
    short = num_chars <= sampling.batch_size * sampling.seq_len
    options = f" {fitting_options(num_chars, sampling)}" if short else " fits"
    return f": give more text, or train on all of it: --set corpus.split=none{options}"


def split_sizes(num_chars: int, settings: CorpusSettings, noun: str = "characters") -> tuple[int, int, int]:
    """Return how many characters the training, validation and test splits have; each boundary is rounded down once.

    Args:
        num_chars: how many the text has.
        settings: how to divide it.
        noun: what is counted, for messages; splits of items have whole items.

    Raises:
        TextError: if the sizes together exceed the text.
    """
    split = settings.split
    if split == "standard":
        split = standard_split(settings.name or "") or "default"
    if isinstance(split, str):
        fractions = [Fraction(percent, 100) for percent in PERCENT[split]]
    elif all(isinstance(part, int) for part in split):
        train, val, test = (int(part) for part in (*split, 0)[:3])
        if train + val + test > num_chars:
            raise TextError(f"corpus.split asks for {train + val + test:,} {noun}, but the text has {num_chars:,}")
        return train, val, test
    else:
        fractions = [Fraction(str(part)) for part in (*split, 0)[:3]]
    end_of_train = int(num_chars * fractions[0])
    end_of_val = int(num_chars * (fractions[0] + fractions[1]))
    return end_of_train, end_of_val - end_of_train, num_chars - end_of_val
