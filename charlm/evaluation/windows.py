"""Read texts window by window, and compare what a model predicts with the characters that followed.

The state is carried over, so that only one window's logits are in memory. For a model that reads from the end, a first
pass keeps the state at each window, and a second pass scores the windows in the order of the text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from charlm.networks.costs import Costs, costs_after, target_costs
from charlm.networks.predictor import Floats, Predictor
from charlm.settings.model import Direction
from charlm.text.vocabulary import Ids

if TYPE_CHECKING:
    from charlm.networks.building import Network

    Readable = Network | Predictor

CHUNK_CHARS = 2048
BITS_PER_NAT = 1 / math.log(2)


@dataclass(frozen=True)
class Prediction:
    """What a model predicts about T characters of each of B texts.

    Args:
        start: the position of the first of them.
        targets: the characters, (T, B).
        logits: their logits, (T, B, V), given everything before them in reading order.
        both: their logits given everything on both sides; None unless the model is bidirectional.
    """

    start: int
    targets: npt.NDArray[np.integer[Any]]
    logits: Floats
    both: Floats | None = None


@dataclass(frozen=True)
class ScoredWindow:
    """The costs of T characters of each of B texts, from position `start` on: nats and ids, each (T, B)."""

    start: int
    nats: Costs
    ranks: npt.NDArray[np.int64]
    likeliest: npt.NDArray[np.int64]
    likeliest_nats: Costs
    cloze_nats: Costs | None


def score_windows(model: Readable, ids: Ids, *, direction: Direction, chunk_chars: int) -> Iterator[ScoredWindow]:
    """Yield the costs of texts of equal length, window by window; they are read in parallel from the initial state.

    Args:
        model: the model; a network's training mode is restored after each window.
        ids: the texts, (N, B). All characters but the first of each are scored; for a backward model, all but the last.
        direction: the model's direction.
        chunk_chars: number of characters in a window, all texts together; at least one of each text is read.
    Raises:
        DivergedError: if a probability is not a number.
    """
    size = max(1, chunk_chars // ids.shape[1])
    return map(_score, predictions(model, ids, direction, size))


def predictions(model: Readable, ids: Ids, direction: Direction, size: int) -> Iterator[Prediction]:
    """Yield what a model predicts about texts of equal length, `size` characters of each at a time."""
    if not isinstance(model, Predictor):
        # Only this needs torch.
        from charlm.evaluation.network_windows import network_predictions

        return network_predictions(model, ids, direction, size)
    return _read_backwards(model, ids, size) if direction == "backward" else _read_onwards(model, ids, size)


def next_costs(predictor: Predictor, ids: Ids) -> Costs:
    """Return what each symbol would cost as the next character after a text in reading order, in nats, (V,).

    Raises:
        DivergedError: if a probability is not a number.
    """
    state, logits = predictor.initial_state(1), None
    for start in range(0, len(ids), CHUNK_CHARS):
        logits, state = predictor.read(ids[start : start + CHUNK_CHARS, None], state)
    assert logits is not None
    return costs_after(logits[0])


def _read_onwards(predictor: Predictor, ids: Ids, size: int) -> Iterator[Prediction]:
    state = predictor.initial_state(ids.shape[1])
    for start in range(0, len(ids) - 1, size):
        targets = ids[start + 1 : start + size + 1]
        logits, state = predictor.predict(ids[start : start + len(targets)], state)
        yield Prediction(start + 1, targets, logits)


def _read_backwards(predictor: Predictor, ids: Ids, size: int) -> Iterator[Prediction]:
    starts = range(0, len(ids) - 1, size)
    state: Any = predictor.initial_state(ids.shape[1])
    states: list[Any] = []
    for start in reversed(starts):
        states.append(state)
        _, state = predictor.read(ids[start + 1 : start + size + 1][::-1], state)
    for start, before in zip(starts, reversed(states), strict=True):
        text = ids[start : start + size + 1]
        logits, _ = predictor.predict(text[:0:-1], before)
        yield Prediction(start, text[:-1], logits[::-1])


def _score(found: Prediction) -> ScoredWindow:
    """Compare what was predicted with the characters that followed."""
    nats, likeliest_nats = target_costs(found.logits, found.targets)
    of_target = np.take_along_axis(found.logits, found.targets.astype(np.int64)[..., None], -1)
    return ScoredWindow(
        start=found.start,
        nats=nats,
        ranks=(found.logits > of_target).sum(-1) + 1,
        likeliest=found.logits.argmax(-1),
        likeliest_nats=likeliest_nats,
        cloze_nats=None if found.both is None else target_costs(found.both, found.targets)[0],
    )
