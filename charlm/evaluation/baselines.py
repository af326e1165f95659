"""What a figure must beat: the same characters under models that anyone has at hand.

Uniform, unigram, bigram and 5-gram, fitted on the training part; and what bzip2 and xz need beyond the training part.
"""

from __future__ import annotations

import bz2
import lzma
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from charlm.evaluation.figure import Figure
from charlm.evaluation.ngrams import Order, fit_ngrams, ngram_nats
from charlm.text.vocabulary import Ids, Vocabulary

COMPRESSORS: Mapping[str, Callable[[bytes], bytes]] = {"bzip2": bz2.compress, "xz": lzma.compress}
ORDERS = {"unigram": 1, "bigram": 2, "5-gram": 5}
# Counting sorts the text once for each order: a second or two and a hundred megabytes for so many characters.
MAX_TRAIN_CHARS = 1_200_000


@dataclass(frozen=True)
class Baselines:
    """Models and compressors that know a training part, fitted once for all the texts that are measured beside it.

    Args:
        ngrams: the orders of each n-gram model, by its name.
        known: the training part in the corpus' encoding, its last characters where it is longer.
        packed: how many bytes each compressor makes of that, by its name.
        vocabulary: the symbols.
        encoding: of the corpus.
    """

    ngrams: Mapping[str, list[Order]]
    known: bytes
    packed: Mapping[str, int]
    vocabulary: Vocabulary
    encoding: str

    def measure(self, part: Ids) -> dict[str, Figure]:
        """Return what uniform, unigram, bigram, 5-gram, bzip2 and xz make of a text's characters after the first."""
        num_predicted, size = len(part) - 1, len(self.vocabulary)
        figures = {"uniform": Figure(num_predicted * math.log(size), num_predicted)}
        for name, orders in self.ngrams.items():
            figures[name] = Figure(float(ngram_nats(orders, part, size).sum()), num_predicted)
        text = encoded(part, self.vocabulary, self.encoding)
        for name, compress in COMPRESSORS.items():
            num_bytes = len(compress(self.known + text)) - self.packed[name]
            figures[name] = Figure(num_bytes * 8 * math.log(2) * num_predicted / len(part), num_predicted)
        return figures


def fit_baselines(train: Ids, vocabulary: Vocabulary, encoding: str) -> Baselines:
    """Fit the models on a training part, in the reading order of the texts that are measured beside it."""
    last = train[-MAX_TRAIN_CHARS:]
    known = encoded(last, vocabulary, encoding)
    return Baselines(
        {name: fit_ngrams(last, len(vocabulary), order) for name, order in ORDERS.items()},
        known,
        {name: len(compress(known)) for name, compress in COMPRESSORS.items()},
        vocabulary,
        encoding,
    )


def encoded(ids: Ids, vocabulary: Vocabulary, encoding: str) -> bytes:
    """Return the bytes of a text as its file has them, without a byte order mark.

    A corpus of bytes is read as Latin-1, one character each: in UTF-8 half of these would be two bytes. What the
    encoding does not have, the unknown symbol among it, is replaced as Python's codecs do.
    """
    return vocabulary.decode(ids).encode(encoding, "replace").removeprefix("".encode(encoding))
