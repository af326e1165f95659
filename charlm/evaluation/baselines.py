"""Baselines that a result must beat: the same characters under simple models and common compressors.

The models are uniform and n-grams, fitted on the training split: unigram, bigram, 5-gram, and the n-gram of the order
that predicts the validation split best. They are static: like a network, they learn nothing from the text that they
are measured on. For bzip2 and xz, the cost is what the compressed training split grows by when the text is appended to
it. They are adaptive, so no verdict counts them.
"""

from __future__ import annotations

import bz2
import lzma
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from charlm.evaluation.figure import Figure
from charlm.evaluation.ngrams import NgramCounts, count_ngrams, nats_by_order
from charlm.text.items import LINE_END, NONCHARACTER
from charlm.text.vocabulary import Ids, Vocabulary

COMPRESSORS: Mapping[str, Callable[[bytes], bytes]] = {"bzip2": bz2.compress, "xz": lzma.compress}
FIVE_GRAM = "5-gram"
ORDERS = {"unigram": 1, "bigram": 2, FIVE_GRAM: 5}
# The orders among which validation chooses the best.
TRIED = range(3, 13)
# Counting sorts the text, which takes a second and two hundred megabytes at this length.
MAX_TRAIN_CHARS = 1_200_000
# Validation chooses an order by its first characters, which are enough to tell orders apart.
MAX_CHOICE_CHARS = 200_000
NGRAM = re.compile(r"unigram|bigram|[1-9][0-9]?-gram")


@dataclass(frozen=True)
class Baselines:
    """Models and compressors that know a training split, fitted once for all texts that are measured.

    Args:
        counts: the n-grams of the training split; of a very long one, those of the last characters.
        orders: the order of each n-gram model, by the model's name.
        known: the same characters in the corpus' encoding.
        packed: the compressed size of `known` in bytes, by the compressor's name.
        vocabulary: the symbols.
        encoding: the corpus' encoding.
    """

    counts: NgramCounts
    orders: Mapping[str, int]
    known: bytes
    packed: Mapping[str, int]
    vocabulary: Vocabulary
    encoding: str

    def measure(self, part: Ids) -> dict[str, Figure]:
        """Return the result of each baseline on a text's characters after the first, by the baseline's name."""
        num_predicted = len(part) - 1
        figures = {"uniform": Figure(num_predicted * math.log(len(self.vocabulary)), num_predicted)}
        costs = nats_by_order(self.counts, part, self.orders.values())
        figures |= {name: Figure(float(costs[order].sum()), num_predicted) for name, order in self.orders.items()}
        text = encoded(part, self.vocabulary, self.encoding)
        for name, compress in COMPRESSORS.items():
            num_bytes = len(compress(self.known + text)) - self.packed[name]
            figures[name] = compressed_figure(num_bytes, len(part))
        return figures


def fit_baselines(
    train: Ids, vocabulary: Vocabulary, encoding: str, *, val: Ids | None = None, boundary: int | None = None
) -> Baselines:
    """Fit the models on a training split, which is in the same reading order as the texts to be measured.

    Args:
        train: the training split, (N,).
        vocabulary: the symbols.
        encoding: the corpus' encoding.
        val: the validation split in the same order, which chooses the best order; None leaves that model out.
        boundary: the id between two items; None for a running text.
    """
    last, orders = train[-MAX_TRAIN_CHARS:], dict(ORDERS)
    tried = max(TRIED) if val is not None else 0
    counts = count_ngrams(last, len(vocabulary), max(tried, *orders.values()), boundary=boundary)
    if val is not None:
        best = best_order(counts, val)
        orders[f"{best}-gram"] = best
    known = encoded(last, vocabulary, encoding)
    packed = {name: len(compress(known)) for name, compress in COMPRESSORS.items()}
    return Baselines(counts.up_to(max(orders.values())), orders, known, packed, vocabulary, encoding)


def best_order(counts: NgramCounts, val: Ids) -> int:
    """Return which of the tried orders predicts the validation split best; of equal ones, the lowest."""
    costs = nats_by_order(counts, val[:MAX_CHOICE_CHARS], TRIED)
    return min(TRIED, key=lambda order: (float(costs[order].sum()), order))


def best_static(baselines: Mapping[str, float]) -> tuple[str, float] | None:
    """Return the best baseline that learns nothing from the text it is measured on, as name and bits; None without."""
    return _best({name: bits for name, bits in baselines.items() if name not in COMPRESSORS})


def best_ngram(baselines: Mapping[str, float]) -> tuple[str, float] | None:
    """Return the name and the bits per character of the best n-gram; None without any."""
    return _best({name: bits for name, bits in baselines.items() if NGRAM.fullmatch(name)})


def _best(baselines: Mapping[str, float]) -> tuple[str, float] | None:
    finite = [(name, bits) for name, bits in baselines.items() if math.isfinite(bits)]
    return min(finite, key=lambda found: found[1], default=None)


def compressed_figure(num_bytes: int, num_chars: int) -> Figure:
    """Return the cost of a text's characters after the first, from the bytes a compressor needs for all."""
    return Figure(num_bytes * 8 * math.log(2) * (num_chars - 1) / num_chars, num_chars - 1)


def encoded(ids: Ids, vocabulary: Vocabulary, encoding: str) -> bytes:
    """Return the bytes of a text as its file has them, without a byte order mark.

    A corpus of bytes is read as Latin-1, one character per byte; in UTF-8, half of these would take two bytes.
    Characters that the encoding lacks, such as the unknown symbol, are replaced as Python's codecs do. Between items
    stands a line end.
    """
    text = vocabulary.decode(ids).replace(NONCHARACTER, LINE_END)
    return text.encode(encoding, "replace").removeprefix("".encode(encoding))
