"""An interpolated n-gram model with modified Kneser-Ney smoothing: how well a table of counts predicts a text.

A recurrent network that does not beat it has learned no more than which characters follow the last four.
Source: Kneser and Ney 1995; the modified, interpolated form and its letters are from Chen and Goodman 1998.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from charlm.text.vocabulary import Ids

Counts = npt.NDArray[np.int64]
Times = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
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
    counts: Times
    totals: Times
    weights: Floats
    discounts: Floats


@dataclass(frozen=True)
class NgramCounts:
    """The counts of a text, which its n-gram models of all orders share.

    Two models differ only in their highest orders, which count how often an n-gram was seen, and not after how many
    different characters.

    Args:
        keys: the keys of each order, n = 1, 2, ...
        counts: how often each n-gram was seen.
        lower: each order but the last as a lower order of the longer models.
        vocab_size: V.
        boundary: the id between two items; None for a running text.
    """

    keys: Sequence[Counts]
    counts: Sequence[Times]
    lower: Sequence[Order]
    vocab_size: int
    boundary: int | None

    @property
    def longest(self) -> int:
        """The highest n; 0 for an empty text."""
        return len(self.keys)

    def highest(self, n: int) -> Order:
        """Return an order as the highest of a model."""
        return _order(self.keys[n - 1], self.counts[n - 1], self.vocab_size, len(self.keys[n - 2]) if n > 1 else 1)

    def model(self, order: int) -> list[Order]:
        """Return the orders of one model; `order` is lowered to the longest."""
        order = min(order, self.longest)
        return [*self.lower[: order - 1], self.highest(order)] if order else []

    def up_to(self, order: int) -> NgramCounts:
        """Return what the models up to an order need, so that the memory of the longer ones can be freed."""
        return replace(self, keys=self.keys[:order], counts=self.counts[:order], lower=self.lower[: order - 1])


def fit_ngrams(ids: Ids, vocab_size: int, order: int, *, boundary: int | None = None) -> list[Order]:
    """Count the n-grams of a text, n = 1 .. order, and return the orders of one model.

    Args:
        ids: the text, (N,).
        vocab_size: V.
        order: the highest n; it is lowered to the length of a shorter text.
        boundary: the id between two items, beyond which no context extends; None for a running text.
    """
    return count_ngrams(ids, vocab_size, order, boundary=boundary).model(order)


def count_ngrams(ids: Ids, vocab_size: int, order: int, *, boundary: int | None = None) -> NgramCounts:
    """Count the n-grams of a text once for the models of all orders up to the highest; see `fit_ngrams`."""
    all_keys: list[Counts] = []
    all_counts: list[Times] = []
    lower: list[Order] = []
    for keys, counts, endings in _counted(ids, vocab_size, order, boundary):
        if all_keys:
            continuations = _continuations(endings, all_counts[-1])
            lower.append(_order(all_keys[-1], continuations, vocab_size, len(all_keys[-2]) if lower else 1))
        all_keys.append(keys)
        all_counts.append(counts)
    return NgramCounts(all_keys, all_counts, lower, vocab_size, boundary)


def _counted(ids: Ids, vocab_size: int, order: int, boundary: int | None) -> Iterator[tuple[Counts, Times, Counts]]:
    """Yield for n = 1 .. order the keys, how often each was seen, and the number of the (n-1)-gram that it ends in."""
    characters = ids.astype(np.int64)
    numbers = np.zeros(len(ids), np.int64)  # the number of the n-gram that ends at each place
    places = np.argsort(ids, kind="stable")  # where n-grams end, sorted by their keys
    keys = characters[places]
    for n in range(1, order + 1):
        if len(places) == 0:
            return  # no text or item is that long
        is_first = np.concatenate([[True], keys[1:] != keys[:-1]])
        firsts = np.flatnonzero(is_first)
        yield keys[firsts], np.diff(firsts, append=len(keys)).astype(np.int32), numbers[places[firsts]]
        contexts = np.cumsum(is_first) - 1
        numbers[places] = contexts
        has_next = places < len(ids) - 1
        if n > 1 and boundary is not None:
            has_next &= characters[places] != boundary
        places, contexts = places[has_next] + 1, contexts[has_next]
        keys = contexts * vocab_size + characters[places]
        _sort_within(contexts, keys, places)


def _sort_within(contexts: Counts, keys: Counts, places: Counts) -> None:
    """Sort keys, and places with them, whose contexts are sorted: those of a context that occurs once already are."""
    is_repeated = np.zeros(len(contexts), np.bool_)
    is_repeated[1:] = is_same = contexts[1:] == contexts[:-1]
    is_repeated[:-1] |= is_same
    slots = np.flatnonzero(is_repeated)
    order = slots[np.argsort(keys[slots])]
    keys[slots], places[slots] = keys[order], places[order]


def _continuations(numbers: Counts, counts: Times) -> Times:
    """Return how many different characters each n-gram was seen after.

    Nothing precedes the n-grams at the begin of a text or of an item: they keep their counts.

    Args:
        numbers: for each (n+1)-gram, the number of the n-gram that it ends in.
        counts: how often each n-gram was seen.
    """
    # Each distinct (n+1)-gram adds one distinct character before the n-gram that it ends in.
    found = np.bincount(numbers, minlength=len(counts)).astype(np.int32)
    return np.where(found == 0, counts, found)


def _order(keys: Counts, counts: Times, vocab_size: int, num_contexts: int) -> Order:
    contexts, discounts = keys // vocab_size, _discounts(counts)
    totals = np.bincount(contexts, weights=counts, minlength=num_contexts).astype(np.int32)
    taken = np.bincount(contexts, weights=discounts[np.minimum(counts, 3)], minlength=num_contexts)
    with np.errstate(invalid="ignore"):
        weights = np.where(totals > 0, taken / np.maximum(totals, 1), 1.0)
    return Order(keys, counts, totals, weights, discounts)


def _discounts(counts: Times) -> Floats:
    """Return the discounts for counts of 1, 2, and 3 or more (Chen and Goodman 1998, equation 26)."""
    n1, n2, n3, n4 = (max(1, int((counts == times).sum())) for times in (1, 2, 3, 4))
    share = n1 / (n1 + 2 * n2)
    taken = [1 - 2 * share * n2 / n1, 2 - 3 * share * n3 / n2, 3 - 4 * share * n4 / n3]
    # The counts of counts of a small text may be anything, but a discount must be between 0 and the whole count.
    return np.array([0.0, *(min(max(value, 0.05), times - 0.05) for times, value in enumerate(taken, 1))])


def ngram_nats(orders: Sequence[Order], ids: Ids, vocab_size: int, *, boundary: int | None = None) -> Floats:
    """Return the cost in nats of each character of a text after the first, (N - 1,).

    Args:
        orders: the result of `fit_ngrams`.
        ids: the text, (N,); contexts do not extend beyond its beginning.
        vocab_size: V.
        boundary: the id between two items, beyond which no context extends; None for a running text.
    """
    probabilities = np.full(len(ids), 1 / vocab_size)
    for order, found in zip(orders, _find([each.keys for each in orders], ids, vocab_size, boundary), strict=True):
        probabilities = _interpolate(order, found, probabilities)
    return -np.log(probabilities[1:])


def nats_by_order(counts: NgramCounts, ids: Ids, orders: Iterable[int]) -> dict[int, Floats]:
    """Return the costs that `ngram_nats` gives for the models of several orders, from looking up each n-gram once."""
    probabilities = np.full(len(ids), 1 / counts.vocab_size)
    costs = {0: -np.log(probabilities[1:])}
    asked = {order: min(order, counts.longest) for order in orders}
    for n, found in enumerate(_find(counts.keys, ids, counts.vocab_size, counts.boundary), 1):
        if n in asked.values():
            costs[n] = -np.log(_interpolate(counts.highest(n), found, probabilities)[1:])
        if n < counts.longest:
            probabilities = _interpolate(counts.lower[n - 1], found, probabilities)
    return {order: costs[n] for order, n in asked.items()}


def ngram_distributions(
    orders: Sequence[Order], ids: Ids, vocab_size: int, *, boundary: int | None = None, chunk_chars: int = 1_024
) -> Iterator[Floats]:
    """Yield the probabilities of all symbols at each character after the first, (n, V), n at most `chunk_chars`.

    At the symbols that the text really has, they are those whose nats `ngram_nats` returns, to the last bit.

    Args:
        orders: the result of `fit_ngrams`.
        ids: the text, (N,); contexts do not extend beyond its beginning.
        vocab_size: V.
        boundary: the id between two items, beyond which no context extends; None for a running text.
        chunk_chars: how many characters are done at once.
    """
    keys = [order.keys for order in orders]
    for start in range(1, len(ids), chunk_chars):
        # No context is longer than the orders are many, so a chunk needs no more characters before it.
        begin = max(0, start - len(orders))
        chunk = ids[begin : start + chunk_chars]
        probabilities = np.full((len(chunk) - start + begin, vocab_size), 1 / vocab_size)  # (n, V)
        for order, found in zip(orders, _find(keys, chunk, vocab_size, boundary), strict=True):
            _interpolate_all(order, found.contexts[start - begin :], probabilities)
        yield probabilities


def _interpolate_all(order: Order, contexts: Counts, probabilities: Floats) -> None:
    """Turn the probabilities of all symbols under the order below, (n, V), into those under an order."""
    vocab_size: int = probabilities.shape[1]
    known = np.flatnonzero((contexts != NONE) & (order.totals[contexts] > 0))
    contexts = contexts[known]
    firsts = np.searchsorted(order.keys, contexts * vocab_size)
    sizes = np.searchsorted(order.keys, (contexts + 1) * vocab_size) - firsts
    # The n-grams of one context stand side by side: the first, the second, ... of each.
    places: Counts = np.arange(int(sizes.sum())) + np.repeat(firsts - np.cumsum(sizes) + sizes, sizes)
    counts = order.counts[places]
    own = (counts - order.discounts[np.minimum(counts, 3)]) / np.repeat(order.totals[contexts], sizes)
    probabilities[known] *= order.weights[contexts][:, None]
    probabilities[np.repeat(known, sizes), order.keys[places] % vocab_size] += own


@dataclass(frozen=True)
class _Found:
    """Where the n-grams that end at each character of a text are among those of an order.

    Args:
        contexts: the numbers of their contexts; NONE where one was never seen, or would begin before the text or item.
        places: their own numbers; anything where they were never seen.
        is_seen: whether they were seen.
    """

    contexts: Counts
    places: Counts
    is_seen: Flags


def _find(keys: Sequence[Counts], ids: Ids, vocab_size: int, boundary: int | None) -> Iterator[_Found]:
    """Yield where the n-grams of a text are among the keys of each order, n = 1, 2, ..."""
    characters = ids.astype(np.int64)
    contexts = np.zeros(len(ids), np.int64)
    for n, known in enumerate(keys, 1):
        pairs = contexts * vocab_size + characters
        places = np.minimum(np.searchsorted(known, pairs), len(known) - 1)
        is_seen = (contexts != NONE) & (known[places] == pairs)
        yield _Found(contexts, places, is_seen)
        contexts = _contexts(np.where(is_seen, places, NONE), characters, n, boundary)


def _contexts(numbers: Counts, characters: Counts, n: int, boundary: int | None) -> Counts:
    """Return the n-gram before each character; NONE where it would begin before the text, or before the item."""
    contexts = np.concatenate([[NONE], numbers[:-1]])
    if n > 1 and boundary is not None:
        # An item begins with the boundary before it, so only the boundary itself is a context of its first character.
        contexts[1:][characters[:-1] == boundary] = NONE
    return contexts


def _interpolate(order: Order, found: _Found, lower: Floats) -> Floats:
    """Return the probability of each character under an order, from the probabilities under the order below it."""
    counts = np.where(found.is_seen, order.counts[found.places], 0)
    known = (found.contexts != NONE) & (order.totals[found.contexts] > 0)
    totals = np.where(known, order.totals[found.contexts], 1)
    weights = np.where(known, order.weights[found.contexts], 1.0)
    own = np.where(found.is_seen, counts - order.discounts[np.minimum(counts, 3)], 0.0) / totals
    return own + weights * lower
