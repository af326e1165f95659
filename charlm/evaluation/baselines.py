"""Baselines that a result must beat: the same characters under simple models and common compressors.

The models are uniform, unigram, bigram and 5-gram, fitted on the training split. For bzip2 and xz, the cost is what the
compressed training split grows by when the text is appended to it.
"""

from __future__ import annotations

import bz2
import lzma
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from charlm.evaluation.figure import Figure
from charlm.evaluation.ngrams import Order, fit_ngrams, ngram_nats
from charlm.text.items import LINE_END, NONCHARACTER
from charlm.text.vocabulary import Ids, Vocabulary

COMPRESSORS: Mapping[str, Callable[[bytes], bytes]] = {"bzip2": bz2.compress, "xz": lzma.compress}
HARDEST = "5-gram"
ORDERS = {"unigram": 1, "bigram": 2, HARDEST: 5}
# Counting sorts the text once for each order, which takes a second or two and a hundred megabytes at this length.
MAX_TRAIN_CHARS = 1_200_000


@dataclass(frozen=True)
class Baselines:
    """Models and compressors that know a training split, fitted once for all texts that are measured.

    Args:
        ngrams: the orders of each n-gram model, by the model's name.
        known: the training split in the corpus' encoding; of a very long one, only the last characters.
        packed: the compressed size of `known` in bytes, by the compressor's name.
        vocabulary: the symbols.
        encoding: the corpus' encoding.
        boundary: the id between two items, which the n-grams predict as the end of each; None for a running text.
    """

    ngrams: Mapping[str, list[Order]]
    known: bytes
    packed: Mapping[str, int]
    vocabulary: Vocabulary
    encoding: str
    boundary: int | None = None

    def measure(self, part: Ids) -> dict[str, Figure]:
        """Return the result of each baseline on a text's characters after the first, by the baseline's name."""
        num_predicted, size = len(part) - 1, len(self.vocabulary)
        figures = {"uniform": Figure(num_predicted * math.log(size), num_predicted)}
        for name, orders in self.ngrams.items():
            figures[name] = Figure(float(ngram_nats(orders, part, size, boundary=self.boundary).sum()), num_predicted)
        text = encoded(part, self.vocabulary, self.encoding)
        for name, compress in COMPRESSORS.items():
            num_bytes = len(compress(self.known + text)) - self.packed[name]
            figures[name] = Figure(num_bytes * 8 * math.log(2) * num_predicted / len(part), num_predicted)
        return figures


def fit_baselines(train: Ids, vocabulary: Vocabulary, encoding: str, *, boundary: int | None = None) -> Baselines:
    """Fit the models on a training split, which is in the same reading order as the texts to be measured.

    Args:
        train: the training split, (N,).
        vocabulary: the symbols.
        encoding: the corpus' encoding.
        boundary: the id between two items; None for a running text.
    """
    last = train[-MAX_TRAIN_CHARS:]
    known = encoded(last, vocabulary, encoding)
    return Baselines(
        {name: fit_ngrams(last, len(vocabulary), order, boundary=boundary) for name, order in ORDERS.items()},
        known,
        {name: len(compress(known)) for name, compress in COMPRESSORS.items()},
        vocabulary,
        encoding,
        boundary,
    )


def encoded(ids: Ids, vocabulary: Vocabulary, encoding: str) -> bytes:
    """Return the bytes of a text as its file has them, without a byte order mark.

    A corpus of bytes is read as Latin-1, one character per byte; in UTF-8, half of these would take two bytes.
    Characters that the encoding lacks, such as the unknown symbol, are replaced as Python's codecs do. Between items
    stands a line end.
    """
    text = vocabulary.decode(ids).replace(NONCHARACTER, LINE_END)
    return text.encode(encoding, "replace").removeprefix("".encode(encoding))
