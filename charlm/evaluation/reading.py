"""Reading a text once from first to last, the state carried, to measure a model.

There are no windows here. Texts are read in chunks, whose size is a choice of speed and changes no figure. A backward
half reads from last to first: a first pass keeps its state at each chunk alone, and its hidden states are computed
again when the chunk is measured, so that memory does not grow with the text.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from charlm.evaluation.figure import Figure, Figures
from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.building import Network
from charlm.networks.inputs import as_tensor
from charlm.networks.language_model import CharLM
from charlm.networks.readouts import Readouts
from charlm.networks.recurrent import State, detach_state
from charlm.text.vocabulary import Ids

CHUNK_CHARS = 2048
Costs = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Chunk:
    """What a network says about the next T characters of B texts.

    Args:
        end: characters of each text predicted so far, these among them.
        inputs: (T, B).
        targets: the inputs moved on by one character, (T, B).
        readouts: logits (T, B, V), and the state after the chunk.
    """

    end: int
    inputs: Tensor
    targets: Tensor
    readouts: Readouts


@contextmanager
def evaluating(network: Network) -> Generator[None]:
    """Do without dropout and gradients; afterwards the network is in the mode it was in."""
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        network.train(was_training)


def read_chunks(network: Network, ids: Ids, chunk_chars: int) -> Iterator[Chunk]:
    """Read texts of one length side by side, from the initial state; the state is carried, without its history.

    A chunk is read when it is asked for, with the weights and in the mode as they are then.

    Args:
        network: the model.
        ids: the texts in the model's reading order, (N, B), of which all but the first characters are predicted.
        chunk_chars: characters of each text that are read at once.
    """
    starts = range(0, len(ids) - 1, chunk_chars)
    state = network.initial_state(ids.shape[1])
    states_behind = [state] * len(starts)
    if isinstance(network, BidirectionalLM):
        states_behind = read_states_behind(network.backward_half, ids, starts)
    for start, state_behind in zip(starts, states_behind, strict=True):
        text = as_tensor(ids[start : start + chunk_chars + 1], network)
        inputs, targets = text[:-1], text[1:]
        if isinstance(network, BidirectionalLM):
            readouts, _ = network(inputs, targets, state, state_behind)
        else:
            readouts = Readouts(*network(inputs, state))
        state = detach_state(readouts.state)
        yield Chunk(start + len(targets), inputs, targets, readouts)


def read_states_behind(network: CharLM, ids: Ids, starts: range) -> list[State]:
    """Return, for each chunk, the state of a model that reads from the end after all that lies beyond the chunk.

    Args:
        network: a backward model, or a bidirectional one's backward half.
        ids: the texts in their own order, (N, B).
        starts: of the chunks, whose size is their step; a chunk's last character is its neighbour's first.
    """
    state = network.initial_state(ids.shape[1])
    states: list[State] = []
    for start in reversed(starts):
        states.append(state)
        text = as_tensor(ids[start + 1 : start + starts.step + 1], network)
        _, state = network.read(text.flip(0), state)
    return states[::-1]


def measure_text(
    network: Network,
    ids: Ids,
    *,
    max_chars: int | None = None,
    chunk_chars: int = CHUNK_CHARS,
    report: Callable[[int], None] | None = None,
    observe: Callable[[Costs], None] | None = None,
) -> Figures:
    """Read a text as one stream and add up what each of its characters costs.

    The forward figure leaves out the first character, the backward one the last, which nothing comes before; the cloze
    figure predicts the same characters as the forward one.

    Args:
        network: the model; its training mode is as before afterwards.
        ids: the text in the model's reading order, (N,), at least two characters.
        max_chars: read only the first so many.
        chunk_chars: characters run at once.
        report: called with the number of characters done, after each chunk.
        observe: called with what each character of a chunk costs in the main figure, nats, (n,), in order.
    """
    assert len(ids) >= 2
    text = ids[: max_chars or len(ids)]
    figures: list[Figures] = []
    with evaluating(network):
        for chunk in read_chunks(network, text[:, None], chunk_chars):
            figures.append(_chunk_figures(chunk, observe))
            if report:
                report(chunk.end)
    return reduce(add, figures)


def sum_nats(logits: Tensor, targets: Tensor, observe: Callable[[Costs], None] | None = None) -> float:
    """Return what some targets (T, B) cost under logits (T, B, V), summed in float64.

    Args:
        observe: called with each target's cost, (T * B,).
    """
    losses = cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").double()
    if observe:
        observe(losses.cpu().numpy())
    return losses.sum().item()


def _chunk_figures(chunk: Chunk, observe: Callable[[Costs], None] | None) -> Figures:
    inputs, targets, readouts = chunk.inputs, chunk.targets, chunk.readouts
    main = Figure(sum_nats(readouts.forward, targets, observe), len(targets))
    if readouts.backward is None or readouts.both is None:
        return Figures(main)
    backward = Figure(sum_nats(readouts.backward, inputs), len(targets))
    return Figures(main, backward, Figure(sum_nats(readouts.both, targets), len(targets)))
