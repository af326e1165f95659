"""Traces: what each layer of a network reads, holds and does at each character of a text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from charlm.errors import DivergedError
from charlm.insight.readings import readings
from charlm.networks.inputs import as_tensor
from charlm.networks.language_model import CharLM
from charlm.networks.layers import leave_layer
from charlm.networks.modes import evaluating, single_threaded
from charlm.networks.recurrent import State, join_layers
from charlm.networks.reference import layer_gates, trace_cells
from charlm.text.items import Places
from charlm.text.vocabulary import Ids

PIECE_CHARS = 512
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class LayerTrace:
    """One layer over a piece of text.

    Args:
        inputs: what it reads: ids (T, B) in the first layer with one-hot inputs, else features (T, B, E).
        before: its state before each step, h or h and c, each (T, B, H).
        after: its state after each step.
        gates: its gates and its candidate by their letters, each (T, B, H); see `layer_gates`.
    """

    inputs: Tensor
    before: State
    after: State
    gates: Mapping[str, Tensor]


@dataclass(frozen=True)
class Piece:
    """A part of a text, and what the layers of a network did when they read it.

    Args:
        places: where its characters are in the text, (T, B).
        layers: the layers, from the first.
    """

    places: Places
    layers: tuple[LayerTrace, ...]


def trace_text(
    network: CharLM,
    ids: Ids,
    *,
    boundary: int | None = None,
    piece_chars: int = PIECE_CHARS,
    report: Report | None = None,
) -> Iterator[Piece]:
    """Read a text with our cells, in evaluation and without gradients, and yield what they did, piece by piece.

    A running text is read once from first to last, with the state carried over. Items are read from the initial state
    each, those of equal length side by side, so their pieces are not in the order of the text.

    Args:
        network: a causal model, or a half of a bidirectional one; its training mode is restored after each piece.
        ids: the text in the model's reading order, (N,). Each id is read once, the last boundary of items too.
        boundary: the id with which each item begins; None for a running text.
        piece_chars: about how many characters a piece has; it changes no value.
        report: called after each piece with the number of characters done and their total.
    Raises:
        DivergedError: if a state is not a number.
    """
    num_done = 0
    for places in readings(ids, boundary, piece_chars):
        state = network.initial_state(places.shape[1])
        size = max(1, piece_chars // places.shape[1])
        for start in range(0, len(places), size):
            some = places[start : start + size]
            with evaluating(network), single_threaded():
                layers, state = trace_piece(network, as_tensor(ids[some], network), state)
            num_done += some.size
            # Yield outside the context: between two pieces the caller must be in its own mode.
            yield Piece(some, layers)
            if report:
                report(num_done, len(ids))


def trace_piece(network: CharLM, ids: Tensor, state: State) -> tuple[tuple[LayerTrace, ...], State]:
    """Return the traces of all layers over some characters, (T, B), and the state after them."""
    stack = network.recurrent
    inputs = network.embed(ids)
    _, states = trace_cells(stack, inputs, state)
    layers: list[LayerTrace] = []
    for layer, steps in enumerate(states):
        first = tuple(part[layer] for part in state)
        paths = [torch.stack(parts) for parts in zip(first, *steps, strict=True)]  # h or h and c, each (T + 1, B, H)
        if not all(torch.isfinite(path).all() for path in paths):
            raise DivergedError("the state of the model is not a number: its training has diverged")
        before, after = tuple(path[:-1] for path in paths), tuple(path[1:] for path in paths)
        layers.append(LayerTrace(inputs, before, after, layer_gates(stack, layer, inputs, before[0])))
        inputs = leave_layer(stack, layer, inputs, after[0])
    return tuple(layers), join_layers([steps[-1] for steps in states])
