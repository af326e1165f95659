"""Reading a text once from first to last, the state carried, to measure a model.

There are no windows here. A backward half reads from last to first; both are run in chunks, whose size is a choice of
speed and changes no figure.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from charlm.evaluation.figure import Figure, Figures
from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.building import Network
from charlm.networks.recurrent import State
from charlm.text.vocabulary import Ids

CHUNK_CHARS = 2048
Costs = npt.NDArray[np.float64]


def evaluate(
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
    was_training = network.training
    network.eval()
    with torch.inference_mode():
        if isinstance(network, BidirectionalLM):
            figures = _read_both_ways(network, text, chunk_chars, report, observe)
        else:
            figures = _read_onwards(network, text, chunk_chars, report, observe)
    network.train(was_training)
    return figures


def sum_nats(logits: Tensor, targets: Tensor, observe: Callable[[Costs], None] | None = None) -> float:
    """Return what some targets (T, B) cost under logits (T, B, V), summed in float64.

    Args:
        observe: called with each target's cost, (T * B,).
    """
    losses = cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").double()
    if observe:
        observe(losses.cpu().numpy())
    return losses.sum().item()


def text_tensor(ids: Ids, network: Network) -> Tensor:
    """Return a text as one stream (N, 1) on the network's device."""
    device = next(network.parameters()).device
    return torch.from_numpy(ids.astype(np.int64, order="C")).to(device).unsqueeze(1)


def _read_onwards(
    network: Network,
    ids: Ids,
    chunk_chars: int,
    report: Callable[[int], None] | None,
    observe: Callable[[Costs], None] | None,
) -> Figures:
    nats, num_predicted = 0.0, len(ids) - 1
    state = network.initial_state(1)
    for start in range(0, num_predicted, chunk_chars):
        end = min(start + chunk_chars, num_predicted)
        text = text_tensor(ids[start : end + 1], network)
        logits, state = network(text[:-1], state)  # (T, 1, V)
        nats += sum_nats(logits, text[1:], observe)
        if report:
            report(end)
    return Figures(Figure(nats, num_predicted))


def _read_both_ways(
    network: BidirectionalLM,
    ids: Ids,
    chunk_chars: int,
    report: Callable[[int], None] | None,
    observe: Callable[[Costs], None] | None,
) -> Figures:
    num_predicted = len(ids) - 1
    forward, backward, cloze = 0.0, 0.0, 0.0
    state = network.initial_state(1)
    starts = range(0, num_predicted, chunk_chars)
    for start, backward_state in zip(starts, _backward_states(network, ids, starts), strict=True):
        end = min(start + chunk_chars, num_predicted)
        text = text_tensor(ids[start : end + 1], network)
        inputs, targets = text[:-1], text[1:]
        readouts, _ = network(inputs, targets, state, backward_state)
        state = readouts.state
        forward += sum_nats(readouts.forward, targets, observe)
        backward += sum_nats(readouts.backward, inputs)
        cloze += sum_nats(readouts.both, targets)
        if report:
            report(end)
    return Figures(Figure(forward, num_predicted), Figure(backward, num_predicted), Figure(cloze, num_predicted))


def _backward_states(network: BidirectionalLM, ids: Ids, starts: range) -> list[State]:
    """Return, for each chunk, the backward half's state after all that lies beyond it.

    Only these states are kept while the text is read from its end; each chunk's own hidden states are computed again
    when it is scored, so that memory does not grow with the text.
    """
    state = network.backward_half.initial_state(1)
    states: list[State] = []
    for start in reversed(starts):
        states.append(state)
        text = text_tensor(ids[start + 1 : start + starts.step + 1], network)
        _, state = network.backward_half.read(text.flip(0), state)
    return states[::-1]
