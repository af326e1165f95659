"""Memory used: what a character costs if the model has read only the k characters before it.

The cost falls as k grows, until more of the text before makes no difference: that is how far the model looks back. All
lengths are measured at the same positions, so that their differences are those of the lengths alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from charlm.insight.readings import item_starts, readings
from charlm.insight.samples import Estimate, Sample
from charlm.networks.costs import Costs, target_costs
from charlm.networks.predictor import Predictor
from charlm.text.items import Places, batches_of_equal_length
from charlm.text.vocabulary import Ids

LENGTHS = tuple(1 << exponent for exponent in range(10))
NUM_POSITIONS = 1_000
# The kernels are fastest with batches of about this size; no cost depends on it.
BATCH_CHARS = 65_536
PIECE_CHARS = 2_048


@dataclass(frozen=True)
class LengthCost:
    """What a character costs with a state that has read only a few characters.

    Args:
        length: k, how many characters before it were read.
        nats: nats per character.
        excess: how many nats more than with everything read; of the same positions, so its interval is narrow.
    """

    length: int
    nats: Estimate
    excess: Estimate


@dataclass(frozen=True)
class MemoryUsed:
    """What a character costs after few and many characters, at the same positions.

    Args:
        sample: the positions; its `pick` and `estimate` give another model's costs there.
        lengths: the costs for each length, from the shortest.
        everything: nats per character with everything read from the begin of the text, or of the item.
    """

    sample: Sample
    lengths: tuple[LengthCost, ...]
    everything: Estimate


def measure_memory(
    predictor: Predictor,
    ids: Ids,
    *,
    boundary: int | None = None,
    lengths: Sequence[int] | None = None,
    num_positions: int = NUM_POSITIONS,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> MemoryUsed:
    """Measure what characters at random positions cost after the last 1, 2, 4 .. 512 characters, and after all.

    For a length k, the model reads the k characters before a position from its initial state. Positions of a running
    text have as many characters before them as the longest length; in a text of fewer than 1,024 characters, lengths
    end with the last that is no longer than half of it. In a text of items every character and end may be chosen, what
    is read never reaches beyond the begin of its item, and lengths end with the first that reads every item whole.

    Args:
        predictor: the model.
        ids: the text in the model's reading order, (N,), at least two characters.
        boundary: the id with which each item begins; None for a running text.
        lengths: other lengths, ascending. Where fewer characters stand before a position, all of them are read.
        num_positions: how many positions to choose; fewer if the text has fewer.
        seed: random seed of the positions and of the intervals.
        report: called with the number of characters read and their total.
    Raises:
        DivergedError: if a probability is not a number.
    """
    targets = np.arange(1, len(ids))
    num_before = _num_before(targets, item_starts(ids, boundary))
    if lengths is None:
        lengths = _fitting_lengths(len(ids) // 2 if boundary is None else 2 * int(num_before.max()) - 1)
    if boundary is None:
        targets = targets[min(max(lengths), len(ids) // 2) - 1 :]
    chosen = np.random.default_rng(seed).choice(targets, min(num_positions, len(targets)), replace=False)
    sample = Sample(tuple(np.sort(chosen).tolist()), len(ids))
    places = np.array(sample.places)
    sizes = np.minimum(num_before[places - 1, None], np.array(lengths))  # (P, K)
    jobs = _Jobs(places, sizes, len(ids))
    progress = _Progress(int(places[-1] + jobs.sizes.sum()), report)
    everything = _costs_after_all(predictor, ids[: places[-1] + 1], boundary, progress)[places - 1]
    costs = _costs_after_last(predictor, ids, jobs, progress)  # (P, K)
    compared = tuple(
        LengthCost(length, sample.estimate(nats, seed=seed), sample.estimate(nats - everything, seed=seed))
        for length, nats in zip(lengths, costs.T, strict=True)
    )
    return MemoryUsed(sample, compared, sample.estimate(everything, seed=seed))


class _Progress:
    """Count the characters that were read."""

    def __init__(self, total: int, report: Callable[[int, int], None] | None) -> None:
        self._total, self._report, self._done = total, report, 0

    def add(self, number: int) -> None:
        self._done += number
        if self._report:
            self._report(self._done, self._total)


class _Jobs:
    """The distinct pairs of a position and of how many characters before it are read, (J,); few for short items.

    Args:
        places: the positions, (P,).
        sizes: how many characters before each are read for each length, (P, K).
        num_chars: the length of the text.
    """

    def __init__(self, places: Places, sizes: Places, num_chars: int) -> None:
        pairs, self._which = np.unique(sizes * num_chars + places[:, None], return_inverse=True)
        self._shape = sizes.shape
        self.sizes, self.places = np.divmod(pairs, num_chars)

    def spread(self, costs: Costs) -> Costs:
        """Return the cost at each position for each length, (P, K), of those of all jobs, (J,)."""
        return costs[self._which].reshape(self._shape)


def _num_before(targets: Places, starts: Places) -> Places:
    """Return how many characters of the same item stand before each character, its begin included."""
    return targets - starts[np.searchsorted(starts, targets) - 1]


def _fitting_lengths(longest: int) -> list[int]:
    """Return the usual lengths up to a number, or the shortest alone."""
    return [length for length in LENGTHS if length <= max(longest, 1)]


def _costs_after_last(predictor: Predictor, ids: Ids, jobs: _Jobs, progress: _Progress) -> Costs:
    """Return what each position costs for each length, (P, K); readings of equal length stand side by side."""
    costs = np.empty(len(jobs.places))
    for batch in batches_of_equal_length(jobs.sizes, BATCH_CHARS):
        places, size = jobs.places[batch], int(jobs.sizes[batch[0]])
        logits, _ = predictor.read(ids[places + np.arange(-size, 0)[:, None]], predictor.initial_state(len(batch)))
        costs[batch], _ = target_costs(logits, ids[places])
        progress.add(size * len(batch))
    return jobs.spread(costs)


def _costs_after_all(predictor: Predictor, ids: Ids, boundary: int | None, progress: _Progress) -> Costs:
    """Return what all characters after the first cost in nats, (N - 1,), with the state carried over."""
    costs = np.empty(len(ids) - 1)
    for places in readings(ids[:-1], boundary, PIECE_CHARS):
        state = predictor.initial_state(places.shape[1])
        size = max(1, PIECE_CHARS // places.shape[1])
        for start in range(0, len(places), size):
            some = places[start : start + size]
            logits, state = predictor.predict(ids[some], state)
            # The cost of a character stands where the character before it stands.
            costs[some], _ = target_costs(logits, ids[some + 1])
            progress.add(some.size)
    return costs
