"""Averages of the weights over training. Where the settings ask for one, it is what is evaluated, sampled and saved.

The optimiser keeps training the raw weights; an average only watches them. Polyak and Juditsky 1992 average everything
that SGD visits; NT-ASGD (Merity, Keskar and Socher 2017, algorithm 1) begins that average once validation has stopped
improving; an exponential moving average forgets the beginning by itself.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from charlm.networks.building import Network
from charlm.settings.optimizer import AverageSettings
from charlm.training.progress import Progress

DEFAULT_DECAY = 0.999
DEFAULT_PATIENCE = 5


@dataclass(frozen=True)
class Blend:
    """How weights enter an average.

    Args:
        parameters: the parameters of the average.
        share: the share of the new weights, from 0 to 1.
    """

    parameters: Sequence[Tensor]
    share: float

    def add(self, trained: Network) -> None:
        """Add a network's weights to the average."""
        with torch.no_grad():
            for average, weight in zip(self.parameters, trained.parameters(), strict=True):
                average.lerp_(weight, self.share)


class WeightAverage:
    """A copy of a network whose weights are the average of that network's weights.

    Args:
        network: the network that is trained.
        settings: how its weights are averaged; the method is not none.

    Attributes:
        network: the copy.
        num_averaged: number of steps whose weights it has seen; while this is 0, the average must not be used.
    """

    def __init__(self, network: Network, settings: AverageSettings) -> None:
        self.settings = settings
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.num_averaged = 0

    def next_blend(self, progress: Progress) -> Blend | None:
        """Return how the weights after the next step enter the average, or None if averaging has not begun."""
        if self.settings.method == "triggered" and not progress.is_averaging:
            return None
        number = self.num_averaged + 1
        share = 1 / number
        if self.settings.method == "ema":
            # Early on, keep less than `decay`, or the first weights would count as if they had always been there.
            share = 1 - min(self.settings.decay or DEFAULT_DECAY, (number - 1) / (number + 8))
        return Blend(tuple(self.network.parameters()), share)

    def after_step(self, progress: Progress) -> Progress:
        """Count the weights after a step, which have been added, and return the updated progress."""
        self.num_averaged += 1
        return replace(progress, num_averaged=self.num_averaged)

    def after_evaluation(self, progress: Progress, val_nats_per_char: float | None) -> Progress:
        """Return the progress, in which a triggered average begins once validation has become worse.

        The comparison is with the best of all evaluations except the last few (the non-monotone interval).
        """
        if self.settings.method != "triggered" or progress.is_averaging or val_nats_per_char is None:
            return progress
        to_beat, recent = progress.val_to_beat, (*progress.recent_vals, val_nats_per_char)
        is_averaging = to_beat is not None and val_nats_per_char > to_beat
        if len(recent) > (self.settings.patience or DEFAULT_PATIENCE):
            to_beat = recent[0] if to_beat is None else min(to_beat, recent[0])
            recent = recent[1:]
        return replace(progress, is_averaging=is_averaging, val_to_beat=to_beat, recent_vals=recent)

    def restore(self, weights: Mapping[str, Tensor], num_averaged: int) -> None:
        """Restore the average from a checkpoint."""
        self.network.load_state_dict(dict(weights))
        self.num_averaged = num_averaged
