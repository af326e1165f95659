"""Averages of the weights over training. Where the settings ask for one, it is what is evaluated, sampled and saved.

The optimiser keeps training the raw weights; an average only watches them. Polyak and Juditsky 1992 average everything
that SGD visits; NT-ASGD (Merity, Keskar and Socher 2017, algorithm 1) begins that average once validation has stopped
improving; an exponential moving average forgets the beginning by itself.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from charlm.networks.building import Network
from charlm.settings.optimizer import AverageSettings
from charlm.training.progress import Progress

DEFAULT_DECAY = 0.999
DEFAULT_PATIENCE = 5


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

    def after_step(self, trained: Network, progress: Progress) -> Progress:
        """Add the weights after a step if averaging has begun, and return the updated progress."""
        if self.settings.method == "triggered" and not progress.is_averaging:
            return progress
        self.num_averaged += 1
        number = self.num_averaged
        share = 1 / number
        if self.settings.method == "ema":
            # Early on, keep less than `decay`, or the first weights would count as if they had always been there.
            share = 1 - min(self.settings.decay or DEFAULT_DECAY, (number - 1) / (number + 8))
        with torch.no_grad():
            for average, weight in zip(self.network.parameters(), trained.parameters(), strict=True):
                average.lerp_(weight, share)
        return replace(progress, num_averaged=number)

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
