"""What a torch network predicts about texts, window by window; the kernels alone do without this module."""

from __future__ import annotations

from collections.abc import Iterator

from charlm.evaluation.reading import read_chunks, read_states_behind
from charlm.evaluation.windows import Prediction
from charlm.networks.building import Network
from charlm.networks.inputs import as_tensor
from charlm.networks.language_model import CharLM
from charlm.networks.modes import evaluating
from charlm.settings.model import Direction
from charlm.text.vocabulary import Ids


def network_predictions(network: Network, ids: Ids, direction: Direction, size: int) -> Iterator[Prediction]:
    """Yield what a network predicts; see `charlm.evaluation.windows.predictions`."""
    read = _read_backwards if direction == "backward" else _read_onwards
    windows = read(network, ids, size)
    while True:
        with evaluating(network):
            window = next(windows, None)
        # Yield outside the context: between two windows the caller must be in its own mode.
        if window is None:
            return
        yield window


def _read_onwards(network: Network, ids: Ids, size: int) -> Iterator[Prediction]:
    for chunk in read_chunks(network, ids, size):
        both = chunk.readouts.both
        yield Prediction(
            start=chunk.end - len(chunk.targets) + 1,
            targets=chunk.targets.cpu().numpy(),
            logits=chunk.readouts.forward.cpu().numpy(),
            both=None if both is None else both.cpu().numpy(),
        )


def _read_backwards(network: Network, ids: Ids, size: int) -> Iterator[Prediction]:
    assert isinstance(network, CharLM)
    starts = range(0, len(ids) - 1, size)
    for start, state in zip(starts, read_states_behind(network, ids, starts), strict=True):
        text = as_tensor(ids[start : start + size + 1], network)
        logits, _ = network(text[1:].flip(0), state)
        yield Prediction(start, ids[start : start + len(text) - 1], logits.flip(0).cpu().numpy())
