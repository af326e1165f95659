"""How much the prediction of a character depends on the states before it: the norm of its gradient, by lag.

With L_t the cost of the character after time step t and h_{t-k} the state of a layer k steps earlier,

    |dL_t / dh_{t-k}|    k = 0, 1, 2 ..

falls like a power of k where gradients vanish, and grows like one where they explode (Bengio, Simard and Frasconi
1994; Pascanu, Mikolov and Bengio 2013). Nothing is truncated here but the window itself.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, linear

from charlm.insight.places import Windows, read_windows, sample_places
from charlm.networks.language_model import CharLM
from charlm.networks.modes import single_threaded
from charlm.networks.reference import trace_cells
from charlm.text.vocabulary import Ids

MAX_LAG = 200
NUM_PLACES = 128


@dataclass(frozen=True)
class LayerGradients:
    """The mean gradient norms of a layer by lag, k = 0, 1 .. in nats per unit of state.

    Args:
        layer: the layer, counted from 1.
        hidden: the mean of |dL_t / dh_{t-k}|.
        cell: the mean of |dL_t / dc_{t-k}|; None unless the cell is an LSTM.
    """

    layer: int
    hidden: tuple[float, ...]
    cell: tuple[float, ...] | None = None


@dataclass(frozen=True)
class GradientsByLag:
    """The gradient norms of every layer by lag.

    Args:
        num_places: how many predicted characters the means are over.
        num_at_lag: for each lag, how many of them have a state that far back; items are often shorter.
        layers: each layer's norms.
    """

    num_places: int
    num_at_lag: tuple[int, ...]
    layers: tuple[LayerGradients, ...]


def gradients_by_lag(
    network: CharLM,
    ids: Ids,
    *,
    boundary: int | None = None,
    max_lag: int = MAX_LAG,
    num_places: int = NUM_PLACES,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> GradientsByLag:
    """Measure the gradient of the cost of sampled characters with respect to the states before them.

    They are computed in float64, so that even gradients that have all but vanished are told apart.

    Args:
        network: the model.
        ids: a text in the model's reading order, (N,), at least two characters; the state is carried from its begin.
        boundary: the id between two items; None for a running text.
        max_lag: the greatest k; a short text has fewer.
        num_places: how many predicted characters to sample.
        seed: the random seed that chooses them.
        report: called with the number of characters done and the total.
    """
    precise = copy.deepcopy(network).double().eval()
    targets, starts = sample_places(ids, boundary, number=num_places, reach=max_lag + 1, seed=seed)
    num_lags = int((targets - starts).max())
    num_parts = len(network.initial_state(1))
    sums = np.zeros((network.model.num_layers, num_parts, num_lags))
    counts = np.zeros(num_lags, np.int64)
    num_done = 0
    for windows in read_windows(network, ids, boundary, targets, starts):
        with single_threaded():
            gradients = window_gradients(precise, windows).cpu().numpy()
        norms = np.linalg.norm(gradients, axis=-1)  # (L, parts, T, B)
        length, num_texts = norms.shape[2:]
        sums[..., :length] += norms.sum(-1)[..., ::-1]
        counts[:length] += num_texts
        num_done += num_texts
        if report:
            report(num_done, len(targets))
    means: list[list[list[float]]] = (sums / counts).tolist()
    layers = (
        LayerGradients(number, tuple(hidden), *(tuple(part) for part in cell))
        for number, (hidden, *cell) in enumerate(means, 1)
    )
    return GradientsByLag(len(targets), tuple(counts.tolist()), tuple(layers))


def window_gradients(network: CharLM, windows: Windows) -> Tensor:
    """Return dL/dh and dL/dc after each step of each window, (L, parts, T, B, H), L being the cost of its target.

    Args:
        network: the model in evaluation mode, in float64.
        windows: what it reads.
    """
    # The values before the window are constants, but their derivatives must be recorded from here on.
    state = tuple(part.clone().requires_grad_() for part in windows.state)
    hidden, states = trace_cells(network.recurrent, network.embed(windows.ids), state)
    logits = linear(hidden[-1], network.decoder.weight, network.decoder.bias)  # (B, V)
    # The rows are independent, so that the gradient of the sum holds that of each.
    cost = cross_entropy(logits, windows.targets, reduction="sum")
    parts = [part for layer in states for after in layer for part in after]
    # With zoneout, the last cell state is kept for a step that is no longer in the window: its gradient is zero.
    gradients = torch.autograd.grad(cost, parts, allow_unused=True, materialize_grads=True)
    found = torch.stack(gradients)  # (L * T * parts, B, H)
    return found.view(len(states), len(states[0]), len(state), *found.shape[1:]).transpose(1, 2)
