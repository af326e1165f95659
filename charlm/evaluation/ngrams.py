"""An interpolated n-gram model with modified Kneser-Ney smoothing: how well a table of counts predicts a text.

A recurrent network that does not beat it has learned no more than which characters follow the last four.
Source: Kneser and Ney 1995; the modified, interpolated form and its letters are from Chen and Goodman 1998.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlm.text.vocabulary import Ids

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
NONE = -1


@dataclass(frozen=True)
class Order:
    """The counts of one order n. An n-gram consists of its context, an (n-1)-gram, and a last character.

    Args:
        keys: the context's number times V plus the character, sorted; an n-gram's number is its place here.
        counts: how often each n-gram was seen; below the highest order, after how many different characters.
        totals: for each context, the sum of its n-grams' counts.
        weights: for each context, the share that goes to the next lower order.
        discounts: the discounts for counts of 1, 2, and 3 or more; the first entry is unused.
    """

    keys: Counts
    counts: Counts
    totals: Counts
    weights: Floats
    discounts: Floats


def fit_ngrams(ids: Ids, vocab_size: int, order: int) -> list[Order]:
    """Count the n-grams of a text, n = 1 .. order.

    Args:
        ids: the text, (N,).
        vocab_size: V.
        order: the highest n; it is lowered to the length of a shorter text.
    """
    characters = ids.astype(np.int64)
    numbers: list[Counts] = []  # the n-gram that ends at each character; NONE where it would begin before the text
    keys: list[Counts] = []
    firsts: list[Counts] = []
    counts = np.zeros(0, np.int64)
    contexts = np.zeros(len(ids), np.int64)
    order = min(order, len(ids))
    for n in range(1, order + 1):
        pairs = contexts * vocab_size + characters
        found, first, inverse, counts = np.unique(
            pairs[n - 1 :], return_index=True, return_inverse=True, return_counts=True
        )
        keys.append(found)
        firsts.append(first + n - 1)
        number = np.full(len(ids), NONE, np.int64)
        number[n - 1 :] = inverse
        numbers.append(number)
        contexts = np.concatenate([[NONE], number[:-1]])
    lower = [_continuations(numbers[n][firsts[n + 1]], len(keys[n])) for n in range(order - 1)]
    sizes = [1, *map(len, keys)]
    return [
        _order(found, count, found // vocab_size, size)
        for found, count, size in zip(keys, [*lower, counts], sizes, strict=False)
    ]


def _continuations(ends: Counts, num_ngrams: int) -> Counts:
    """Return how many different characters each n-gram was seen after; none precedes the beginning of the text."""
    # Each distinct (n+1)-gram adds one distinct character before the n-gram that it ends in.
    return np.maximum(np.bincount(ends, minlength=num_ngrams), 1)


def _order(keys: Counts, counts: Counts, contexts: Counts, num_contexts: int) -> Order:
    discounts = _discounts(counts)
    totals = np.bincount(contexts, weights=counts, minlength=num_contexts).astype(np.int64)
    taken = np.bincount(contexts, weights=discounts[np.minimum(counts, 3)], minlength=num_contexts)
    with np.errstate(invalid="ignore"):
        weights = np.where(totals > 0, taken / np.maximum(totals, 1), 1.0)
    return Order(keys, counts, totals, weights, discounts)


def _discounts(counts: Counts) -> Floats:
    """Return the discounts for counts of 1, 2, and 3 or more (Chen and Goodman 1998, equation 26)."""
    n1, n2, n3, n4 = (max(1, int((counts == times).sum())) for times in (1, 2, 3, 4))
    share = n1 / (n1 + 2 * n2)
    taken = [1 - 2 * share * n2 / n1, 2 - 3 * share * n3 / n2, 3 - 4 * share * n4 / n3]
    # The counts of counts of a small text may be anything, but a discount must be between 0 and the whole count.
    return np.array([0.0, *(min(max(value, 0.05), times - 0.05) for times, value in enumerate(taken, 1))])


def ngram_nats(orders: list[Order], ids: Ids, vocab_size: int) -> Floats:
    """Return the cost in nats of each character of a text after the first, (N - 1,).

    Args:
        orders: the result of `fit_ngrams`.
        ids: the text, (N,); contexts do not extend beyond its beginning.
        vocab_size: V.
    """
    characters = ids.astype(np.int64)
    probabilities = np.full(len(ids), 1 / vocab_size)
    contexts = np.zeros(len(ids), np.int64)
    for order in orders:
        places = np.searchsorted(order.keys, pairs := contexts * vocab_size + characters)
        places = np.minimum(places, len(order.keys) - 1)
        is_seen = (contexts != NONE) & (order.keys[places] == pairs)
        counts = np.where(is_seen, order.counts[places], 0)
        known = (contexts != NONE) & (order.totals[contexts] > 0)
        totals = np.where(known, order.totals[contexts], 1)
        weights = np.where(known, order.weights[contexts], 1.0)
        own = np.where(is_seen, counts - order.discounts[np.minimum(counts, 3)], 0.0) / totals
        probabilities = own + weights * probabilities
        contexts = np.concatenate([[NONE], np.where(is_seen, places, NONE)[:-1]])
    return -np.log(probabilities[1:])
