"""One optimiser step: forward pass, cross entropy, truncated back-propagation through time, clipping, update."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from charlm.evaluation.figure import Figure, Figures
from charlm.networks.building import Network
from charlm.networks.inputs import as_tensor
from charlm.networks.language_model import CharLM
from charlm.networks.losses import mean_costs
from charlm.networks.modes import left_to_kernels
from charlm.networks.readouts import Readouts
from charlm.networks.recurrent import State, detach_state
from charlm.settings.model import LossWeights
from charlm.settings.schema import Settings
from charlm.text.windows import Window
from charlm.training.averaging import Blend
from charlm.training.updating import begin_update


@dataclass(frozen=True)
class StepOutcome:
    """The loss of a step, its gradient norm, and the state from which the next window starts."""

    figures: Figures
    gradient_norm: float
    state: State

    @property
    def is_finite(self) -> bool:
        """Whether loss and gradient are numbers; if not, the weights were left unchanged."""
        return self.figures.is_finite and math.isfinite(self.gradient_norm)


def take_step(
    network: Network,
    optimizer: torch.optim.Optimizer,
    windows: Sequence[Window],
    state: State,
    *,
    settings: Settings,
    step: int,
    learning_rate: float,
    blend: Blend | None = None,
) -> StepOutcome:
    """Update the parameters with the mean gradient of some windows; leave them unchanged if it is not finite.

    Args:
        windows: one window, or optimizer.accumulation of them, in order.
        state: the state for the first window; random sampling starts each window from the initial state instead.
        step: counted from 0; dropout is a function of (seed, step).
        blend: how the updated parameters enter their average, if they do.
    """
    if settings.model.draws:
        _seed_dropout(network, _dropout_seed(settings.train.seed, step))
    network.train()
    optimizer.zero_grad(set_to_none=True)
    costs: list[Tensor] = []
    chars = [window.num_predicted for window in windows]
    with left_to_kernels(network):
        for window in windows:
            state = state_before(window, state, network, settings)
            inputs, targets, beyond = (
                as_tensor(ids, network) for ids in (window.inputs, window.targets, window.beyond)
            )
            loss, means, after = read_loss(network, inputs, targets, beyond, state, settings)
            # Detach: back-propagation is truncated here, but the values are kept.
            state = detach_state(after)
            # Each character counts the same; windows of a running text are of equal size.
            torch.autograd.backward(loss / (sum(chars) / window.num_predicted))
            costs.append(means)
        update = begin_update(network, optimizer, settings.optimizer)
        norm = update.clip()
        # This is the only place in a step that waits for a GPU.
        numbers = cast("list[float]", torch.cat([*costs, norm.reshape(1)]).tolist())
        kept = _kept(state, settings.sampling.batch_size)
        outcome = StepOutcome(_total_figures(numbers[:-1], chars), numbers[-1], kept)
        if outcome.is_finite:
            update.apply(learning_rate, outcome.gradient_norm, blend)
    return outcome


def read_loss(
    network: Network, inputs: Tensor, targets: Tensor, beyond: Tensor, state: State, settings: Settings
) -> tuple[Tensor, Tensor, State]:
    """Read a training window, and return its loss and means, as `window_loss` does, and the state after it."""
    smoothing = settings.optimizer.label_smoothing
    if isinstance(network, CharLM):
        loss, mean, state = network.window_cost(inputs, targets, state, smoothing)
        return loss, mean.reshape(1), state
    readouts = network.read_window(inputs, targets, beyond, state)
    loss, means = window_loss(readouts, inputs, targets, settings.model.loss_weights, smoothing=smoothing)
    return loss, means, readouts.state


def window_loss(
    readouts: Readouts, inputs: Tensor, targets: Tensor, weights: LossWeights, *, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return the loss of a window's readouts, in mean nats per character.

    Args:
        readouts: the window's readouts; with a backward stack the loss is the weighted sum of the three.
        inputs: (T, B), which the backward readout predicts.
        targets: (T, B), which the others predict.
        weights: the weights of the three.
        smoothing: share of each target that is spread over all symbols, in the loss only.
    Returns:
        The loss, and the mean of each readout, neither smoothed nor part of the graph: (1,), or (3,) for forward,
        backward and both.
    """
    forward, mean = mean_costs(readouts.forward, targets, smoothing)
    if readouts.backward is None or readouts.both is None:
        return forward, mean.reshape(1)
    backward, backward_mean = mean_costs(readouts.backward, inputs, smoothing)
    both, both_mean = mean_costs(readouts.both, targets, smoothing)
    loss = weights.forward * forward + weights.backward * backward + weights.both * both
    return loss, torch.stack([mean, backward_mean, both_mean])


def state_before(window: Window, state: State, network: Network, settings: Settings) -> State:
    """Return the state from which a window is read.

    Args:
        window: the window; rows of items that have ended are missing at its end.
        state: the state after the window before it.
    """
    rows = window.inputs.shape[1]
    if settings.sampling.method == "random" or window.starts_anew:
        return network.initial_state(rows)
    return state if state[0].shape[1] == rows else tuple(part[:, :rows].contiguous() for part in state)


def _kept(state: State, batch_size: int) -> State:
    """Return a state with as many rows as a checkpoint has; those of items that go on are among them."""
    missing = batch_size - state[0].shape[1]
    return state if missing == 0 else tuple(pad(part, (0, 0, 0, missing)) for part in state)


def _total_figures(means: list[float], chars: list[int]) -> Figures:
    """Add up the windows' readouts, each of which is a mean over that window's characters."""
    num_readouts, first = len(means) // len(chars), chars[0]
    # Relative to the first window, so that equal windows are added up without rounding.
    shares = [count / first for count in chars]
    sums = [
        sum(mean * share for mean, share in zip(means[readout::num_readouts], shares, strict=True)) * first
        for readout in range(num_readouts)
    ]
    return Figures(*(Figure(nats, sum(chars)) for nats in sums))


def _seed_dropout(network: Network, seed: int) -> None:
    if next(network.parameters()).device.type == "cpu":
        # Nothing else draws here, and torch.manual_seed prepares every kind of accelerator, for half a millisecond.
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def _dropout_seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0])
