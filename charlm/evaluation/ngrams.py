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


def fit_ngrams(ids: Ids, vocab_size: int, order: int, *, boundary: int | None = None) -> list[Order]:
    """Count the n-grams of a text, n = 1 .. order.

    Args:
        ids: the text, (N,).
        vocab_size: V.
        order: the highest n; it is lowered to the length of a shorter text.
        boundary: the id between two items, beyond which no context extends; None for a running text.
    """
    characters = ids.astype(np.int64)
    numbers: list[Counts] = []  # the n-gram that ends at each character; NONE where it would begin before the text
    keys: list[Counts] = []
    firsts: list[Counts] = []
    counts: list[Counts] = []
    contexts = np.zeros(len(ids), np.int64)
    order = min(order, len(ids))
    for n in range(1, order + 1):
        pairs = contexts * vocab_size + characters
        places = np.flatnonzero(contexts != NONE)
        if len(places) == 0:
            break  # no item is that long
        found, first, inverse, count = np.unique(
            pairs[places], return_index=True, return_inverse=True, return_counts=True
        )
        keys.append(found)
        counts.append(count)
        firsts.append(places[first])
        number = np.full(len(ids), NONE, np.int64)
        number[places] = inverse
        numbers.append(number)
        contexts = _contexts(number, characters, n, boundary)
    order = len(keys)
    lower = [_continuations(numbers[n][firsts[n + 1]], counts[n]) for n in range(order - 1)]
    sizes = [1, *map(len, keys)]
    return [
        _order(found, count, found // vocab_size, size)
        for found, count, size in zip(keys, [*lower, *counts[-1:]], sizes, strict=False)
    ]


def _contexts(numbers: Counts, characters: Counts, n: int, boundary: int | None) -> Counts:
    """Return the n-gram before each character; NONE where it would begin before the text, or before the item."""
    contexts = np.concatenate([[NONE], numbers[:-1]])
    if n > 1 and boundary is not None:
        # An item begins with the boundary before it, so only the boundary itself is a context of its first character.
        contexts[1:][characters[:-1] == boundary] = NONE
    return contexts


def _continuations(numbers: Counts, counts: Counts) -> Counts:
    """Return how many different characters each n-gram was seen after.

    Nothing precedes the n-grams at the begin of a text or of an item: they keep their counts.

    Args:
        numbers: for each (n+1)-gram, the number of the n-gram that it ends in.
        counts: how often each n-gram was seen.
    """
    # Each distinct (n+1)-gram adds one distinct character before the n-gram that it ends in.
    found = np.bincount(numbers, minlength=len(counts))
    return np.where(found == 0, counts, found)


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


def ngram_nats(orders: list[Order], ids: Ids, vocab_size: int, *, boundary: int | None = None) -> Floats:
    """Return the cost in nats of each character of a text after the first, (N - 1,).

    Args:
        orders: the result of `fit_ngrams`.
        ids: the text, (N,); contexts do not extend beyond its beginning.
        vocab_size: V.
        boundary: the id between two items, beyond which no context extends; None for a running text.
    """
    characters = ids.astype(np.int64)
    probabilities = np.full(len(ids), 1 / vocab_size)
    contexts = np.zeros(len(ids), np.int64)
    for n, order in enumerate(orders, 1):
        places = np.searchsorted(order.keys, pairs := contexts * vocab_size + characters)
        places = np.minimum(places, len(order.keys) - 1)
        is_seen = (contexts != NONE) & (order.keys[places] == pairs)
        counts = np.where(is_seen, order.counts[places], 0)
        known = (contexts != NONE) & (order.totals[contexts] > 0)
        totals = np.where(known, order.totals[contexts], 1)
        weights = np.where(known, order.weights[contexts], 1.0)
        own = np.where(is_seen, counts - order.discounts[np.minimum(counts, 3)], 0.0) / totals
        probabilities = own + weights * probabilities
        contexts = _contexts(np.where(is_seen, places, NONE), characters, n, boundary)
    return -np.log(probabilities[1:])
