"""What is read side by side: a running text by itself, items of equal length together, each from the initial state."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from charlm.text.items import Places, batches_of_equal_length
from charlm.text.vocabulary import Ids


def readings(ids: Ids, boundary: int | None, batch_chars: int) -> Iterator[Places]:
    """Yield the places in a text that are read side by side, (T, B); each place is in one reading.

    Args:
        ids: the text in the model's reading order, (N,).
        boundary: the id with which each item begins; None for a running text, which is one reading of one column.
        batch_chars: about how many characters of short items are read side by side.
    """
    starts = item_starts(ids, boundary)
    lengths = np.diff(starts, append=len(ids))
    for batch in batches_of_equal_length(lengths, batch_chars):
        yield starts[batch] + np.arange(int(lengths[batch[0]]))[:, None]


def item_starts(ids: Ids, boundary: int | None) -> Places:
    """Return where items begin: at the boundaries, and at the begin of the text; a running text is one item."""
    places = np.zeros(0, np.int64) if boundary is None else np.flatnonzero(ids == boundary)
    return np.union1d(places, [0]).astype(np.int64)
