"""What a figure must beat: the same characters under models that anyone has at hand.

Uniform, unigram, bigram and 5-gram, fitted on the training part; and what bzip2 and xz need beyond the training part.
"""

from __future__ import annotations

import bz2
import lzma
import math
from dataclasses import dataclass

from charlm.evaluation.figure import Figure
from charlm.evaluation.ngrams import fit_ngrams, ngram_nats
from charlm.text.vocabulary import Ids, Vocabulary

ORDERS = {"unigram": 1, "bigram": 2, "5-gram": 5}
# Counting sorts the text once for each order: a second or two and a hundred megabytes for so many characters.
MAX_TRAIN_CHARS = 1_200_000


@dataclass(frozen=True)
class Baselines:
    """Figures of the same characters, by the names of what made them.

    Args:
        figures: uniform, unigram, bigram, 5-gram, bzip2, xz: each the part's characters after the first.
        train_chars: characters of the training part that they know, its last ones where it is longer.
    """

    figures: dict[str, Figure]
    train_chars: int

    def bits_per_char(self) -> dict[str, float]:
        """Return bits per character by name."""
        return {name: figure.bits_per_char for name, figure in self.figures.items()}


def measure_baselines(train: Ids, part: Ids, vocabulary: Vocabulary, encoding: str) -> Baselines:
    """Measure a part of a corpus as the models and compressors do that know the training part."""
    known = train[-MAX_TRAIN_CHARS:]
    num_predicted, size = len(part) - 1, len(vocabulary)
    figures = {"uniform": Figure(num_predicted * math.log(size), num_predicted)}
    orders = fit_ngrams(known, size, max(ORDERS.values()))
    for name, order in ORDERS.items():
        fitted = orders if order == len(orders) else fit_ngrams(known, size, order)
        figures[name] = Figure(float(ngram_nats(fitted, part, size).sum()), num_predicted)
    before, text = (encoded(ids, vocabulary, encoding) for ids in (known, part))
    for name, compress in (("bzip2", bz2.compress), ("xz", lzma.compress)):
        num_bytes = len(compress(before + text)) - len(compress(before))
        figures[name] = Figure(num_bytes * 8 * math.log(2) * num_predicted / len(part), num_predicted)
    return Baselines(figures, len(known))


def encoded(ids: Ids, vocabulary: Vocabulary, encoding: str) -> bytes:
    """Return the bytes of a text as its file has them, without a byte order mark.

    A corpus of bytes is read as Latin-1, one character each: in UTF-8 half of these would be two bytes. What the
    encoding does not have, the unknown symbol among it, is replaced as Python's codecs do.
    """
    return vocabulary.decode(ids).encode(encoding, "replace").removeprefix("".encode(encoding))
