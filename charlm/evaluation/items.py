"""Measure a model on items: each is read from its begin to its end, and from the initial state."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from charlm.evaluation.figure import Figure, Figures
from charlm.evaluation.predicted import measure_predictor
from charlm.evaluation.reading import measure_text, read_chunks, sum_nats
from charlm.evaluation.windows import CHUNK_CHARS
from charlm.networks.building import Network
from charlm.networks.costs import Costs
from charlm.networks.modes import evaluating, left_to_kernels
from charlm.networks.predictor import Predictor
from charlm.text.items import first_items, item_spans
from charlm.text.splits import Part
from charlm.text.vocabulary import Ids


def measure_part(
    network: Network | Predictor,
    part: Part,
    *,
    max_chars: int | None = None,
    report: Callable[[int], None] | None = None,
    observe: Callable[[Costs], None] | None = None,
) -> Figures:
    """Measure a model on a split or another text: as one stream, or item by item; see `measure_text`."""
    if isinstance(network, Predictor):
        # Only training reads a beginning, and it trains networks.
        assert max_chars is None
        return measure_predictor(network, part, report=report, observe=observe)
    if part.boundary is None:
        return measure_text(network, part.ids, max_chars=max_chars, report=report, observe=observe)
    return measure_items(network, part.ids, part.boundary, max_chars=max_chars, report=report, observe=observe)


def measure_items(
    network: Network,
    ids: Ids,
    boundary: int,
    *,
    max_chars: int | None = None,
    chunk_chars: int = CHUNK_CHARS,
    report: Callable[[int], None] | None = None,
    observe: Callable[[Costs], None] | None = None,
) -> Figures:
    """Add up the costs of the characters and the ends of all items.

    Items of equal length are read side by side, so that none needs padding.

    Args:
        network: a model that reads in one direction; its training mode is restored afterwards.
        ids: the items in the model's reading order, with boundaries before, between and after them, (N,).
        boundary: the id of the boundary.
        max_chars: read only the first items that have this many characters, or the first one; None reads them all.
        chunk_chars: about how many characters are processed at once.
        report: called after each chunk with the number of characters done.
        observe: called with the costs of all characters in nats, (N - 1,), in the order of the text.
    """
    text = ids if max_chars is None else first_items(ids, boundary, max_chars)
    costs, nats, num_done = np.zeros(len(text) - 1, np.float32), 0.0, 0
    with evaluating(network), left_to_kernels(network):
        for spans in item_spans(text, boundary, chunk_chars):
            for chunk in read_chunks(network, text[spans], max(1, chunk_chars // spans.shape[1])):
                size = len(chunk.targets)
                found: list[Costs] = []
                nats += sum_nats(chunk.readouts.forward, chunk.targets, found.append)
                # The cost of a character stands where the character before it stands.
                costs[spans[chunk.end - size : chunk.end]] = found[0].reshape(size, -1)
                num_done += chunk.targets.numel()
                if report:
                    report(num_done)
    if observe:
        observe(costs.astype(np.float64))
    return Figures(Figure(nats, len(text) - 1))
