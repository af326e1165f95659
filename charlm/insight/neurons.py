"""Units that follow a feature of the text, found on one half of it and tested on the other.

A network has hundreds of units, so the best of them correlates with anything on the text on which it was chosen. What
counts is therefore its correlation on the second half, beside what the same search finds by chance: the feature is
shifted round the text by large random offsets, which keeps its own correlation over time and breaks its tie to the
text, and the best unit for the shifted feature is chosen and tested likewise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlm.insight.features import Feature
from charlm.insight.units import Floats, StateName, UnitStates

# Of 39 shifts the second best is what one in twenty searches reaches by chance.
NUM_SHIFTS = 39
LEVEL = 0.95
# No offset is nearer to none than this share of the text.
NEAREST = 0.05
MIN_CHARS = 40


@dataclass(frozen=True)
class Neuron:
    """The unit that follows a feature best, and how well.

    Args:
        layer: the unit's layer, from 1.
        unit: its number in the layer, from 1.
        state: h for its hidden state, c for its cell state.
        feature: the feature's name.
        correlation: with the feature on the first half of the text, on which the unit was chosen.
        kept: the correlation on the second half.
        accuracy: for a binary feature, the balanced accuracy on the second half (0.5 is guessing) of a single threshold
            for the unit's value that was chosen on the first half; else None.
        chance: the kept correlation, in the direction of the first, that the search exceeds for only 5 % of the shifted
            features. It holds for one feature: of twenty features, one is expected to exceed its own by chance.
    """

    layer: int
    unit: int
    state: StateName
    feature: str
    correlation: float
    kept: float
    accuracy: float | None
    chance: float

    @property
    def score(self) -> float:
        """The kept correlation in the direction of the first: below 0 where the two contradict each other."""
        return math.copysign(1.0, self.correlation) * self.kept

    @property
    def beats_chance(self) -> bool:
        """Whether the unit follows the feature better than what the search finds by chance."""
        return self.score > self.chance


def find_neurons(
    states: UnitStates,
    features: Sequence[Feature],
    *,
    num_shifts: int = NUM_SHIFTS,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> tuple[Neuron, ...]:
    """Return the unit that follows each feature best, those first that exceed chance the most.

    Features that are constant on either half of the text are left out; so are all in a text below 40 characters.

    Args:
        states: the units' values at every character.
        features: the text's features, in the order in which the model reads it.
        num_shifts: with how many shifts chance is estimated; at least 19.
        seed: random seed of the shifts.
        report: called with the number of features done and their total.
    """
    num_chars = len(states.values)
    if num_chars < MIN_CHARS:
        return ()
    middle = num_chars // 2
    first = _standardise(states.values[:middle])
    nearest = int(NEAREST * num_chars)
    choices = np.arange(nearest, num_chars - nearest + 1)
    shifts = np.random.default_rng(seed).choice(choices, num_shifts, replace=num_shifts > len(choices))
    neurons: list[Neuron] = []
    for done, feature in enumerate(features, 1):
        if np.ptp(feature.values[:middle]) > 0 and np.ptp(feature.values[middle:]) > 0:
            neurons.append(_best(states, first, feature, shifts))
        if report:
            report(done, len(features))
    return tuple(sorted(neurons, key=lambda neuron: neuron.chance - neuron.score))


def _best(states: UnitStates, first: Floats, feature: Feature, shifts: npt.NDArray[np.int64]) -> Neuron:
    """Return the best unit for a feature; `first` are the standardised values of the first half, (n, units)."""
    middle = len(first)
    versions = np.stack([np.roll(feature.values, shift) for shift in (0, *shifts)], axis=1)  # (N, 1 + shifts)
    found = first.T @ _standardise(versions[:middle])  # (units, 1 + shifts)
    best = np.abs(found).argmax(axis=0)
    correlations = found[best, np.arange(len(best))]
    kept = (_standardise(states.values[middle:, best]) * _standardise(versions[middle:])).sum(axis=0)
    by_chance = np.sort(np.copysign(1.0, correlations[1:]) * kept[1:])
    layer, unit, state = states.at(int(best[0]))
    values = np.copysign(1.0, correlations[0]) * states.values[:, best[0]]
    return Neuron(
        layer=layer,
        unit=unit,
        state=state,
        feature=feature.name,
        correlation=float(correlations[0]),
        kept=float(kept[0]),
        accuracy=_accuracy(values, feature.values > 0, middle) if feature.is_binary else None,
        chance=float(by_chance[math.ceil(LEVEL * len(best)) - 1]),
    )


def _standardise(values: Floats) -> Floats:
    """Return columns of mean 0 and length 1, whose products are correlations; a constant column becomes 0."""
    centred = values - values.mean(axis=0, dtype=np.float64).astype(np.float32)
    lengths = np.sqrt(np.square(centred).sum(axis=0))
    return centred / np.where(lengths > 0, lengths, 1)


def _accuracy(values: Floats, labels: npt.NDArray[np.bool_], middle: int) -> float:
    """Return the balanced accuracy, on the second half, of the threshold that is best on the first.

    It is the mean of the share of true labels that are taken for true, and that of false ones taken for false.
    """
    is_above = values[middle:] > _threshold(values[:middle], labels[:middle])
    hits, false_alarms = (float(is_above[which].mean()) for which in (labels[middle:], ~labels[middle:]))
    return (1 + hits - false_alarms) / 2


def _threshold(values: Floats, labels: npt.NDArray[np.bool_]) -> float:
    """Return the value above which a label is taken for true, with the best balanced accuracy."""
    order = np.argsort(values, kind="stable")
    values, labels = values[order], labels[order]
    # A cut after each value that differs from the next; what lies beyond it is above.
    cuts = np.flatnonzero(values[1:] > values[:-1])
    if len(cuts) == 0:
        return float(values[0])
    hits = 1 - np.cumsum(labels)[cuts] / labels.sum()
    false_alarms = 1 - np.cumsum(~labels)[cuts] / (~labels).sum()
    cut = cuts[np.argmax(hits - false_alarms)]
    return float((values[cut].astype(np.float64) + values[cut + 1]) / 2)
