"""Sampled places of a text, each with the window of characters before it and the state that reading left there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from charlm.insight.readings import item_starts
from charlm.networks.inputs import as_tensor
from charlm.networks.language_model import CharLM
from charlm.networks.modes import single_threaded
from charlm.networks.recurrent import State
from charlm.text.items import Places
from charlm.text.vocabulary import Ids

# Windows that are computed at once; more of them need more memory and are hardly faster.
WINDOWS_AT_ONCE = 32


@dataclass(frozen=True)
class Windows:
    """Windows of equal length, side by side, each followed by the character that is to be predicted.

    Args:
        ids: the windows, (T, B), on the network's device.
        targets: the character after each, (B,).
        state: the state before them, as the text before each has left it, each part (L, B, H), in float64.
    """

    ids: Tensor
    targets: Tensor
    state: State


def sample_places(ids: Ids, boundary: int | None, *, number: int, reach: int, seed: int) -> tuple[Places, Places]:
    """Choose characters of a text at random, and say where the window before each begins.

    Args:
        ids: the text in reading order, (N,).
        boundary: the id between two items, before which no window begins; None for a running text.
        number: how many characters to choose; a short text has fewer.
        reach: how many time steps a window has at most. Those of a running text are all of the same length: a text that
            is not longer has windows of half its length.
        seed: the random seed.
    Returns:
        The place of each character that is to be predicted, in order, and the place of the first character of its
        window, which ends before it.
    """
    if boundary is None:
        reach = min(reach, max(1, len(ids) // 2))
        choices = np.arange(reach, len(ids))
    else:
        choices = np.arange(1, len(ids))
    chosen = np.random.default_rng(seed).choice(choices, min(number, len(choices)), replace=False)
    targets = np.sort(chosen).astype(np.int64)
    starts = targets - reach
    if boundary is not None:
        # The window of a character begins no earlier than its item, whose begin is the boundary before it.
        begins = item_starts(ids, boundary)
        starts = np.maximum(starts, begins[np.searchsorted(begins, targets) - 1])
    return targets, starts


def read_windows(network: CharLM, ids: Ids, boundary: int | None, targets: Places, starts: Places) -> Iterator[Windows]:
    """Yield the windows before chosen characters, those of equal length together.

    Args:
        network: the model that reads, in evaluation mode.
        ids: the text in reading order, (N,).
        boundary: the id between two items, at which reading begins anew; None for a running text.
        targets: the places of the characters, in order.
        starts: the place of the first character of each window.
    """
    states = _states_before(network, ids, boundary, starts)
    lengths = targets - starts
    for length in np.unique(lengths):
        same = np.flatnonzero(lengths == length)
        for first in range(0, len(same), WINDOWS_AT_ONCE):
            rows = same[first : first + WINDOWS_AT_ONCE]
            yield Windows(
                as_tensor(ids[starts[rows] + np.arange(length)[:, None]], network),
                as_tensor(ids[targets[rows]], network),
                tuple(torch.cat([states[row][part] for row in rows], 1).double() for part in range(len(states[0]))),
            )


def _states_before(network: CharLM, ids: Ids, boundary: int | None, starts: Places) -> list[State]:
    """Return the state before each place, each part (L, 1, H), from reading everything before it in order."""
    states: list[State] = []
    state, read_to = network.initial_state(1), 0
    with torch.inference_mode(), single_threaded():
        for start in starts:
            if boundary is not None and (ends := np.flatnonzero(ids[read_to : start + 1] == boundary)).size:
                state, read_to = network.initial_state(1), read_to + int(ends[-1])
            if start > read_to:
                _, state = network.read(as_tensor(ids[read_to:start, None], network), state)
                read_to = start
            states.append(state)
    return states
