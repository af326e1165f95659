"""One optimiser step: forward, cross entropy, truncated back-propagation through time, clip, move."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from charlm.evaluation.figure import Figure
from charlm.networks.language_model import CharLM
from charlm.networks.recurrent import State, detach_state
from charlm.settings.schema import Settings
from charlm.text.vocabulary import Ids
from charlm.text.windows import Window
from charlm.training.optimizer import clip_gradients, set_learning_rate


@dataclass(frozen=True)
class StepOutcome:
    """What a step cost, how steep it was, and the state that the next window starts from."""

    figure: Figure
    gradient_norm: float
    state: State

    @property
    def is_finite(self) -> bool:
        """Whether loss and gradient are numbers; where not, the weights were left as they are."""
        return math.isfinite(self.figure.nats) and math.isfinite(self.gradient_norm)


def take_step(
    network: CharLM,
    optimizer: torch.optim.Optimizer,
    windows: Sequence[Window],
    state: State,
    *,
    settings: Settings,
    step: int,
    learning_rate: float,
) -> StepOutcome:
    """Move the parameters along the mean gradient of some windows; where it is not finite, leave them.

    Args:
        windows: one, or optimizer.accumulation of them, in order.
        state: that the first window starts from, detached; random sampling starts each from zero.
        step: counted from 0; dropout is a function of (seed, step).
    """
    if settings.model.dropout > 0:
        torch.manual_seed(_dropout_seed(settings.train.seed, step))
    network.train()
    optimizer.zero_grad(set_to_none=True)
    total, num_chars = 0.0, 0
    for window in windows:
        if settings.sampling.method == "random":
            state = network.zero_state(settings.sampling.batch_size)
        targets = as_tensor(window.targets, network.decoder.weight.device)  # (T, B)
        logits, state = network(as_tensor(window.inputs, targets.device), state)  # (T, B, V)
        # Detach: back-propagation is truncated here, the values are kept.
        state = detach_state(state)
        loss = cross_entropy(logits.flatten(0, 1), targets.flatten())
        torch.autograd.backward(loss / len(windows))
        total += loss.item() * targets.numel()
        num_chars += targets.numel()
    norm = clip_gradients(network.parameters(), settings.optimizer).item()
    outcome = StepOutcome(Figure(total, num_chars), norm, state)
    if outcome.is_finite:
        set_learning_rate(optimizer, learning_rate)
        optimizer.step()
    return outcome


def as_tensor(ids: Ids, device: torch.device) -> Tensor:
    """Return ids as int64 on a device."""
    return torch.from_numpy(ids.astype(np.int64)).to(device)


def _dropout_seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0])
