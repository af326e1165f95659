"""The windows of items: whole items side by side, each from its begin, with as little padding as possible.

Items of about equal length form a group, whose rows are read together; so many of them that a window of short items has
about as many characters as one of a running text, batch_size x seq_len. Items longer than seq_len are cut into windows
that carry the state on, and rows whose item has ended are left out of the next window. Where few rows are left, several
windows make up one batch, so that all batches are of similar size.

How many batches there are and what sizes they have depends only on the lengths of the items; which items of equal
length are read together, and the order of the groups, is a pure function of (seed, epoch).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from charlm.settings.corpus import SamplingSettings
from charlm.text.items import Places, item_places
from charlm.text.splits import Part
from charlm.text.vocabulary import Ids
from charlm.text.windows import PADDING, Window, num_windows

# Lengths are rounded up to a multiple of this before items are grouped: more variety for a little padding.
GRAIN = 8


@dataclass(frozen=True)
class _Group:
    """Items that are read side by side, longest first.

    Args:
        first: the place of its first item in the order of falling length.
        rows: how many items it has.
        batches: its windows, counted from 0, in batches.
    """

    first: int
    rows: int
    batches: list[range]


def num_batches(part: Part, sampling: SamplingSettings, lookahead: int = 0) -> int:
    """Return how many batches an epoch of a training split has.

    Args:
        part: the split.
        sampling: how it is cut.
        lookahead: how many characters must follow each window of a running text.
    Raises:
        TextError: for a running text that is too short for one window.
    """
    if part.boundary is None:
        return num_windows(len(part.ids), sampling, lookahead)
    _, lengths = item_places(part.ids, part.boundary)
    return sum(len(group.batches) for group in _groups(np.sort(_rounded(lengths, sampling))[::-1], sampling))


def read_item_batches(
    ids: Ids, boundary: int, sampling: SamplingSettings, *, seed: int, epoch: int, start: int = 0
) -> Iterator[list[Window]]:
    """Yield the windows of each batch of an epoch, from batch number `start` on, a pure function of the arguments.

    Args:
        ids: the items with boundaries before, between and after them, (N,).
        boundary: the id of the boundary.
        sampling: batch_size times seq_len is the size of a batch; seq_len is the length of the longest window.
        seed: random seed of the order.
        epoch: number of the epoch, from 0.
        start: how many batches to leave out at the start of the epoch.
    """
    places, lengths = item_places(ids, boundary)
    sizes = _rounded(lengths, sampling)
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    groups = _groups(sizes[order], sampling)
    numbers: list[int] = generator.permutation(len(groups)).tolist()
    batches = ((groups[number], windows) for number in numbers for windows in groups[number].batches)
    for group, windows in islice(batches, start, None):
        items = order[group.first : group.first + group.rows]
        yield [_window(ids, places[items], lengths[items], number, sampling.seq_len) for number in windows]


def _rounded(lengths: Places, sampling: SamplingSettings) -> Places:
    """Return lengths rounded up: long ones to whole windows, short ones to a few sizes."""
    grains = np.where(lengths > sampling.seq_len, sampling.seq_len, min(GRAIN, sampling.seq_len))
    rounded = -(-lengths // grains) * grains
    return np.where(lengths > sampling.seq_len, rounded, np.minimum(rounded, sampling.seq_len))


def _groups(sizes: Places, sampling: SamplingSettings) -> list[_Group]:
    """Divide items of falling sizes into groups."""
    most, seq_len = sampling.batch_size * sampling.seq_len, sampling.seq_len
    rows: list[int] = []
    first = 0
    while first < len(sizes):
        fitting = max(1, most // min(int(sizes[first]), seq_len))
        rows.append(min(fitting, len(sizes) - first))
        first += rows[-1]
        if len(rows) > 1 and 2 * rows[-1] < fitting and int(sizes[first - rows[-1] - rows[-2]]) <= seq_len:
            # A step that learns from a handful of items would count as much as any other: halve the last two groups.
            both = rows[-2] + rows[-1]
            rows[-2:] = [both - both // 2, both // 2]
    firsts = np.cumsum([0, *rows])[:-1].tolist()
    places = zip(firsts, rows, strict=True)
    return [_Group(first, count, _batched(sizes[first : first + count], sampling)) for first, count in places]


def _batched(sizes: Places, sampling: SamplingSettings) -> list[range]:
    """Put the windows of a group into batches of at most batch_size x seq_len characters."""
    seq_len = sampling.seq_len
    if len(sizes) == 0 or sizes[0] <= seq_len:
        return [range(1)]
    most, begun, chars = sampling.batch_size * seq_len, 0, 0
    batches: list[range] = []
    num_in_all = int(sizes[0]) // seq_len
    # How many rows each window has, without looking at each row for each window.
    rows = len(sizes) - np.searchsorted(sizes[::-1], seq_len * np.arange(num_in_all), side="right")
    for number, count in enumerate(rows.tolist()):
        if chars and chars + count * seq_len > most:
            batches.append(range(begun, number))
            begun, chars = number, 0
        chars += count * seq_len
    return [*batches, range(begun, num_in_all)]


def _window(ids: Ids, places: Places, lengths: Places, number: int, seq_len: int) -> Window:
    """Return the window of that number of some items, longest first: the rows that have one, padded to the longest."""
    left = lengths - number * seq_len
    left = left[left > 0]
    rows = len(left)
    steps = np.arange(min(int(left.max()), seq_len) + 1)[:, None]
    starts = places[:rows] + number * seq_len
    text = ids[starts + np.minimum(steps, left)]  # (T + 1, B)
    inputs, targets = text[:-1], text[1:].astype(np.int64)
    is_padding = steps[:-1] >= left
    targets[is_padding] = PADDING
    return Window(inputs, targets, text[:0], starts_anew=number == 0, num_padded=int(np.count_nonzero(is_padding)))
