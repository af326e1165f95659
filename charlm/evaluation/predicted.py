"""Read a split with a predictor and measure it: as one stream, or item by item, without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from charlm.evaluation.figure import Figure, Figures
from charlm.evaluation.windows import CHUNK_CHARS
from charlm.networks.costs import Costs, target_costs
from charlm.networks.predictor import IdArray, Predictor
from charlm.text.items import item_spans
from charlm.text.splits import Part

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Stretch:
    """Some characters of a split, to be read by texts side by side.

    Args:
        inputs: what is read, (T, B).
        targets: what follows each of them, (T, B).
        places: where the inputs stand in the split, (T, B).
        begins: whether they are read from the initial state; otherwise after the stretch before.
    """

    inputs: IdArray
    targets: IdArray
    places: Places
    begins: bool


def stretches(part: Part, *, chunk_chars: int = CHUNK_CHARS) -> Iterator[Stretch]:
    """Yield a split in stretches: a running text in order, and items of equal length side by side.

    Args:
        part: the split in the model's reading order.
        chunk_chars: about how many characters a stretch has.
    """
    ids, boundary = part.ids, part.boundary
    batches = [np.arange(len(ids))[:, None]] if boundary is None else item_spans(ids, boundary, chunk_chars)
    for spans in batches:
        size = max(1, chunk_chars // spans.shape[1])
        for start in range(0, len(spans) - 1, size):
            here = spans[start : start + size + 1]
            yield Stretch(ids[here[:-1]], ids[here[1:]], here[:-1], start == 0)


def measure_predictor(
    predictor: Predictor,
    part: Part,
    *,
    report: Callable[[int], None] | None = None,
    observe: Callable[[Costs], None] | None = None,
) -> Figures:
    """Measure a predictor on a split; see `charlm.evaluation.items.measure_part`.

    Raises:
        DivergedError: if a probability is not a number.
    """
    costs, num_done, state = np.zeros(len(part.ids) - 1), 0, None
    for stretch in stretches(part):
        if stretch.begins:
            state = predictor.initial_state(stretch.inputs.shape[1])
        logits, state = predictor.predict(stretch.inputs, state)
        costs[stretch.places] = target_costs(logits, stretch.targets)[0]
        num_done += stretch.inputs.size
        if report:
            report(num_done)
    if observe:
        observe(costs)
    return Figures(Figure(float(costs.sum()), len(costs)))
