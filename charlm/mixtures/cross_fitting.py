"""Fit a mixture to a validation split, and measure there what it is worth, without fitting to what is measured.

The weights that a mixture keeps are fitted to the whole split, so that its own result there would flatter it. Each half
is therefore also measured under weights that were fitted to the other half alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from charlm.evaluation.predicted import Places, stretches
from charlm.mixtures.fitting import Costs, Targets, costs_of, fit_weights
from charlm.mixtures.mixture import Experts, Lengths, MixtureState, Weights
from charlm.networks.predictor import Floats
from charlm.text.splits import Part

# As many numbers of float32 take a quarter of a gigabyte; of a longer split, the beginning of each half is fitted.
MAX_NUMBERS = 1 << 26


@dataclass(frozen=True)
class CrossFit:
    """Weights, and what they are worth.

    Args:
        weights: fitted to the whole split, (lengths, members).
        costs: of each character, in nats, under weights fitted to the half that it is not in, (N - 1,).
        alone: mean cost of a character under each member alone, in nats, (members,).
    """

    weights: Weights
    costs: Costs
    alone: Costs


@dataclass(frozen=True)
class Read:
    """What the members of a mixture predict about some characters.

    Args:
        places: where the character before each stands in the split, (n,).
        targets: the characters, (n,).
        lengths: how long the longest known context is, (n,).
        logits: of each member, (n, V).
    """

    places: Places
    targets: Targets
    lengths: Lengths
    logits: Sequence[Floats]

    def where(self, rows: Any) -> Read:
        """Return some of the characters."""
        logits = [each[rows] for each in self.logits]
        return Read(self.places[rows], self.targets[rows], self.lengths[rows], logits)


def cross_fit(
    experts: Experts,
    val: Part,
    *,
    report: Callable[[int], None] | None = None,
    max_numbers: int = MAX_NUMBERS,
) -> CrossFit:
    """Fit the weights of a mixture to a validation split.

    Args:
        experts: the members.
        val: the split in their reading order.
        report: called with the number of characters read.
        max_numbers: how many logits are kept in memory; of a longer split, the beginning of each half is fitted.
    """
    number, middle = len(val.ids) - 1, _middle(val)
    most = max(1, max_numbers // (experts.vocab_size * len(experts) * 2))
    kept = _joined(
        piece.where(np.where(piece.places < middle, piece.places, piece.places - middle) < most)
        for piece in _read(experts, val, report)
    )
    is_late = kept.places >= middle
    whole, early, late = (
        fit_weights(each.logits, each.lengths, each.targets, experts.num_lengths)
        for each in (kept, kept.where(~is_late), kept.where(is_late))
    )
    costs, alone = np.zeros(number), np.zeros(len(experts))
    for piece in [kept] if len(kept.places) == number else _read(experts, val, report):
        of_other = np.where((piece.places >= middle)[:, None], early[piece.lengths], late[piece.lengths])
        costs[piece.places] = costs_of(piece.logits, of_other, piece.targets)
        alone += np.array([costs_of([each], np.ones((1, 1)), piece.targets).sum() for each in piece.logits])
    return CrossFit(whole, costs, alone / number)


def _middle(part: Part) -> int:
    """Return where the second half of a split begins: at an item's begin if it has items."""
    if part.boundary is None:
        return len(part.ids) // 2
    boundaries = np.flatnonzero(part.ids == part.boundary)
    return int(boundaries[(len(boundaries) - 1) // 2])


def _read(experts: Experts, part: Part, report: Callable[[int], None] | None) -> Iterator[Read]:
    state: MixtureState = ()
    done = 0
    for stretch in stretches(part):
        if stretch.begins:
            state = experts.initial_state(stretch.inputs.shape[1])
        logits, lengths, state = experts.predict(stretch.inputs, state)
        targets = stretch.targets.astype(np.int64).ravel()
        found = [each.reshape(len(targets), -1).astype(np.float32) for each in logits]
        yield Read(stretch.places.ravel(), targets, lengths.ravel(), found)
        done += len(targets)
        if report:
            report(done)


def _joined(pieces: Iterable[Read]) -> Read:
    found = list(pieces)
    columns = zip(*((each.places, each.targets, each.lengths, *each.logits) for each in found), strict=True)
    places, targets, lengths, *logits = (np.concatenate(column) for column in columns)
    return Read(places, targets, lengths, logits)
