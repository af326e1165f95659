"""A loss or gradient that is not a number: what is said of it, and which text did it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from charlm.networks.inputs import as_tensor
from charlm.networks.recurrent import State
from charlm.text.windows import Window
from charlm.training.experiment import Experiment

SHOWN_CHARS = 60


def describe_divergence(step: int, learning_rate: float, gradient_norm: float, *, text: str | None) -> str:
    """Say at which step, learning rate and gradient norm, and in which text.

    Args:
        step: from 1.
        text: that cost too much; None where the step itself made the weights so.
    """
    where = f"in the text {text!r}" if text is not None else "that step itself made the weights so"
    return (
        f"the loss is no longer finite at step {step:,} with learning rate {learning_rate:g} and gradient norm "
        f"{gradient_norm:g}: {where}"
    )


def worst_text(experiment: Experiment, windows: Sequence[Window], state: State) -> str:
    """Return the beginning of the stream that cost most, the first that is not a number before all others.

    Args:
        windows: of a step, in order; the weights are still those that read them.
        state: that the first of them started from.
    """
    settings, network = experiment.settings, experiment.network
    worst, text = -float("inf"), windows[0].inputs[:, 0]
    with torch.no_grad():
        for window in windows:
            if settings.sampling.method == "random":
                state = network.initial_state(settings.sampling.batch_size)
            inputs, targets, beyond = (
                as_tensor(ids, network) for ids in (window.inputs, window.targets, window.beyond)
            )
            readouts = network.read_window(inputs, targets, beyond, state)
            state = readouts.state
            costs = _stream_costs(readouts.forward, targets).nan_to_num(nan=float("inf"), posinf=float("inf"))
            stream = int(costs.argmax())
            if float(costs[stream]) > worst:
                worst, text = float(costs[stream]), window.inputs[:, stream]
    return experiment.vocabulary.decode(text[:SHOWN_CHARS])


def _stream_costs(logits: Tensor, targets: Tensor) -> Tensor:
    """Return what each stream of a window cost, (B,)."""
    costs = cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return costs.view(targets.shape).mean(0)
