"""An n-gram model as a predictor: it reads one character after another, as a network does.

Its probabilities are those of `charlm.evaluation.ngrams`, up to the rounding of stored shares to float32.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlm.evaluation.ngrams import NONE, NgramCounts, Order
from charlm.networks.predictor import Floats, IdArray

Places = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]
# For each context the number of the n-gram that was read last, n = 1, 2, ..., each (1, B).
NgramState = npt.NDArray[np.int64]


@dataclass(frozen=True)
class OrderTable:
    """An order laid out for reading: the n-grams of one context stand side by side, sorted by their last character.

    Args:
        firsts: where the n-grams of each context begin, and of one context more.
        symbols: the last character of each n-gram.
        shares: the probability that each n-gram has of its own.
        weights: for each context, the share that goes to the next lower order.
    """

    firsts: npt.NDArray[np.int64]
    symbols: npt.NDArray[np.uint32]
    shares: Floats
    weights: Floats


def order_table(order: Order, vocab_size: int) -> OrderTable:
    """Lay out an order for reading."""
    contexts = order.keys // vocab_size
    shares = (order.counts - order.discounts[np.minimum(order.counts, 3)]) / order.totals[contexts]
    firsts = np.searchsorted(contexts, np.arange(len(order.totals) + 1))
    return OrderTable(
        firsts,
        (order.keys - contexts * vocab_size).astype(np.uint32),
        shares.astype(np.float32),
        order.weights.astype(np.float32),
    )


class NgramPredictor:
    """Predict each character from the few before it, by counts.

    Args:
        counts: the n-grams of a text.
        order: the highest n.

    Attributes:
        order: the highest n, which is lower for a text that is shorter.
        vocab_size: V.
    """

    is_batch_invariant = True

    def __init__(self, counts: NgramCounts, order: int) -> None:
        self.vocab_size, self.boundary = counts.vocab_size, counts.boundary
        self._tables = [order_table(each, counts.vocab_size) for each in counts.model(order)]
        self.order = len(self._tables)

    def initial_state(self, num_texts: int) -> NgramState:
        """Return the state before any character: no n-gram has been read, (order - 1, B)."""
        return np.full((max(self.order - 1, 0), num_texts), NONE)

    def lengths(self, state: NgramState) -> Places:
        """Return how many characters the longest context has that the text knows, (B,)."""
        return (state != NONE).sum(0)

    def advance(self, ids: IdArray, state: NgramState) -> Places:
        """Return the state after each character of ids (T, B): (order - 1, T, B)."""
        if ids.size == 1:
            return np.array(self._after_one(int(ids[0, 0]), state[:, 0].tolist()), np.int64)[:, None, None]
        given = np.asarray(ids, np.int64)
        states = np.full((len(state), *given.shape), NONE)
        before = np.zeros(given.shape, np.int64)
        for n, (table, numbers) in enumerate(zip(self._tables, states, strict=False), 1):
            numbers[:] = _find(table, before, given)
            if n > 1 and self.boundary is not None:
                # An item begins with the boundary before it, beyond which no context extends.
                numbers[given == self.boundary] = NONE
            before = np.concatenate([state[n - 1 : n], numbers[:-1]])
        return states

    def _after_one(self, symbol: int, state: list[int]) -> list[int]:
        """Do for one character what `advance` does for many."""
        after = [NONE] * len(state)
        for n, (table, context) in enumerate(zip(self._tables, [0, *state[:-1]], strict=False)):
            if context == NONE or n == len(after):
                break
            first, last = table.firsts[context : context + 2].tolist()
            place = bisect_left(table.symbols, symbol, first, last)
            if place < last and table.symbols[place] == symbol and (n == 0 or symbol != self.boundary):
                after[n] = place
        return after

    def predict(self, ids: IdArray, state: NgramState) -> tuple[Probabilities, Places]:
        """Read characters; return the probabilities after each, (T, B, V), and the state after each."""
        states = self.advance(ids, state)
        return self.distributions(states), states

    def distributions(self, states: Places) -> Probabilities:
        """Return the probabilities after some states, (order - 1, ...): (..., V)."""
        shape = states.shape[1:]
        found = np.full((int(np.prod(shape)), self.vocab_size), 1 / self.vocab_size)
        contexts = np.concatenate(
            [np.zeros((min(self.order, 1), len(found)), np.int64), states.reshape(-1, len(found))]
        )
        if len(found) == 1:
            self._add_to_one(found[0], contexts[:, 0].tolist())
        else:
            for table, numbers in zip(self._tables, contexts, strict=True):
                _add_order(table, numbers, found)
        return found.reshape(*shape, self.vocab_size)

    def _add_to_one(self, found: Probabilities, contexts: Sequence[int]) -> None:
        """Do for one row what `_add_order` does for many, to the same bits."""
        for table, context in zip(self._tables, contexts, strict=True):
            if context == NONE:
                return
            first, last = table.firsts[context : context + 2].tolist()
            if first < last:
                found *= table.weights[context]
                found[table.symbols[first:last]] += table.shares[first:last]


def _find(table: OrderTable, contexts: Places, ids: Places) -> Places:
    """Return the numbers of the n-grams that extend contexts by ids, each of the same shape; NONE for unknown ones."""
    known = contexts != NONE
    low, high = table.firsts[contexts], table.firsts[np.where(known, contexts, 0) + 1]
    low = np.where(known, low, high)
    last = high
    while (is_open := low < high).any():
        middle = (low + high) // 2
        is_less = is_open & (table.symbols[np.minimum(middle, len(table.symbols) - 1)] < ids)
        low, high = np.where(is_less, middle + 1, low), np.where(is_open & ~is_less, middle, high)
    is_known = (low < last) & (table.symbols[np.minimum(low, len(table.symbols) - 1)] == ids)
    return np.where(is_known, low, NONE)


def _add_order(table: OrderTable, contexts: Places, probabilities: Probabilities) -> None:
    """Turn the probabilities of all symbols under the order below, (n, V), into those under an order."""
    known = np.flatnonzero(contexts != NONE)
    firsts = table.firsts[contexts[known]]
    sizes = table.firsts[contexts[known] + 1] - firsts
    known, firsts, sizes = known[sizes > 0], firsts[sizes > 0], sizes[sizes > 0]
    # The n-grams of one context stand side by side: the first, the second, ... of each.
    places = np.arange(int(sizes.sum())) + np.repeat(firsts - np.cumsum(sizes) + sizes, sizes)
    probabilities[known] *= table.weights[contexts[known]][:, None]
    probabilities[np.repeat(known, sizes), table.symbols[places]] += table.shares[places]
