"""Read a text once from first to last, with the state carried over, to measure a model.

There are no windows here. Texts are read in chunks, whose size affects the speed but no result. A backward half reads
from last to first: a first pass keeps only its state at each chunk, and its hidden states are computed again when the
chunk is measured, so that memory does not grow with the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add

from torch import Tensor
from torch.nn.functional import cross_entropy

from charlm.evaluation.figure import Figure, Figures
from charlm.evaluation.windows import CHUNK_CHARS
from charlm.networks.bidirectional import BidirectionalLM
from charlm.networks.building import Network
from charlm.networks.costs import Costs
from charlm.networks.inputs import as_tensor
from charlm.networks.language_model import CharLM
from charlm.networks.modes import evaluating, left_to_kernels
from charlm.networks.readouts import Readouts
from charlm.networks.recurrent import State, detach_state
from charlm.text.vocabulary import Ids


@dataclass(frozen=True)
class Chunk:
    """What a network predicts about the next T characters of B texts.

    Args:
        end: number of characters of each text predicted so far, including these.
        inputs: the ids that are read, (T, B).
        targets: the inputs shifted by one character, (T, B).
        readouts: logits (T, B, V), and the state after the chunk.
    """

    end: int
    inputs: Tensor
    targets: Tensor
    readouts: Readouts


def read_chunks(network: Network, ids: Ids, chunk_chars: int) -> Iterator[Chunk]:
    """Read texts of equal length in parallel from the initial state; the state is carried over, detached.

    A chunk is read only when it is requested, with the weights and the mode that the network has then.

    Args:
        network: the model.
        ids: the texts in the model's reading order, (N, B); all characters except the first of each are predicted.
        chunk_chars: number of characters of each text that are read at once.
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
    """Return, for each chunk, the state that a model reading from the end has after everything behind the chunk.

    Args:
        network: a backward model, or the backward half of a bidirectional model.
        ids: the texts in their own order, (N, B).
        starts: where the chunks start; their size is the step. A chunk's last character is the next chunk's first.
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
    """Read a text as one stream and add up the costs of its characters.

    The forward result leaves out the first character and the backward result the last, because nothing comes before
    them in reading order. The cloze result predicts the same characters as the forward result.

    Args:
        network: the model; its training mode is restored afterwards.
        ids: the text in the model's reading order, (N,), at least two characters.
        max_chars: read only this many characters from the beginning; None reads them all.
        chunk_chars: number of characters processed at once.
        report: called after each chunk with the number of characters done.
        observe: called with the costs of a chunk's characters in the main result, in nats, (n,), in order.
    """
    assert len(ids) >= 2
    text = ids[: max_chars or len(ids)]
    figures: list[Figures] = []
    with evaluating(network), left_to_kernels(network):
        for chunk in read_chunks(network, text[:, None], chunk_chars):
            figures.append(_chunk_figures(chunk, observe))
            if report:
                report(chunk.end)
    return reduce(add, figures)


def sum_nats(logits: Tensor, targets: Tensor, observe: Callable[[Costs], None] | None = None) -> float:
    """Return the total cost in nats of targets (T, B) under logits (T, B, V), summed in float64.

    Args:
        observe: called with the cost of each target, (T * B,).
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
